//! One batch, decided: the plugin answers, the host checks, and the built-in policy stands in for what is wrong.

use symphony_core::place::check::{self, Bookings};
use symphony_core::place::{Answer, Candidates, Removed, Request, Verdict, builtin};
use symphony_core::plugin::Slot;
use symphony_core::volume::{Decider, VERDICTS_KEPT_MAX};
use symphony_runtime::PluginFault;

use crate::plugins::{Scheduler, Slots};

/// What was decided for one request.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) by: Decider,
    pub(crate) choice: Result<Choice, Vec<Removed>>,
    /// Every candidate's outcome, when there are few enough to keep.
    pub(crate) verdicts: Vec<Verdict>,
}

/// A candidate that passed the checks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) row: u32,
    pub(crate) score: f32,
}

/// A batch and what was decided for each of its requests, in order.
pub(crate) struct Round {
    pub(crate) requests: Vec<Request>,
    pub(crate) decided: Vec<Decided>,
}

impl Round {
    /// Decides for all requests; those before are booked for those after. Never fails: whatever a plugin does, the
    /// built-in policy can decide.
    pub(crate) async fn decide(slots: &Slots, candidates: &Candidates, requests: Vec<Request>) -> Self {
        // Near its volumes if that can be.
        let bound = |request| check::bound(candidates, &Bookings::default(), request);
        let requests: Vec<Request> = requests.into_iter().map(bound).collect();
        let for_machines = requests.iter().any(Request::is_for_machine);
        let serving = slots.scheduler();
        let scheduler = serving
            .clone()
            .filter(|scheduler| !for_machines || scheduler.places_machines());
        let passed_over = match (&serving, &scheduler) {
            (Some(serving), None) => Some(format!("{} does not look at processors", serving.decider.name)),
            _ => None,
        };
        let (answers, fault) = answers(slots, scheduler.as_ref(), candidates, &requests).await;
        let mut round = Self {
            requests,
            decided: Vec::new(),
        };
        let mut bookings = Bookings::default();
        let mut stood_in = false;
        for (position, answer) in answers.into_iter().enumerate() {
            let request = &round.requests[position];
            let mut decided = match (&scheduler, &fault, answer) {
                (Some(scheduler), None, Some(answer)) => {
                    checked(slots, scheduler, candidates, &bookings, request, answer)
                }
                (_, fault, _) => fallback(candidates, &bookings, request, fault.clone().or(passed_over.clone())),
            };
            // Others of the batch took the room there.
            if decided.choice.is_err() && round.requests[position].elsewhere {
                let anywhere = round.requests[position].anywhere();
                decided = fallback(candidates, &bookings, &anywhere, None);
                round.requests[position] = anywhere;
            }
            let request = &round.requests[position];
            stood_in |= decided.by.digest.is_none();
            if let Ok(choice) = decided.choice {
                if candidates.rows().len() <= VERDICTS_KEPT_MAX {
                    let before = &round.requests[..position];
                    // After the built-in policy stood in, the plugin's own bookings are not what was booked.
                    let plugin = scheduler.as_ref().filter(|_| !stood_in);
                    decided.verdicts = explain(slots, plugin, candidates, &bookings, before, request).await;
                }
                bookings.book(candidates, choice.row, request);
            }
            round.decided.push(decided);
        }
        round
    }
}

/// The plugin's answers; when it is at fault (or there is none) as many times nothing, and the fault.
async fn answers(
    slots: &Slots,
    scheduler: Option<&Scheduler>,
    candidates: &Candidates,
    requests: &[Request],
) -> (Vec<Option<Answer>>, Option<String>) {
    let nothing = || requests.iter().map(|_| None).collect();
    let Some(scheduler) = scheduler else {
        return (nothing(), None);
    };
    if requests.is_empty() {
        return (nothing(), None);
    }
    let seed = candidates.revision().0;
    match scheduler.plugin.place(candidates, requests.to_vec(), seed).await {
        // One answer per request, none of them NaN: the runtime has checked the answer as a whole.
        Ok(answers) => (answers.into_iter().map(Some).collect(), None),
        Err(fault) => {
            let text = instead_of(&fault);
            slots.report(Slot::VolumeScheduler, fault);
            (nothing(), Some(text))
        }
    }
}

fn checked(
    slots: &Slots,
    scheduler: &Scheduler,
    candidates: &Candidates,
    bookings: &Bookings,
    request: &Request,
    answer: Answer,
) -> Decided {
    let choice = match answer {
        Answer::Unplaceable { removed } => Err(removed),
        Answer::Chosen { row, score } => match check::choice(candidates, bookings, request, row) {
            Ok(_) => Ok(Choice { row, score }),
            Err(violation) => {
                let fault = scheduler.plugin.compiled().refuse_choice(violation);
                let text = instead_of(&fault);
                slots.report(Slot::VolumeScheduler, fault);
                return fallback(candidates, bookings, request, Some(text));
            }
        },
    };
    Decided {
        by: scheduler.decider.clone(),
        choice,
        verdicts: Vec::new(),
    }
}

/// The built-in policy's decision.
pub(crate) fn fallback(
    candidates: &Candidates,
    bookings: &Bookings,
    request: &Request,
    instead_of: Option<String>,
) -> Decided {
    let choice = match builtin::place(candidates, bookings, request) {
        Answer::Chosen { row, score } => Ok(Choice { row, score }),
        Answer::Unplaceable { removed } => Err(removed),
    };
    Decided {
        by: built_in(instead_of),
        choice,
        verdicts: Vec::new(),
    }
}

pub(crate) fn built_in(instead_of: Option<String>) -> Decider {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Decider {
        name: builtin::NAME.to_owned(),
        version,
        digest: None,
        instead_of,
    }
}

/// Every candidate's outcome by the policy that decided; by the built-in one where that can't say.
pub(crate) async fn explain(
    slots: &Slots,
    scheduler: Option<&Scheduler>,
    candidates: &Candidates,
    bookings: &Bookings,
    before: &[Request],
    request: &Request,
) -> Vec<Verdict> {
    if let Some(scheduler) = scheduler {
        match scheduler
            .plugin
            .explain(candidates, before.to_vec(), request.clone())
            .await
        {
            Ok(Some(verdicts)) => return verdicts,
            Ok(None) => {}
            Err(fault) => slots.report(Slot::VolumeScheduler, fault),
        }
    }
    builtin::explain(candidates, bookings, request)
}

fn instead_of(fault: &PluginFault) -> String {
    format!(
        "{} {} ({}): {} in {}",
        fault.plugin,
        fault.version,
        fault.digest.short(),
        fault.reason(),
        fault.call
    )
}
