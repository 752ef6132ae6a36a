//! Which columns a policy reads, and which filters the SDK applies for it.

/// The standard columns of the nodes.
const CANDIDATE: [&str; 10] = [
    "node",
    "pool",
    "schedulable",
    "disk.total",
    "disk.free",
    "cpu.total",
    "cpu.free",
    "memory.total",
    "memory.free",
    "labels",
];
/// The standard columns of the requests.
const REQUEST: [&str; 9] = [
    "disk.bytes",
    "cpu.count",
    "memory.bytes",
    "pool",
    "node",
    "require",
    "prefer",
    "avoid",
    "near",
];

/// The columns that a policy reads. The fewer there are, the less is sent.
///
/// The standard ones always come: for nodes `node`, `pool`, `schedulable`, `disk.total`, `disk.free`, `cpu.total`,
/// `cpu.free`, `memory.total`, `memory.free`, `labels`; for requests `disk.bytes`, `cpu.count`, `memory.bytes`, `pool`,
/// `node`, `require`, `prefer`, `avoid`, `near`. So every policy is asked about machines as well as about volumes.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub(crate) candidate: &'static [&'static str],
    pub(crate) request: &'static [&'static str],
}

impl Columns {
    /// The standard columns.
    pub const STANDARD: Self = Self {
        candidate: &[],
        request: &[],
    };

    /// Also these columns of the nodes, read by their position here: `node.number(0)` is the first of them. A standard
    /// column that is named here is as the host told it: without what the batch has booked.
    #[must_use]
    pub const fn with_candidate(self, names: &'static [&'static str]) -> Self {
        Self {
            candidate: names,
            ..self
        }
    }

    /// Also these columns of the requests, read by their position here: `request.number(0)` is the first of them.
    #[must_use]
    pub const fn with_request(self, names: &'static [&'static str]) -> Self {
        Self { request: names, ..self }
    }

    pub(crate) fn candidate_names(self) -> Vec<String> {
        with_own(&CANDIDATE, self.candidate)
    }

    pub(crate) fn request_names(self) -> Vec<String> {
        with_own(&REQUEST, self.request)
    }

    /// Whether requests have this column anyway.
    pub(crate) fn is_of_requests(name: &str) -> bool {
        REQUEST.contains(&name)
    }
}

/// The standard columns, then the policy's own: none is asked for twice.
fn with_own(standard: &[&str], own: &[&str]) -> Vec<String> {
    let own = own.iter().filter(|name| !standard.contains(name));
    standard.iter().chain(own).map(|&name| name.to_owned()).collect()
}

/// The filters that the SDK applies before the policy's own, in this order.
#[derive(Debug, Clone, Copy)]
pub struct StandardFilters {
    /// `schedulable`: the node takes new work.
    pub schedulable: bool,
    /// `wrong-node`: the node is the one that the request is bound to, if it is bound to one.
    pub node: bool,
    /// `pool`: the pool is the one that was asked for, if one was.
    pub pool: bool,
    /// `labels`: all labels that were asked for are there.
    pub labels: bool,
    /// `not-apart` and `not-near`: the machine is apart from those, and near one of those, that it asked for.
    pub neighbours: bool,
    /// `no-compute`, `cpus` and `memory`: the node runs machines and has enough processors and memory left for this one.
    pub compute: bool,
    /// `disk.free`: what is free is enough.
    pub disk: bool,
}

impl StandardFilters {
    /// All of them: what nearly every policy wants.
    pub const ALL: Self = Self {
        schedulable: true,
        node: true,
        pool: true,
        labels: true,
        neighbours: true,
        compute: true,
        disk: true,
    };
    /// None of them. The host refuses what breaks them all the same.
    pub const NONE: Self = Self {
        schedulable: false,
        node: false,
        pool: false,
        labels: false,
        neighbours: false,
        compute: false,
        disk: false,
    };
}
