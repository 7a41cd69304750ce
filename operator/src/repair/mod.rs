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

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::log::producer::{KeyBy, WinnerLog};
use campaign::sabotage::{CrashPoint, Defence, crash_point, without};
use campaign::stock::{self, Grants, Held, MAX_BATCH, StockKeys};
use campaign::table::{self, CampaignRowId};
use kube::ResourceExt;

pub(super) use self::publish::publish;
use crate::api;
use crate::connections::Systems;
use crate::context::Memory;
use crate::epoch::Opened;
use crate::epoch::ranks::Ranks;
use crate::error::ReconcileError;
use crate::events;
use crate::ledger_count::pages::Pages;
use crate::metrics::CampaignLabels;
use crate::reconcile::{Pass, observe::Observation};
use scan::{Looked, Part, Scan};
use watch::{Due, Sight};

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

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The winners that are missing among those it looked at.
    pub looked: Looked,
    /// Everything up to this rank was looked at.
    pub seen_up_to: u64,
}

/// Looks for winners that only Redis holds, when it is time to, and publishes them again. What was found is remembered.
/// `at_rest`: nothing is to be done to the ledger.
///
/// # Errors
/// As [`look`].
pub async fn look_for_missing(
    pass: &Pass<'_>,
    seen: &Observation,
    key_by: api::KeyBy,
    at_rest: bool,
) -> Result<(), ReconcileError> {
    let Pass { context, uid, systems, id, .. } = pass;
    let mut memory = context.memory.get(uid);
    let looked = take_turn(systems, id, seen, key_by, at_rest, &mut memory).await;
    let Memory { watch, scan, .. } = memory;
    context.memory.update(uid, |kept| (kept.watch, kept.scan) = (watch, scan));
    let Looked { missing, published, .. } = looked?;
    if published > 0 {
        let labels = CampaignLabels { namespace: pass.id.namespace().to_owned(), campaign: pass.campaign.name_any() };
        context.metrics.republished.get_or_create(&labels).inc_by(published);
        let text = format!("{published} of {missing} winners that only Redis held are published again");
        events::note(context, pass.campaign, "WinnersRepublished", &text).await;
    }
    Ok(())
}

/// What [`look_for_missing`] does, without telling anybody. Answers what this look has found.
///
/// # Errors
/// As [`look`].
pub async fn take_turn(
    systems: &Systems,
    campaign: &CampaignId,
    seen: &Observation,
    key_by: api::KeyBy,
    at_rest: bool,
    memory: &mut Memory,
) -> Result<Looked, ReconcileError> {
    let nothing = Ok(Looked::default());
    let (Ok(ledger), Ok(stock), Ok(log)) = (&seen.ledger, &seen.stock, &seen.log) else { return nothing };
    let (Some(row), Some(open), Some(offsets)) = (&ledger.row, &stock.open, &log.offsets) else { return nothing };
    let serves = row.open_epoch.is_some_and(|epoch| stock.serves(epoch));
    let complete = ledger.stored >= stock.issued;
    let (now_ms, at) = (stock.now_ms, Instant::now());
    let sight = Sight { epoch: open.epoch, now_ms, at, highest: open.highest, issued: stock.issued, offsets };
    if !at_rest || !serves || complete || without(Defence::RepairLoop) {
        memory.watch.pass_over(&sight, complete);
        memory.scan = Scan::default();
        return nothing;
    }
    let Some(due) = memory.watch.see(&sight) else { return nothing };
    let known = &memory.known;
    let (dead, pages) = (known.dead.ranks(), &known.rows.pages);
    let subject = Subject { systems, campaign, row: row.id, key_by: key_by.into(), dead, pages };
    let found = look(&subject, &memory.scan, due).await?;
    // The next look of this round needs no new wait: what is due stays so.
    if memory.scan.take(found.looked, found.seen_up_to, due.up_to) {
        memory.watch.begin_anew();
    }
    Ok(found.looked)
}

/// An epoch was opened, `passed` after Redis was read: what it found in Redis only is due from now on.
pub fn begin_after_opening(memory: &mut Memory, opened: &Opened, seen: &Observation, passed: Duration) {
    let Ok(stock) = &seen.stock else { return };
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    // Free ranks lie below the highest one.
    let due = Due { up_to: opened.winners + opened.free, granted_by_ms: stock.now_ms.saturating_add(passed_ms) };
    memory.watch.opened(opened.epoch, due);
    memory.scan = Scan::default();
}

/// Goes on where `scan` is: finds winners among those that are due which are missing, and publishes them.
///
/// # Errors
/// One of the systems failed; what was published stays published, and the rest is found again.
pub async fn look(subject: &Subject<'_>, scan: &Scan, due: Due) -> Result<Found, ReconcileError> {
    let Subject { systems, campaign, row, .. } = subject;
    let part = part(subject, scan, due.up_to).await?;
    let mut seen_up_to = part.seen_up_to;
    let mut looked = Looked::default();
    let keys = StockKeys::of(campaign);
    let mut log: Option<WinnerLog> = None;
    for ranks in part.ranks.chunks(MAX_BATCH) {
        let mut redis = systems.redis().await?;
        let found = match stock::grants(&mut redis, &keys, ranks).await {
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
        let log = match &log {
            Some(log) => log,
            None => log.insert(
                WinnerLog::new(&systems.settings.operator.kafka, campaign, subject.key_by, "coupon-operator-repair")
                    .map_err(|e| ReconcileError::Repair(e.to_string()))?,
            ),
        };
        let oldest = missing.iter().map(|held| held.granted_or_recovered().0).min();
        looked.oldest_ms = looked.oldest_ms.into_iter().chain(oldest).min();
        looked.missing += u64::try_from(missing.len()).unwrap_or(u64::MAX);
        let records: Vec<CouponIssued> = missing.iter().map(|held| held.event(campaign, epoch, issued)).collect();
        let published = publish(log, campaign, &records).await.len();
        looked.published += u64::try_from(published).unwrap_or(u64::MAX);
        crash_point(CrashPoint::AfterRepublish);
    }
    if looked.missing > 0 {
        tracing::warn!(
            %campaign,
            row = row.0,
            missing = looked.missing,
            published = looked.published,
            "winners that only Redis held are published again"
        );
    }
    Ok(Found { looked, seen_up_to })
}

/// Reads which ranks of this look's part are no rows.
async fn part(subject: &Subject<'_>, scan: &Scan, up_to: u64) -> Result<Part, table::TableError> {
    let mut part = scan.part(up_to);
    while let Some((from, to)) = part.wanted(subject.pages) {
        let rows = table::read_ranks(&subject.systems.sql, subject.row, from, to, PAGE).await?;
        // Beyond the last row of a page that is not full there are no rows.
        let end = rows.last().copied().filter(|_| rows.len() == PAGE as usize).unwrap_or(to);
        part.take(&rows, end, subject.dead);
    }
    Ok(part)
}
