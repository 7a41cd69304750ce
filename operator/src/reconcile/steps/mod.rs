//! The steps of one pass, in the order in which [`super::reconcile`] takes them. Each file is one step.

mod apply_ledger;
mod apply_workloads;
mod hold_back;
mod next;
mod observe;
mod plan;
mod repair;
mod report;
mod resolve;

pub(super) use apply_ledger::apply_ledger;
pub(super) use apply_workloads::apply_workloads;
pub(super) use hold_back::hold_back;
pub(super) use next::next;
pub(super) use observe::observe;
pub(super) use plan::plan;
pub use plan::plan_counted;
pub(super) use repair::repair;
pub(super) use report::report;
pub(super) use resolve::resolve;
