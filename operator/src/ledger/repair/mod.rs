//! Publishes again what only Redis holds: winners whose issuer died, or gave up, before they were durable.
//!
//! [`watch`] says when they can be told from winners that are on their way, [`scan`] which ranks are looked at next. Publishing
//! is harmless at any time and any number of times: the record says what the first one would have said, under the epoch that
//! the same script call found in force, so that a grant that a newer epoch has taken back is void when it arrives.

pub mod compare;
mod compare_watch;
pub mod direct;
mod publish;
pub mod scan;
pub mod settle;
pub mod watch;

use std::time::{Duration, Instant};

use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_core::failpoints::{CrashPoint, Safeguard, crash_point, is_disabled};
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::kafka::producer::WinnerProducer;
use coupon_ledger::redis::{self, Grants, Held, MAX_BATCH, RedisKeys};

pub(super) use self::publish::publish;
use crate::class::pools::Systems;
use crate::error::ReconcileError;
use crate::events;
use crate::ledger::count::pages::Pages;
use crate::ledger::epoch::Opened;
use crate::ledger::epoch::ranks::Ranks;
use crate::metrics::CampaignLabels;
use crate::reconcile::memory::Memory;
use crate::reconcile::{ReconcileContext, observe::Observation};
use scan::{Scan, ScanRange, ScanResult};
use watch::{DueWinners, WatchInputs};

/// Rows' ranks in one page.
const PAGE: u32 = 10_000;

/// What to look at.
pub struct Subject<'a> {
    /// The three systems.
    pub systems: &'a Systems,
    /// The campaign.
    pub campaign: &'a CampaignId,
    /// Its row.
    pub row: CampaignRowId,
    /// What the key of its records is.
    pub key_by: KeyBy,
    /// Ranks of dead letters: they have a record, and somebody looks after it.
    pub dead: &'a Ranks,
    /// Where the rows are, as they were counted.
    pub pages: &'a Pages,
}

/// What one scan found, and how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanStep {
    /// The winners that are missing among the ranks it went through.
    pub result: ScanResult,
    /// Everything up to this rank was looked at.
    pub seen_up_to: u64,
}

/// Looks for winners that only Redis holds, when it is time to, and publishes them again. What was found is remembered.
/// `at_rest`: nothing is to be done to the ledger.
///
/// # Errors
/// As [`publish_missing`].
pub async fn look_for_missing(
    pass: &ReconcileContext<'_>,
    seen: &Observation,
    key_by: KeyBy,
    at_rest: bool,
) -> Result<(), ReconcileError> {
    let ReconcileContext { context, systems, id, .. } = pass;
    let mut memory = pass.memory.get();
    let result = take_turn(systems, id, seen, key_by, at_rest, &mut memory).await;
    let Memory { watch, scan, .. } = memory;
    pass.memory.update(|kept| (kept.watch, kept.scan) = (watch, scan));
    let ScanResult { missing, published, .. } = result?;
    if published > 0 {
        let labels = CampaignLabels::of(pass.campaign);
        context.metrics.republished.get_or_create(&labels).inc_by(published);
        let text = format!("{published} of {missing} winners that only Redis held are published again");
        events::note(context, pass.campaign, "WinnersRepublished", &text).await;
    }
    Ok(())
}

/// What [`look_for_missing`] does, without events and metrics. Returns what this scan has found.
///
/// # Errors
/// As [`publish_missing`].
pub async fn take_turn(
    systems: &Systems,
    campaign: &CampaignId,
    seen: &Observation,
    key_by: KeyBy,
    at_rest: bool,
    memory: &mut Memory,
) -> Result<ScanResult, ReconcileError> {
    let nothing = Ok(ScanResult::default());
    let (Ok(ledger), Ok(redis), Ok(kafka)) = (&seen.ledger, &seen.redis, &seen.kafka) else { return nothing };
    let (Some(row), Some(open), Some(offsets)) = (&ledger.row, &redis.open, &kafka.offsets) else { return nothing };
    let serves = row.open_epoch.is_some_and(|epoch| redis.serves(epoch));
    let complete = ledger.stored >= redis.issued;
    let (now_ms, at) = (redis.now_ms, Instant::now());
    let inputs = WatchInputs { epoch: open.epoch, now_ms, at, highest: open.highest, issued: redis.issued, offsets };
    if !at_rest || !serves || complete || is_disabled(Safeguard::RepairLoop) {
        memory.watch.skip(&inputs, complete);
        memory.scan = Scan::default();
        return nothing;
    }
    let Some(due) = memory.watch.observe(&inputs) else { return nothing };
    let known = &memory.cache;
    let (dead, pages) = (known.dead.ranks(), &known.rows.pages);
    let subject = Subject { systems, campaign, row: row.id, key_by, dead, pages };
    let found = publish_missing(&subject, &memory.scan, due).await?;
    // The next scan of this round needs no new wait: what is due stays due.
    if memory.scan.record(found.result, found.seen_up_to, due.up_to) {
        memory.watch.begin_anew();
    }
    Ok(found.result)
}

/// An epoch was opened, `passed` after Redis was read: what it found in Redis only is due from now on.
pub fn begin_after_opening(memory: &mut Memory, opened: &Opened, seen: &Observation, passed: Duration) {
    let Ok(redis) = &seen.redis else { return };
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    // Free ranks lie below the highest one.
    let due = DueWinners { up_to: opened.winners + opened.free, granted_by_ms: redis.now_ms.saturating_add(passed_ms) };
    memory.watch.opened(opened.epoch, due);
    memory.scan = Scan::default();
}

/// Goes on where `scan` is: finds winners among those that are due which are missing, and publishes them.
///
/// # Errors
/// One of the systems failed; what was published stays published, and the rest is found again.
pub async fn publish_missing(subject: &Subject<'_>, scan: &Scan, due: DueWinners) -> Result<ScanStep, ReconcileError> {
    let Subject { systems, campaign, row, .. } = subject;
    let range = read_range(subject, scan, due.up_to).await?;
    let mut seen_up_to = range.seen_up_to;
    let mut result = ScanResult::default();
    let keys = RedisKeys::of(campaign);
    let mut producer: Option<WinnerProducer> = None;
    for ranks in range.ranks.chunks(MAX_BATCH) {
        let mut redis = systems.redis().await?;
        let found = match redis::grants(&mut redis, &keys, ranks).await {
            Ok(found) => found,
            Err(error) => {
                systems.forget_redis().await;
                return Err(error.into());
            }
        };
        let Grants::Found { epoch, issued, held } = found else {
            tracing::info!(%campaign, ?found, "Redis does not serve any more; nothing is published");
            seen_up_to = ranks[0] - 1;
            break;
        };
        let missing: Vec<Held> =
            held.into_iter().flatten().filter(|held| held.granted_or_recovered().0 <= due.granted_by_ms).collect();
        if missing.is_empty() {
            continue;
        }
        let producer = match &producer {
            Some(producer) => producer,
            None => producer.insert(
                WinnerProducer::new(
                    &systems.settings.operator.kafka,
                    campaign,
                    subject.key_by,
                    "coupon-operator-repair",
                )
                .map_err(|e| ReconcileError::Repair(e.to_string()))?,
            ),
        };
        let oldest = missing.iter().map(|held| held.granted_or_recovered().0).min();
        result.oldest_ms = result.oldest_ms.into_iter().chain(oldest).min();
        result.missing += u64::try_from(missing.len()).unwrap_or(u64::MAX);
        let records: Vec<CouponIssued> = missing.iter().map(|held| held.event(campaign, epoch, issued)).collect();
        let published = publish(producer, campaign, &records).await.len();
        result.published += u64::try_from(published).unwrap_or(u64::MAX);
        crash_point(CrashPoint::AfterRepublish);
    }
    if result.missing > 0 {
        tracing::warn!(
            %campaign,
            row = row.0,
            missing = result.missing,
            published = result.published,
            "winners that only Redis held are published again"
        );
    }
    Ok(ScanStep { result, seen_up_to })
}

/// Reads which ranks of this scan have no row.
async fn read_range(subject: &Subject<'_>, scan: &Scan, up_to: u64) -> Result<ScanRange, database::DatabaseError> {
    let mut range = scan.next_range(up_to);
    while let Some((from, to)) = range.wanted(subject.pages) {
        let rows = database::read_ranks(&subject.systems.sql, subject.row, from, to, PAGE).await?;
        // Beyond the last row of a page that is not full there are no rows.
        let end = rows.last().copied().filter(|_| rows.len() == PAGE as usize).unwrap_or(to);
        range.record(&rows, end, subject.dead);
    }
    Ok(range)
}
