//! What a round came to.

use serde::Serialize;

use super::checker::Violation;
use super::fault::{Fault, Plan};
use super::ledger::Ledger;
use super::load::Answer;

/// What a fault did.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// The fault as planned.
    pub fault: Fault,
    /// When it struck, in milliseconds after the first user.
    pub at_ms: Option<u64>,
    /// What was different from the plan.
    pub note: Option<String>,
    /// From there to the next new rank, in milliseconds; none if nobody got one any more.
    pub again_ms: Option<u64>,
}

/// What a round came to.
#[derive(Debug, Serialize)]
pub struct RoundOutcome {
    /// The plan.
    pub plan: Plan,
    /// The campaign's name.
    pub campaign: String,
    /// What happened.
    pub struck: Vec<Struck>,
    /// Every answer, in the order in which it was heard.
    #[serde(skip)]
    pub answers: Vec<Answer>,
    /// What was stored.
    #[serde(skip)]
    pub ledger: Ledger,
    /// Users that came after the rush, as coupons were left.
    pub late: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// From the end of rush and faults until everything was stored, in milliseconds.
    pub settled_ms: u64,
    /// From `kubectl apply` to the verdict, in milliseconds.
    pub took_ms: u64,
}
