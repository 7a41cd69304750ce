//! What to do with a dead letter. Pure; `decider` finds the facts.

use coupon_core::event::{CouponIssued, DecodeError};
use coupon_core::format::Newer;
use coupon_ledger::redis::{Held, Refusal};

/// What Redis says about the letter's rank.
#[derive(Debug, Clone, Copy)]
pub(super) enum InRedis<'a> {
    /// It does not serve the campaign.
    Refused(Refusal),
    /// The campaign is over, and its keys were removed.
    Removed,
    /// It serves.
    Found {
        /// The epoch in force when the rank was read.
        epoch: u64,
        /// Who holds the rank.
        held: Option<&'a Held>,
    },
}

/// What is known when a letter is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The campaign's total in SQL.
    pub total: u64,
    /// The row that holds the letter's rank.
    pub of_rank: Option<&'a CouponIssued>,
    /// The row that holds the n-th place of the letter's user.
    pub of_place: Option<&'a CouponIssued>,
    /// Whether people have given it up before.
    pub discarded: bool,
    /// Whether the record was void where it first lay.
    pub void: bool,
    /// What Redis says.
    pub redis: InRedis<'a>,
}

/// What to do with a letter. The texts say why, and where it helps what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Verdict {
    /// Publish it under this epoch.
    #[error("Redis holds this grant in epoch {epoch}")]
    Replay {
        /// The epoch that the call which found the grant found in force.
        epoch: u64,
    },
    /// Nothing: it is a row.
    #[error("it is a row already")]
    AlreadyStored,
    /// Nothing: people have given it up before.
    #[error("it was discarded before, and counts for nothing")]
    AlreadyDiscarded,
    /// Nothing here: a newer program reads it.
    #[error("{0}")]
    Newer(Newer),
    /// Nothing: it is no winner.
    #[error("{0}")]
    Unreadable(DecodeError),
    /// Nothing: another coupon is stored in its place, and stands.
    #[error("user {user} holds rank {rank}, which is stored and stands")]
    Conflict {
        /// The rank of the row.
        rank: u64,
        /// Its user.
        user: String,
    },
    /// Nothing: it could not be stored.
    #[error("the rank is above the campaign's total of {total}; raise totalQuantity if it is to be a coupon")]
    AboveTotal {
        /// The total.
        total: u64,
    },
    /// Nothing: its epoch had ended when it arrived.
    #[error("it arrived after its epoch had ended, and Redis does not hold it: nobody was told of it")]
    Void,
    /// Nothing: the ledger in Redis gave the rank to somebody else.
    #[error("Redis gave this rank to user {user}")]
    RankTaken {
        /// Who.
        user: String,
    },
    /// Nothing: the ledger in Redis does not know it.
    #[error("Redis does not hold this rank")]
    NotHeld,
    /// Nothing now.
    #[error("Redis does not serve this campaign now ({0}); try again once it is repaired, or applied again")]
    NotServing(&'static str),
    /// Nothing now: the campaign is over, and Redis was rid of it.
    #[error(
        "the campaign's keys were removed from Redis after retainForHours, when every winner was a row; to have it judged take \
         retainForHours out of the campaign, wait until its RedisKeysReady says RedisKeysFilled, and try again"
    )]
    KeysRemoved,
}

impl Verdict {
    /// A stable name in CamelCase.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Replay { .. } => "Replayable",
            Self::AlreadyStored => "AlreadyStored",
            Self::AlreadyDiscarded => "AlreadyDiscarded",
            Self::Newer(_) => "NewerRecord",
            Self::Unreadable(_) => "UnreadableRecord",
            Self::Conflict { .. } => "RankConflict",
            Self::AboveTotal { .. } => "RankAboveTotal",
            Self::Void => "VoidRecord",
            Self::RankTaken { .. } => "RankTakenInRedis",
            Self::NotHeld => "NotHeldInRedis",
            Self::NotServing(_) => "RedisNotServing",
            Self::KeysRemoved => "RedisKeysRemoved",
        }
    }

    /// Whether no row can come of the letter any more, whatever people do.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::AlreadyDiscarded
            | Self::Unreadable(_)
            | Self::Conflict { .. }
            | Self::Void
            | Self::RankTaken { .. }
            | Self::NotHeld => true,
            Self::Replay { .. }
            | Self::AlreadyStored
            | Self::Newer(_)
            | Self::AboveTotal { .. }
            | Self::NotServing(_)
            | Self::KeysRemoved => false,
        }
    }

    /// Whether the letter should be published.
    pub(super) fn is_replayable(&self) -> bool {
        matches!(self, Self::Replay { .. })
    }
}

/// Why Redis says nothing of the campaign's ranks.
pub(super) fn not_serving(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Closed => "it is closed",
        Refusal::HistoryChanged => "its history changed",
        Refusal::OtherEpoch { .. } | Refusal::Behind => "it is behind",
        Refusal::Damaged => "its keys are damaged",
    }
}

/// Decides about one letter. SQL's rows come first, as no stored row is ever replaced; then Redis must hold the same grant.
pub(super) fn decide(event: &Result<CouponIssued, DecodeError>, facts: &Facts<'_>) -> Verdict {
    let stored = facts.of_rank.or(facts.of_place);
    let event = match event {
        Ok(event) if stored.is_some_and(|row| row.same_grant(event)) => return Verdict::AlreadyStored,
        _ if facts.discarded => return Verdict::AlreadyDiscarded,
        Ok(event) => event,
        Err(DecodeError::Newer(newer)) => return Verdict::Newer(newer.clone()),
        Err(error) => return Verdict::Unreadable(error.clone()),
    };
    if let Some(row) = stored {
        return Verdict::Conflict { rank: row.rank, user: row.user_id.to_string() };
    }
    match facts.redis {
        InRedis::Refused(refusal) => Verdict::NotServing(not_serving(refusal)),
        InRedis::Removed => Verdict::KeysRemoved,
        InRedis::Found { epoch, held: Some(held) } if held.user == event.user_id && held.n == event.n => {
            match event.rank > facts.total {
                true => Verdict::AboveTotal { total: facts.total },
                false => Verdict::Replay { epoch },
            }
        }
        InRedis::Found { held: Some(held), .. } => Verdict::RankTaken { user: held.user.to_string() },
        InRedis::Found { held: None, .. } if facts.void => Verdict::Void,
        InRedis::Found { held: None, .. } => Verdict::NotHeld,
    }
}

#[cfg(test)]
mod tests {
    use coupon_core::identity::{RequestKey, UserId};

    use super::*;

    fn event(rank: u64, user: &str, n: u32) -> CouponIssued {
        CouponIssued {
            coupon_id: "spring".into(),
            user_id: UserId::new(user).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: jiff::Timestamp::from_millisecond(5).unwrap(),
            n,
            epoch: 1,
            request_key: RequestKey::new("k").unwrap(),
        }
    }

    fn held(rank: u64, user: &str, n: u32) -> Held {
        Held { user: UserId::new(user).unwrap(), rank, n, granted: None }
    }

    /// Wrong: a replay takes a rank away from its holder, makes a second coupon, or leaves a winner without one.
    #[test]
    fn only_a_grant_that_redis_holds_and_no_row_denies_is_replayed() {
        let (own, other_n) = (held(7, "anna", 1), held(7, "anna", 2));
        let others = held(7, "bob", 1);
        let (row, taken, elsewhere) = (event(7, "anna", 1), event(7, "bob", 1), event(3, "anna", 1));
        let found = |held| InRedis::Found { epoch: 4, held };
        let base =
            Facts { total: 10, of_rank: None, of_place: None, discarded: false, void: false, redis: found(Some(&own)) };
        let conflict = |rank, user: &str| Verdict::Conflict { rank, user: user.to_owned() };
        let taken_by = |user: &str| Verdict::RankTaken { user: user.to_owned() };
        for (what, facts, expected) in [
            ("held", base, Verdict::Replay { epoch: 4 }),
            ("void once, but taken over", Facts { void: true, ..base }, Verdict::Replay { epoch: 4 }),
            ("a row", Facts { of_rank: Some(&row), of_place: Some(&row), ..base }, Verdict::AlreadyStored),
            ("the rank is a row", Facts { of_rank: Some(&taken), ..base }, conflict(7, "bob")),
            ("the place is a row", Facts { of_place: Some(&elsewhere), ..base }, conflict(3, "anna")),
            ("the total was lowered", Facts { total: 6, ..base }, Verdict::AboveTotal { total: 6 }),
            ("above the total, and nobody's", Facts { total: 6, redis: found(None), ..base }, Verdict::NotHeld),
            ("given to bob", Facts { redis: found(Some(&others)), ..base }, taken_by("bob")),
            ("another n", Facts { redis: found(Some(&other_n)), ..base }, taken_by("anna")),
            ("lost", Facts { redis: found(None), ..base }, Verdict::NotHeld),
            ("late", Facts { redis: found(None), void: true, ..base }, Verdict::Void),
            ("removed", Facts { redis: InRedis::Removed, ..base }, Verdict::KeysRemoved),
            (
                "a row, and removed",
                Facts { of_rank: Some(&row), redis: InRedis::Removed, ..base },
                Verdict::AlreadyStored,
            ),
            ("given up, whatever Redis holds", Facts { discarded: true, ..base }, Verdict::AlreadyDiscarded),
            (
                "given up, in another's place",
                Facts { discarded: true, of_place: Some(&elsewhere), ..base },
                Verdict::AlreadyDiscarded,
            ),
            ("given up, and a row", Facts { discarded: true, of_rank: Some(&row), ..base }, Verdict::AlreadyStored),
            ("closed", Facts { redis: InRedis::Refused(Refusal::Closed), ..base }, Verdict::NotServing("it is closed")),
        ] {
            assert_eq!(decide(&Ok(event(7, "anna", 1)), &facts), expected, "{what}");
        }
        let unreadable = Err(DecodeError::Size(0));
        assert_eq!(decide(&unreadable, &base), Verdict::Unreadable(DecodeError::Size(0)));
        let newer = Newer { what: "the record", found: 2, known: 1 };
        let given_up = Facts { discarded: true, ..base };
        assert_eq!(decide(&Err(DecodeError::Newer(newer.clone())), &given_up), Verdict::AlreadyDiscarded);
        let verdict = decide(&Err(DecodeError::Newer(newer.clone())), &base);
        assert_eq!((verdict.is_final(), verdict), (false, Verdict::Newer(newer)), "a newer program may find a winner");
    }
}
