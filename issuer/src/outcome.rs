//! How a wish ends.

use campaign::stock::{Answer, Grant};

use crate::gate::Reason;

/// How a wish ends. What a user is told is made of it in [`crate::http::answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The user holds a coupon; `repeated` when the same wish had won it before.
    Issued {
        /// The coupon.
        grant: Grant,
        /// Whether it is the answer to an earlier wish.
        repeated: bool,
    },
    /// The user holds as many as one may.
    AlreadyIssued,
    /// All coupons are issued.
    SoldOut,
    /// The window is not open yet.
    NotStarted,
    /// The window is over.
    Ended,
    /// The campaign is suspended.
    Suspended,
    /// There is no room now. Nothing was done.
    Overloaded,
    /// Redis did not answer in time.
    RedisUnavailable {
        /// Whether the wish may have been granted all the same.
        maybe_granted: bool,
    },
    /// A rank was taken, but is not known to be durable.
    Unconfirmed,
    /// This process may not grant now. Nothing was done.
    NotOpen(Reason),
}

/// Splits what must become durable before it is told from what can be told at once.
pub fn of_answer(answer: Answer) -> Outcome {
    match answer {
        Answer::Granted(grant) => Outcome::Issued { grant, repeated: false },
        Answer::Repeated(grant) => Outcome::Issued { grant, repeated: true },
        Answer::UserLimit => Outcome::AlreadyIssued,
        Answer::SoldOut => Outcome::SoldOut,
        Answer::NotStarted => Outcome::NotStarted,
        Answer::Ended => Outcome::Ended,
        Answer::Suspended => Outcome::Suspended,
        Answer::Unreadable => Outcome::RedisUnavailable { maybe_granted: true },
    }
}
