//! Why a request is of nobody.

/// Why it is not known who asks. Which of them it is stands in the metric and the log; who asks hears only what it says of itself as a [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Refusal {
    /// There is no token, or no header of the gateway.
    Missing,
    /// The header is there twice, or in two spellings.
    HeaderRepeated,
    /// The header's value can be no user id, or may be several.
    HeaderInvalid,
    /// It is no bearer token.
    Scheme,
    /// It is longer than is read.
    TooLong,
    /// It is no signed token of three parts.
    Malformed,
    /// It asks for an extension to be understood.
    Critical,
    /// It is signed in a way that the class does not list, or that its key does not sign in.
    Algorithm,
    /// It names no key, and there is not just one that it can mean.
    KeyNotNamed,
    /// It names a key that nobody has published, or is bad anyway and names one that is not known.
    KeyUnknown,
    /// The signature is not of that key.
    Signature,
    /// It is of another issuer. This and what follows, up to the user, is said of tokens that the provider has signed only.
    Issuer,
    /// It is for others.
    Audience,
    /// It has expired, or does not say when it does.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// Its claim names no user.
    User,
    /// There are no keys yet.
    NoKeys,
    /// The keys could not be read to see whether the one that it names is new.
    KeysAway,
    /// Too many wait for keys already.
    Crowded,
}

/// What is told of a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing said who asks.
    Unauthenticated,
    /// A token that is not taken, whatever is wrong with it.
    InvalidToken,
    /// It is not known whether the token is good.
    Unavailable,
}

impl Refusal {
    /// As counted.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// What is told.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Missing | Self::HeaderRepeated | Self::HeaderInvalid => Kind::Unauthenticated,
            Self::NoKeys | Self::KeysAway | Self::Crowded => Kind::Unavailable,
            Self::Scheme
            | Self::TooLong
            | Self::Malformed
            | Self::Critical
            | Self::Algorithm
            | Self::KeyNotNamed
            | Self::KeyUnknown
            | Self::Signature
            | Self::Issuer
            | Self::Audience
            | Self::Expired
            | Self::NotYet
            | Self::User => Kind::InvalidToken,
        }
    }
}
