//! What is known of the ranks that were given, beside the rows. Pure.

use coupon_ledger::redis::RedisState;

/// Who says how many coupons were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// The database: the operator removed the keys from Redis once each of the winners in them was a row, or given up.
    KeysRemoved {
        /// Winners in them.
        winners: u64,
    },
    /// Redis, which serves the campaign, before the rows were read.
    InRedis(InRedis),
    /// Nobody.
    Unknown {
        /// Why Redis could not be asked.
        why: String,
    },
}

/// What Redis said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InRedis {
    /// The epoch in force.
    pub epoch: u64,
    /// Number of winners.
    pub issued: u64,
    /// Highest rank ever given.
    pub highest: u64,
    /// Coupons in all.
    pub total: u64,
    /// Start of the window, milliseconds since 1970.
    pub start_ms: i64,
    /// End of the window (exclusive), milliseconds since 1970.
    pub end_ms: i64,
    /// The time that ranks are given by, milliseconds since 1970.
    pub now_ms: i64,
}

impl InRedis {
    /// Ranks up to the highest that nobody holds.
    pub(super) fn free(&self) -> u64 {
        self.highest.saturating_sub(self.issued)
    }
}

impl Given {
    /// By this state of Redis, if it serves the epoch that is open in the database.
    pub(super) fn of_redis(open_epoch: Option<u64>, state: &RedisState) -> Self {
        let unknown = |why: String| Self::Unknown { why };
        let Some(epoch) = open_epoch else {
            return unknown(
                "no epoch is open in the database: the campaign is closed, or not begun, or under repair".to_owned(),
            );
        };
        let Some(open) = &state.open else {
            return unknown("it has no terms of the campaign, which is then closed, and not empty".to_owned());
        };
        if let Some(misfit) = &open.misfit {
            return unknown(format!("its keys do not fit together: {misfit}"));
        }
        if open.history != state.history {
            return unknown("its history changed, so that grants may be missing in it".to_owned());
        }
        if open.epoch != epoch {
            return unknown(format!("it is of epoch {}, and epoch {epoch} is open", open.epoch));
        }
        Self::InRedis(InRedis {
            epoch,
            issued: state.issued,
            highest: open.highest,
            total: open.terms.total,
            start_ms: open.terms.start_ms,
            end_ms: open.terms.end_ms,
            now_ms: state.now_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use coupon_ledger::redis::{OpenInRedis, Terms};

    use super::*;

    fn open() -> OpenInRedis {
        OpenInRedis {
            epoch: 3,
            history: "this".to_owned(),
            terms: Terms { total: 10, limit: 1, start_ms: 1, end_ms: 9, suspended: false },
            number: 1,
            highest: 5,
            misfit: None,
        }
    }

    fn state(open: Option<OpenInRedis>) -> RedisState {
        RedisState { clock_ms: 7, now_ms: 8, history: "this".to_owned(), issued: 4, open }
    }

    /// Wrong: a Redis that was lost, or is filled just now, says that nothing more was given.
    #[test]
    fn only_a_redis_that_serves_has_answered() {
        let found = InRedis { epoch: 3, issued: 4, highest: 5, total: 10, start_ms: 1, end_ms: 9, now_ms: 8 };
        assert_eq!(found.free(), 1);
        assert_eq!(Given::of_redis(Some(3), &state(Some(open()))), Given::InRedis(found));
        for (what, open_epoch, state, words) in [
            ("a repair is under way", None, state(Some(open())), "no epoch is open"),
            ("absent is not empty", Some(3), state(None), "closed, and not empty"),
            (
                "damaged",
                Some(3),
                state(Some(OpenInRedis { misfit: Some("2 winners".to_owned()), ..open() })),
                "do not fit together: 2 winners",
            ),
            (
                "another Redis than the one that was filled",
                Some(3),
                state(Some(OpenInRedis { history: "before".to_owned(), ..open() })),
                "history changed",
            ),
            ("filled for an epoch that is over", Some(4), state(Some(open())), "of epoch 3, and epoch 4 is open"),
        ] {
            let given = Given::of_redis(open_epoch, &state);
            assert!(matches!(&given, Given::Unknown { why } if why.contains(words)), "{what}: {given:?}");
        }
    }
}
