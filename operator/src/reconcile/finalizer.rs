//! What keeps an object until its ledger is closed.

/// Keeps the object until the ledger is closed.
pub const FINALIZER: &str = "coupon-operator.io/ledger";
