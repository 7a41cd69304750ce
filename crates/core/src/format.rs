//! Versions of what programs of different age read from each other.
//!
//! Pods are not replaced while coupons can be had, so that an operator works beside issuers and consumers of the version before, and
//! after an upgrade was taken back beside those of the version after. Within a version, fields may be added: a reader that does not know
//! them ignores them. A change that an older reader would misunderstand makes a new version; a reader that finds a version above its own does
//! nothing with it, and reports that. What has no version is of the first.
//!
//! The tables have a similar version in `schema_compatibility.minimum_reader` ([`coupon_ledger::database::migrate`]).

/// Version of a winner's record ([`crate::event`]), in the header [`crate::event::HEADER_VERSION`].
pub const EVENT: u32 = 1;
/// Version of a campaign's keys in Redis ([`coupon_ledger::redis`]), in the field `format` of its meta key; `FORMAT` in `lua/history.lua`.
pub const REDIS_KEYS: u32 = 1;
/// Version of the control protocol between operator and issuers, in the header [`crate::contract::control::VERSION_HEADER`].
pub const CONTROL: u32 = 1;
/// Version of `connections.yaml` ([`crate::connections`]), in its field `version`: the highest that is known. The second has names of topics and
/// groups; one without them is written as the first.
pub const CONNECTIONS: u32 = 2;

/// Something was written by a newer program than this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is of version {found}, and this program knows versions up to {known}: run a newer one")]
pub struct Newer {
    /// What it is.
    pub what: &'static str,
    /// Its version.
    pub found: u32,
    /// The highest that is known here.
    pub known: u32,
}

/// Refuses what is newer than `known`.
///
/// # Errors
/// It is.
pub fn check(what: &'static str, found: u32, known: u32) -> Result<(), Newer> {
    if found > known { Err(Newer { what, found, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_is_refused_in_words() {
        assert_eq!(check("the record", 1, 1), Ok(()));
        assert_eq!(check("the record", 1, 2), Ok(()));
        assert_eq!(
            check("the record", 3, 2).unwrap_err().to_string(),
            "the record is of version 3, and this program knows versions up to 2: run a newer one"
        );
    }

    /// The scripts cannot read a constant of Rust.
    #[test]
    fn the_scripts_know_the_same_version() {
        let script = include_str!("../../../lua/history.lua");
        assert!(script.contains(&format!("local FORMAT = {REDIS_KEYS}\n")), "lua/history.lua");
    }
}
