//! Which columns a policy reads, and which filters the SDK applies for it.

/// The columns that a policy reads. The fewer there are, the less is sent.
///
/// The standard ones always come: for nodes `pool`, `schedulable`, `disk.total`, `disk.free`, `labels`; for requests
/// `disk.bytes`, `pool`, `require`.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub(crate) names: bool,
    pub(crate) candidate: &'static [&'static str],
    pub(crate) request: &'static [&'static str],
}

impl Columns {
    /// The standard columns.
    pub const STANDARD: Self = Self {
        names: false,
        candidate: &[],
        request: &[],
    };

    /// Also the nodes' names: for [`crate::Candidate::name`]. Left out by default, for each is a string to be sent.
    #[must_use]
    pub const fn with_names(self) -> Self {
        Self { names: true, ..self }
    }

    /// Also these columns of the nodes, read by their position here: `node.number(0)` is the first of them.
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
        let standard = ["pool", "schedulable", "disk.total", "disk.free", "labels"];
        let names = self.names.then_some("node");
        names
            .into_iter()
            .chain(standard)
            .chain(self.candidate.iter().copied())
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn request_names(self) -> Vec<String> {
        let standard = ["disk.bytes", "pool", "require"];
        standard
            .into_iter()
            .chain(self.request.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

/// The filters that the SDK applies before the policy's own, in this order.
#[derive(Debug, Clone, Copy)]
pub struct StandardFilters {
    /// `schedulable`: the node takes new work.
    pub schedulable: bool,
    /// `pool`: the pool is the one that was asked for, if one was.
    pub pool: bool,
    /// `labels`: all labels that were asked for are there.
    pub labels: bool,
    /// `disk.free`: what is free is enough.
    pub disk: bool,
}

impl StandardFilters {
    /// All of them: what nearly every policy wants.
    pub const ALL: Self = Self {
        schedulable: true,
        pool: true,
        labels: true,
        disk: true,
    };
    /// None of them. The host refuses what breaks them all the same.
    pub const NONE: Self = Self {
        schedulable: false,
        pool: false,
        labels: false,
        disk: false,
    };
}
