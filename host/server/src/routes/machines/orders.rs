//! Orders: start, stop, reboot. An order is a new spec; that it was given is counted, so that it is carried out once.

use axum::extract::{Path, State};
use axum::response::Response;
use symphony_api::v1::Machine;
use symphony_api::{Code, Problem};
use symphony_core::machine::Machine as Record;
use symphony_core::plan::machine::Power;
use symphony_store::{Store, Txn};

use super::change::{Change, change, order_power, raise, rests, told};
use crate::app::App;
use crate::event::Records as _;
use crate::failure::{Answer, Failure};
use crate::input::IfMatch;
use crate::reading::project;

/// An order.
enum Order {
    /// To run, or to be off.
    Power(Power),
    /// To boot again.
    Reboot,
}

impl Change for Order {
    async fn apply(&self, _: &dyn Store, machine: &mut Record, _: u32) -> Answer<Option<Txn>> {
        let (reason, message) = match self {
            Self::Power(power) => {
                if !order_power(machine, *power)? {
                    return Ok(None);
                }
                in_words(*power)
            }
            Self::Reboot => {
                if machine.spec.power == Power::Off || rests(machine) {
                    let detail = format!("the machine {} is off: start it", machine.meta.name);
                    return Err(Failure::new(Code::WrongPower, detail));
                }
                machine.spec.boots += 1;
                raise(machine);
                ("reboot-requested", "it was ordered to boot again")
            }
        };
        Ok(Some(Txn::new().tell(&told(reason, machine, message))?))
    }
}

/// The event of an order of power.
pub(super) const fn in_words(power: Power) -> (&'static str, &'static str) {
    match power {
        Power::On => ("start-requested", "it was ordered to run"),
        Power::Off => ("stop-requested", "it was ordered to be off"),
    }
}

/// Orders a machine to run. One that should run already is left alone, unless it ended by itself and stays off.
#[utoipa::path(post, path = "/v1/projects/{project}/machines/{machine}/start", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 200, description = "The machine, with the order", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn start(
    state: State<App>,
    path: Path<(String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    give(state, path, precondition, Order::Power(Power::On)).await
}

/// Orders a machine to be off. Its guest is asked to shut down, and cut off when it does not.
#[utoipa::path(post, path = "/v1/projects/{project}/machines/{machine}/stop", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 200, description = "The machine, with the order", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn stop(
    state: State<App>,
    path: Path<(String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    give(state, path, precondition, Order::Power(Power::Off)).await
}

/// Orders a machine to boot again. Each order is one boot more.
#[utoipa::path(post, path = "/v1/projects/{project}/machines/{machine}/reboot", tag = "machines",
    params(
        ("project" = String, Path), ("machine" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "The revision that it must still have"),
    ),
    responses(
        (status = 200, description = "The machine, with the order", body = Machine),
        (status = "default", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn reboot(
    state: State<App>,
    path: Path<(String, String)>,
    precondition: IfMatch,
) -> Answer<Response> {
    give(state, path, precondition, Order::Reboot).await
}

async fn give(
    State(app): State<App>,
    Path((project_text, name)): Path<(String, String)>,
    precondition: IfMatch,
    order: Order,
) -> Answer<Response> {
    let stored = change(&app, &project(&project_text)?, &name, precondition, &order).await?;
    Ok(super::changed(&stored))
}
