//! The office of the leader, as one manager sees it: whether it leads itself, or who does. Terms come and go; the view of
//! the records stays.
//!
//! ```text
//!   campaign ──elected──► term: the loops run ──lease lost, stop──► the loops end ──► resign ──► campaign …
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::control::{Control, ControlConfig, StartError};
use crate::election::{Election, Leader};
use crate::view::View;

/// How long to wait after a term that could not begin.
const RETRY: Duration = Duration::from_secs(1);

/// Who leads.
#[derive(Clone)]
pub enum Standing {
    /// This manager.
    Leading(Control),
    /// Another one.
    Following(Leader),
    /// Nobody, for now.
    Vacant,
}

/// The office, as one manager sees it. Cheap to clone.
#[derive(Clone)]
pub struct Office {
    view: View,
    term: watch::Receiver<Option<Control>>,
    stop: CancellationToken,
    campaign: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl Office {
    /// The only manager of a store: it leads when this returns, until it ends.
    ///
    /// # Errors
    /// The loops can't start; nothing runs then.
    pub async fn alone(config: ControlConfig) -> Result<Self, StartError> {
        let stop = config.stop.clone();
        let control = Control::alone(config).await?;
        let view = control.view().clone();
        let ended = tokio::spawn({
            let (control, stop) = (control.clone(), stop.clone());
            async move {
                // Without loops that can write, this manager is of no use.
                control.ended().await;
                stop.cancel();
                control.stop().await;
            }
        });
        Ok(Self {
            view,
            term: watch::channel(Some(control)).1,
            stop,
            campaign: Arc::new(tokio::sync::Mutex::new(Some(ended))),
        })
    }

    /// One of several managers: it leads whenever it is elected, until `config.stop`.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn among(config: ControlConfig, election: impl Election + 'static) -> Result<Self, StartError> {
        let stop = config.stop.clone();
        let view = View::follow(Arc::clone(&config.store), stop.clone()).await?;
        let (sender, term) = watch::channel(None);
        let campaign = tokio::spawn(campaign(config, view.clone(), Box::new(election), sender));
        Ok(Self {
            view,
            term,
            stop,
            campaign: Arc::new(tokio::sync::Mutex::new(Some(campaign))),
        })
    }

    /// Who leads now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if let Some(control) = self.term.borrow().as_ref() {
            return Standing::Leading(control.clone());
        }
        match self.view.read().leader.as_ref() {
            Some(leader) if !leader.address.is_empty() => Standing::Following(leader.clone()),
            _ => Standing::Vacant,
        }
    }

    /// The records, as this manager has seen them.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Waits until this manager is of no use any more: it was stopped, or the store has closed itself.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Ends the term and the campaign, and waits for both.
    pub async fn stop(&self) {
        self.stop.cancel();
        if let Some(campaign) = self.campaign.lock().await.take()
            && let Err(error) = campaign.await
        {
            tracing::error!(%error, "the campaign ended badly");
        }
    }
}

async fn campaign(
    config: ControlConfig,
    view: View,
    election: Box<dyn Election>,
    term: watch::Sender<Option<Control>>,
) {
    let stop = config.stop.clone();
    loop {
        let elected = tokio::select! {
            () = stop.cancelled() => return,
            elected = election.lead(&config.store) => elected,
        };
        let leadership = match elected {
            Ok(leadership) => leadership,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "this manager can't stand for election; it tries again"
                );
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let begun = tokio::select! {
            () = stop.cancelled() => None,
            begun = Control::start(config.clone(), view.clone(), leadership.clone()) => Some(begun),
        };
        match begun {
            Some(Ok(control)) => {
                term.send_replace(Some(control.clone()));
                control.ended().await;
                // First nobody finds it any more, then it ends.
                term.send_replace(None);
                control.stop().await;
            }
            Some(Err(error)) => {
                tracing::error!(error = chain(&error), "this manager was elected and can't lead");
                leadership.resign(config.store.as_ref()).await;
                tokio::time::sleep(RETRY).await;
            }
            None => leadership.resign(config.store.as_ref()).await,
        }
    }
}
