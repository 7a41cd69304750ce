//! How a request ends.

use coupon_ledger::redis::{Answer, Grant};

use crate::epoch::state::NotServing;

/// How a request ends. [`crate::http::respond`] makes the response of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The user holds a coupon; `repeated` when the same request had won it before.
    Issued {
        /// The coupon.
        grant: Grant,
        /// Whether it is the answer to an earlier request.
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
        /// Whether the request may have been granted all the same.
        maybe_granted: bool,
    },
    /// A rank was taken, but is not known to be durable.
    Unconfirmed,
    /// This process may not grant now. Nothing was done.
    NotOpen(NotServing),
}

/// The outcome of a request, as Redis has answered it.
pub(crate) fn of_answer(answer: Answer) -> RequestOutcome {
    match answer {
        Answer::Granted(grant) => RequestOutcome::Issued { grant, repeated: false },
        Answer::Repeated(grant) => RequestOutcome::Issued { grant, repeated: true },
        Answer::UserLimit => RequestOutcome::AlreadyIssued,
        Answer::SoldOut => RequestOutcome::SoldOut,
        Answer::NotStarted => RequestOutcome::NotStarted,
        Answer::Ended => RequestOutcome::Ended,
        Answer::Suspended => RequestOutcome::Suspended,
        Answer::Unreadable => RequestOutcome::RedisUnavailable { maybe_granted: true },
    }
}
