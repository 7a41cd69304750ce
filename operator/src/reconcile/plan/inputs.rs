//! What a plan is made from: what was read, and what follows from it at once. Pure.

use coupon_core::event::is_believable;
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{RedisState, Terms};

use super::terms::{self, TermsInputs};
use super::work::RemainingWork;
use crate::api::{CouponCampaign, Phase};
use crate::class::limits::InForce;
use crate::class::measure::clocks::Time;
use crate::kafka::view::KafkaView;
use crate::reconcile::observe::{LedgerView, Observation};

/// What a plan is made from. Of a system that could not be read there is `None`.
pub(super) struct PlanInputs<'a> {
    pub seen: &'a Observation,
    pub ledger: Option<&'a LedgerView>,
    pub redis: Option<&'a RedisState>,
    pub kafka: Option<&'a KafkaView>,
    /// The campaign's row.
    pub row: Option<&'a CampaignRow>,
    /// The phase that status has.
    pub before: Phase,
    /// The time that the pass goes by.
    pub time: Time,
    /// Winners, as far as they are known.
    pub issued: Option<u64>,
    /// What is left to store.
    pub work: RemainingWork,
    /// The highest rank given.
    pub highest: u64,
    /// The rank of a row above every total that there was: somebody else wrote it.
    pub foreign: Option<u64>,
    /// Redis does not remember some rows: it was set back without changing its identity.
    pub set_back: bool,
    /// Redis has a number of terms that the database cannot have forgotten: somebody wrote it, and Redis takes no terms of ours any more.
    pub foreign_number: bool,
    /// The terms that users meet, if Redis serves.
    pub in_force: Option<Terms>,
}

impl<'a> PlanInputs<'a> {
    /// `clock_ms`: the operator's own clock, used only where no other one was heard.
    pub(super) fn of(campaign: &CouponCampaign, seen: &'a Observation, clock_ms: i64) -> Self {
        let (ledger, redis, kafka) = (seen.ledger.as_ref().ok(), seen.redis.as_ref().ok(), seen.kafka.as_ref().ok());
        let row = ledger.and_then(|ledger| ledger.row.as_ref());
        let open = redis.and_then(|redis| redis.open.as_ref());
        let most = row.map_or(0, |row| terms::highest_total(&terms::asked(campaign), row, open.map(|open| open.terms)));
        let foreign = ledger
            .map(|ledger| ledger.foreign.unwrap_or(ledger.highest))
            .filter(|highest| row.is_some() && *highest > most);
        let believed = ledger.filter(|ledger| row.is_none() || ledger.highest <= most);
        let in_rows = believed.map_or(0, |ledger| ledger.highest);
        let highest = open.map_or(0, |open| open.highest).max(in_rows);
        let set_back = believed.zip(redis).is_some_and(|(ledger, redis)| {
            redis.open.as_ref().is_some_and(|open| open.highest < in_rows || redis.issued < ledger.stored)
        });
        let foreign_number = row.zip(open).is_some_and(|(row, open)| !is_believable(open.number, row.terms_number));
        let issued = seen.issued();
        Self {
            seen,
            ledger,
            redis,
            kafka,
            row,
            before: campaign.status.as_ref().and_then(|status| status.phase).unwrap_or_default(),
            time: seen.time(clock_ms),
            issued,
            work: RemainingWork::of(ledger, kafka, issued),
            highest,
            foreign,
            set_back,
            foreign_number,
            in_force: redis.filter(|_| !set_back).and_then(|redis| terms::in_force(row, redis)),
        }
    }

    /// What the campaign has already, which a limit of its class does not take away.
    pub(super) fn has(&self, campaign: &CouponCampaign) -> InForce {
        let partitions = self.kafka.and_then(|kafka| match &kafka.topic.events {
            TopicState::Present(topic) => Some(topic.partitions.len()),
            TopicState::Absent => None,
        });
        let opened = self.in_force.or_else(|| self.row.and_then(terms::recorded));
        InForce::in_status(campaign.status.as_ref()).in_ledger(self.row, opened.as_ref(), partitions)
    }

    /// What the terms depend on.
    pub(super) fn of_terms(&self) -> TermsInputs<'a> {
        TermsInputs {
            row: self.row,
            in_force: self.in_force,
            // A window that only a wrong clock has opened has not opened.
            now_ms: self.redis.filter(|_| self.time.doubt.is_none()).map(|redis| redis.now_ms),
            issued: self.issued.unwrap_or(0),
            highest: self.highest,
            foreign: self.foreign,
        }
    }
}
