//! What ours is held against: services that answer the same, and do less.

mod bare;
mod listen;
mod plain;
mod wire;

pub(crate) use self::bare::run as bare;
pub(crate) use self::listen::Listen;
pub(crate) use self::plain::{PlainOptions, keys as plain_keys, run as plain};
