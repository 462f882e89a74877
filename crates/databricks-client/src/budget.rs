//! How many calls one credential may make to one workspace, and how fast.
//!
//! Reads and writes have a lane each, with a rate of their own and a share of the places that the other cannot take. A
//! call that finds no room waits behind those that came before it. When the workspace says 429, its lane slows down at
//! once and recovers little by little, and where it says for how long, nobody calls meanwhile.

mod bucket;
mod queue;
mod ramp;
mod register;
mod shared;

use std::num::NonZeroU32;

pub(crate) use register::Budgets;
pub(crate) use shared::{Budget, Permit, Waited};

/// Which of the two lanes a call is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Calls that change nothing.
    Reads,
    /// Submissions, cancels and uploads.
    Writes,
}

impl Lane {
    /// Its name for people and metrics: `reads` or `writes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        }
    }
}

/// So many calls a second in the long run, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second.
    pub per_second: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// That many calls a second, and what two seconds give at once.
    pub const fn per_second(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(TWO) }
    }
}

/// The bounds of each budget. There is one for every workspace and credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Calls that are under way at the same time. A quarter of them can be had by reads alone, and a quarter by writes.
    pub max_in_flight: NonZeroU32,
    /// The rate of reads.
    pub reads: Rate,
    /// The rate of writes.
    pub writes: Rate,
}

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

impl Default for BudgetPolicy {
    /// 64 at once, 50 reads and 20 writes a second. A workspace is said to take 100 reads and 35 submissions, of all
    /// its callers together (DA §3.6).
    fn default() -> Self {
        let at_least_one = NonZeroU32::MIN;
        Self {
            max_in_flight: at_least_one.saturating_add(63),
            reads: Rate::per_second(at_least_one.saturating_add(49)),
            writes: Rate::per_second(at_least_one.saturating_add(19)),
        }
    }
}
