//! The loops that bring the world to what the specs say. They run on the leader alone.
//!
//! ```text
//!                     ┌────────────── store ◄─────────────────────────────────────┐
//!                     │ watch                                                     │ transactions, each with the
//!                     ▼                                                           │ leader's epoch compared
//!   View (all records, decoded) ──► place loop ── scheduler component ─► check ───┤
//!        │                                                                        │
//!        ├────────────────────────► reconcile ─── driver component ─► check ──────┤
//!        │                              │  ▲                                      │
//!        │                         call │  │ facts                                │
//!        │                              ▼  │                                      │
//!        ├────────────────────────► Agents (sessions) ── nodes: ready, unknown ───┤
//!        └────────────────────────► collect (events, kept answers) ───────────────┘
//! ```
//!
//! Wake-ups carry no data: every pass starts from the view, is idempotent, and may be killed anywhere. There is no list
//! of jobs: the spec is the job. Never here: HTTP, files other than plugins' components, decisions of policy.

#![warn(missing_docs)]

pub mod agents;
mod chain;
pub mod clock;
mod collect;
mod control;
mod election;
mod events;
mod explain;
pub mod fence;
pub mod members;
mod metrics;
mod office;
mod place;
pub mod plugins;
mod preview;
mod reconcile;
mod view;
mod write;

pub use control::{Control, ControlConfig, ControlError, StartError};
pub use election::{Election, ElectionError, LEASE_TTL, Leader, Leadership, Lease, Sole, restored_epoch};
pub use explain::{AsOf, Chosen, Explanation, MachinePreview, Preview};
pub use office::{Office, Standing};
pub use preview::PlannedStep;
pub use view::{Stored, View};
