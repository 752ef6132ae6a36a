//! Networks on a node: bridges, the namespaces with their gateways, DHCP and DNS, filters, limits, the way out, and the
//! tunnels to other nodes.
//!
//! Every step may be cut anywhere and done again. Policy is the driver's: nothing here chooses, but the link-local
//! addresses between a network's namespace and the node. What was settled is kept in files and believed only as far as
//! the kernel confirms it.
//!
//! ```text
//!   DIR/ID/state.json   what is wanted, what is settled     DIR/ID/hosts    whom DHCP gives an address
//!   DIR/ID/leases       dnsmasq's                           DIR/ID/names    whom DNS knows
//!   DIR/ID/dnsmasq.pid
//!
//!   taps ── bridge ── syg… ══ gw [namespace: dnsmasq, masquerade] out ══ syn… [the node: masquerade]
//!             │
//!            syv… (VXLAN) ── other nodes
//! ```
//!
//! Outside of the network's own links, namespace and tables one thing is touched: `net.ipv4.ip_forward` of the node is
//! set when a network first gets a way out, and never taken back.

#![warn(missing_docs)]

mod dhcp;
mod error;
mod filter;
mod gateway;
mod links;
mod names;
mod namespace;
mod nat;
mod networks;
mod nft;
mod peers;
mod process;
mod program;
mod service;
mod state;
mod tunnel;

pub use error::NetworkError;
pub use networks::Networks;
pub use service::{NetworkExecutor, down};
