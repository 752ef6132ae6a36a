//! One request as a policy sees it.

use super::Candidate;
use crate::scheduler::columns::Values;
use crate::scheduler::symbols::{Symbol, Symbols};

/// What is to be placed: a volume, or a machine with the volumes that it brings.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) shape: usize,
    pub(crate) bytes: u64,
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) pool: u32,
    pub(crate) node: u32,
    pub(crate) require: &'a [u32],
    pub(crate) prefer: &'a [u32],
    pub(crate) avoid: &'a [u32],
    pub(crate) near: &'a [u32],
    pub(crate) extra: &'a [&'a Values],
    pub(crate) symbols: &'a Symbols,
}

impl<'a> Request<'a> {
    /// Size on disk, in bytes: a machine's new volumes together.
    #[must_use]
    #[inline(always)]
    pub const fn disk_bytes(&self) -> u64 {
        self.bytes
    }

    /// How many virtual processors it wants; 0 for a volume.
    #[must_use]
    #[inline(always)]
    pub const fn cpus(&self) -> u64 {
        self.cpus
    }

    /// How much memory it wants, in bytes; 0 for a volume.
    #[must_use]
    #[inline(always)]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory
    }

    /// Whether it is a machine: then only nodes that run machines can take it.
    #[must_use]
    #[inline(always)]
    pub const fn is_for_machine(&self) -> bool {
        (self.cpus > 0) | (self.memory > 0)
    }

    /// The node that it is bound to, for its volumes are there; `Symbol::NONE` when any will do.
    #[must_use]
    #[inline(always)]
    pub const fn node(&self) -> Symbol {
        Symbol(self.node)
    }

    /// The pool that was asked for; `Symbol::NONE` when any will do.
    #[must_use]
    #[inline(always)]
    pub const fn pool(&self) -> Symbol {
        Symbol(self.pool)
    }

    /// The labels that the node must have, each `key=value`, as symbols in ascending order.
    #[must_use]
    #[inline(always)]
    pub const fn require(&self) -> &'a [u32] {
        self.require
    }

    /// The labels that the node should have, each `key=value`, as symbols in ascending order. No standard filter looks at
    /// them: what they are worth is the policy's (see [`crate::Score::and_preferred`]).
    #[must_use]
    #[inline(always)]
    pub const fn prefer(&self) -> &'a [u32] {
        self.prefer
    }

    /// Whether it prefers nodes with this label, given as `key=value`.
    #[must_use]
    pub fn prefers(&self, label: &str) -> bool {
        let mut texts = self.prefer.iter().map(|symbol| self.symbols.text(Symbol(*symbol)));
        texts.any(|text| text == label)
    }

    /// How many of the labels that it prefers this node has.
    #[must_use]
    #[inline(always)]
    pub fn preferred(&self, node: &Candidate<'_>) -> usize {
        if self.prefer.is_empty() {
            0
        } else {
            count_in(self.prefer, node.labels())
        }
    }

    /// The nodes that it must not be on, as symbols in ascending order: machines are there that it is to be apart from.
    #[must_use]
    #[inline(always)]
    pub const fn avoid(&self) -> &'a [u32] {
        self.avoid
    }

    /// The nodes of which it must be on one, as symbols in ascending order; any will do when there are none.
    #[must_use]
    #[inline(always)]
    pub const fn near(&self) -> &'a [u32] {
        self.near
    }

    /// Whether it matters to it which nodes they are, beside pools and labels that it requires.
    pub(crate) const fn is_choosy(&self) -> bool {
        self.node != 0 || !self.prefer.is_empty() || !self.avoid.is_empty() || !self.near.is_empty()
    }

    /// The same request, which is not choosy, in such a way that the compiler knows: a scan that is made for it has
    /// nothing of that in it, and neither has the policy's part.
    #[inline(always)]
    pub(crate) const fn not_choosy(self) -> Self {
        Self {
            node: 0,
            prefer: &[],
            avoid: &[],
            near: &[],
            ..self
        }
    }

    /// The same request, which is a volume's, in such a way that the compiler knows.
    #[inline(always)]
    pub(crate) const fn not_for_machine(self) -> Self {
        Self {
            cpus: 0,
            memory: 0,
            ..self
        }
    }

    /// The whole number in the policy's own column at this position of `Columns::with_request`; 0 when that column
    /// holds something else.
    #[must_use]
    pub fn number(&self, column: usize) -> u64 {
        match self.extra[column] {
            Values::U64s(values) => values[self.shape],
            Values::Symbols(values) => u64::from(values[self.shape]),
            Values::F32s(_) | Values::Sets(_) => 0,
        }
    }

    /// The text of the symbol in the policy's own column at this position of `Columns::with_request`.
    #[must_use]
    pub fn text(&self, column: usize) -> &'a str {
        match self.extra[column] {
            Values::Symbols(values) => self.symbols.text(Symbol(values[self.shape])),
            Values::U64s(_) | Values::F32s(_) | Values::Sets(_) => "",
        }
    }
}

/// How many of the wanted symbols are there. Out of the way, for most requests prefer nothing: what is small is inlined
/// into a scan.
#[inline(never)]
fn count_in(wanted: &[u32], there: &[u32]) -> usize {
    wanted.iter().filter(|symbol| there.contains(symbol)).count()
}
