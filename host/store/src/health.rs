//! How the members of a store are: what an operator must know before it fails.

/// One member of a store, as it was asked a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Where it is; `embedded` for the store in the manager's own process.
    pub endpoint: String,
    /// How it is, or why it could not be asked.
    pub answer: Result<MemberState, String>,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Its version; that of symphony for the embedded store.
    pub version: String,
    /// Whether this version is known to lose watch events and leases.
    pub is_old: bool,
    /// Whether it leads the others; true for one that is alone.
    pub leads: bool,
    /// Whether it knows who leads: without that there is no majority.
    pub has_leader: bool,
    /// The bytes on its disk.
    pub size_bytes: u64,
    /// How many of them are used: the rest is freed by defragmenting it.
    pub used_bytes: u64,
    /// What it raised an alarm for.
    pub alarms: Vec<Alarm>,
}

/// Why a member takes no writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Its quota is used up: it takes deletes and no puts, until it is compacted, defragmented, and the alarm is disarmed.
    NoSpace,
    /// Its data differs from that of the others.
    Corrupt,
}
