//! Does what was decided: one function per kind of thing.

mod children;
mod custody;
mod deployment;
mod ledger;
mod route;
mod terms;
mod topic;
mod workloads;

pub(super) use self::ledger::ledger;
pub(super) use self::route::route;
pub(super) use self::workloads::workloads;
