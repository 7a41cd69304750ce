//! Why Redis does not serve what the ledger has opened: decided once, for the condition while it is so and for the event of the epoch that
//! mends it. Pure.

use coupon_core::event::is_believable;
use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::RedisState;

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unserved {
    /// There never was an epoch.
    New,
    /// Its keys were removed from Redis on purpose.
    KeysRemoved,
    /// Redis has nothing of it.
    Empty,
    /// Redis has winners, and is closed.
    Closed,
    /// Redis is another one, or has lost what came last.
    OtherHistory,
    /// An epoch was begun, and is not open.
    EpochClosed,
    /// Redis goes by another epoch.
    OtherEpoch,
    /// The keys do not fit together.
    Damaged,
    /// Redis lacks ranks that are rows.
    SetBack,
}

impl Unserved {
    /// Of a campaign that Redis does not serve.
    pub(super) fn of(row: &CampaignRow, redis: &RedisState) -> Self {
        match (&redis.open, row.epoch) {
            (_, 0) => Self::New,
            (None, _) if row.keys_removed_ms.is_some() => Self::KeysRemoved,
            (None, _) if redis.issued > 0 => Self::Closed,
            (None, _) => Self::Empty,
            (Some(open), _) if open.history != redis.history => Self::OtherHistory,
            (Some(_), _) if row.open_epoch.is_none() => Self::EpochClosed,
            (Some(open), _) if row.open_epoch != Some(open.epoch) => Self::OtherEpoch,
            (Some(open), _) if open.misfit.is_some() || !is_believable(open.number, row.terms_number) => Self::Damaged,
            (Some(_), _) => Self::SetBack,
        }
    }

    /// A stable word for programs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::New => "NewCampaign",
            Self::KeysRemoved => "KeysRemoved",
            Self::Empty => "RedisEmpty",
            Self::Closed => "CampaignClosed",
            Self::OtherHistory => "HistoryChanged",
            Self::EpochClosed => "EpochClosed",
            Self::OtherEpoch => "EpochMismatch",
            Self::Damaged => "RedisDamaged",
            Self::SetBack => "SetBack",
        }
    }

    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::New | Self::EpochClosed => "Redis is not filled yet",
            Self::KeysRemoved => "the keys in Redis were removed when the campaign was over, and are needed again",
            Self::Empty => "Redis holds nothing of the campaign",
            Self::Closed => {
                "Redis holds winners, and the campaign is closed there: a call that was broken off left keys that do not fit together, or \
                 somebody removed the meta key"
            }
            Self::OtherHistory => "Redis is not the one that the ledger was written into",
            Self::OtherEpoch => "Redis and the database have different epochs open",
            Self::Damaged => "the campaign's keys in Redis do not fit together",
            Self::SetBack => "Redis lacks ranks that are rows",
        }
    }
}
