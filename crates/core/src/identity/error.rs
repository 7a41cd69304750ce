//! Errors of names and identities.

/// Why a name was refused. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A realm, namespace or coupon id is not an RFC 1035 label of the allowed length.
    #[error(
        "{what} `{value}` must start with a letter, hold only a-z, 0-9 and -, not end with -, and have 1 to {max} characters"
    )]
    Label {
        /// What the name is for.
        what: &'static str,
        /// The refused name, cut to 64 characters.
        value: String,
        /// Longest allowed, in characters.
        max: usize,
    },
    /// A user id or request key is empty or too long.
    #[error("{what} must have 1 to {max} bytes, it has {len}")]
    Length {
        /// What the name is for.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// Longest allowed, in bytes.
        max: usize,
    },
    /// A user id or request key contains characters that cannot be printed.
    #[error("{what} must not hold control characters")]
    Control {
        /// What the name is for.
        what: &'static str,
    },
    /// A campaign identity does not have the form `realm/namespace/couponId`.
    #[error("a campaign is written realm/namespace/couponId, not `{0}`")]
    Shape(String),
}
