//! How many pods a campaign should have. Pure: what was read goes in, numbers and reasons come out.
//!
//! - [`reading`]: what Kafka says at one moment;
//! - [`rates`]: how fast records come and go;
//! - [`learned`]: what one pod can do, and how long it takes to start;
//! - [`levels`]: which numbers of consumers differ at all;
//! - [`jump`]: what became of the last step up;
//! - [`consumers`], [`issuers`]: the decisions.

pub mod consumers;
pub mod estimates;
pub(crate) mod issuers;
pub(crate) mod rates;
pub mod reading;
pub(crate) mod scale_up;
pub mod useful_counts;

/// How much of its capacity a pod should use when it is sized for.
pub const UTILISATION: f64 = 0.75;
/// How long fewer pods must be enough before there are fewer, in milliseconds.
pub const STABLE_MS: i64 = 60_000;
/// Fewer pods must carry this many times the work before one goes down, so that going down never brings going up.
const DOWN_MARGIN: f64 = 1.25;

/// Why so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum ScalingReason {
    /// So many do the work that there is.
    Demand,
    /// The plan for the window, or the least that the spec asks for.
    Floor,
    /// As many as may be, although there is more work.
    AtMost,
    /// Pods of the last jump are not at work yet.
    Settling,
    /// Fewer would do, but there is a backlog: none is taken away.
    Backlog,
    /// Fewer would do, but not for long enough yet.
    Stabilizing,
    /// The last jump brought next to nothing: something behind the pods is full.
    DownstreamSaturated,
    /// What there is to do cannot be read.
    Unknown,
}
