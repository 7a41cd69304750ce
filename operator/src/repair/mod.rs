//! Publishes again what only Redis holds: winners whose issuer died, or gave up, before they were durable.
//!
//! [`watch`] says when they can be told from winners that are on their way. Publishing is harmless at any time and any
//! number of times: the record says what the first one would have said, under the epoch that the same script call found in
//! force, so that a grant that a newer epoch has taken back is void when it arrives.

pub mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::log::producer::{KeyBy, WinnerLog};
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::stock::{self, Grants, Held, MAX_BATCH, StockKeys};
use campaign::table::{self, CampaignRowId};

use crate::connections::Systems;
use crate::error::ReconcileError;
use watch::Due;

/// Winners published in one look: what is left comes with the next one. It bounds memory and the load on the brokers.
const MAX_PUBLISHED: usize = 5_000;
/// Rows' ranks in one page.
const PAGE: u32 = 10_000;
/// How long Kafka may take for one batch of them; what is not acknowledged is found missing again.
const BATCH_DEADLINE: Duration = Duration::from_secs(10);

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Winners that were due and are neither rows nor dead letters. At most [`MAX_PUBLISHED`] are counted in one look.
    pub missing: u64,
    /// When the oldest of them was granted, milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// How many of them Kafka has acknowledged now.
    pub published: u64,
    /// All ranks up to this one are rows.
    pub complete_up_to: u64,
}

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
    pub dead: &'a BTreeSet<u64>,
    /// All ranks up to this one are known to be rows.
    pub complete_up_to: u64,
}

/// Finds the winners among those that are due which are missing, and publishes them.
///
/// # Errors
/// One of the systems failed; what was published stays published, and the rest is found again.
pub async fn look(subject: &Subject<'_>, due: Due) -> Result<Looked, ReconcileError> {
    let Subject { systems, campaign, row, dead, .. } = subject;
    let holes = holes(subject, due.up_to).await?;
    let mut looked = Looked { complete_up_to: holes.complete_up_to, ..Looked::default() };
    let keys = StockKeys::of(campaign);
    let mut log: Option<WinnerLog> = None;
    let wanted: Vec<u64> = holes.ranks.into_iter().filter(|rank| !dead.contains(rank)).collect();
    for ranks in wanted.chunks(MAX_BATCH) {
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
        looked.published += publish(log, campaign, epoch, issued, &missing).await;
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
    Ok(looked)
}

/// Ranks that are no rows.
struct Holes {
    ranks: Vec<u64>,
    complete_up_to: u64,
}

async fn holes(subject: &Subject<'_>, up_to: u64) -> Result<Holes, table::TableError> {
    let mut found = Holes { ranks: Vec::new(), complete_up_to: subject.complete_up_to };
    let mut next = subject.complete_up_to + 1;
    while next <= up_to && found.ranks.len() < MAX_PUBLISHED {
        let rows = table::read_ranks(&subject.systems.sql, subject.row, next, up_to, PAGE).await?;
        // Beyond the last row of a page that is not full there are no rows.
        let full = rows.len() == PAGE as usize;
        let end = rows.last().copied().filter(|_| full).unwrap_or(up_to);
        let mut rows = rows.into_iter().peekable();
        for rank in next..=end {
            if rows.next_if_eq(&rank).is_some() {
                if found.ranks.is_empty() {
                    found.complete_up_to = rank;
                }
            } else if found.ranks.len() < MAX_PUBLISHED {
                found.ranks.push(rank);
            }
        }
        next = end + 1;
    }
    Ok(found)
}

/// Publishes these and says how many Kafka has acknowledged.
async fn publish(log: &WinnerLog, campaign: &CampaignId, epoch: u64, issued: u64, winners: &[Held]) -> u64 {
    let records: Vec<_> = winners.iter().map(|held| log.append(&held.event(campaign, epoch, issued))).collect();
    let deadline = tokio::time::Instant::now() + BATCH_DEADLINE;
    let mut published = 0;
    for record in records {
        let acknowledged = async {
            match record {
                Ok(appending) => appending.acknowledged().await,
                Err(error) => Err(error),
            }
        };
        match tokio::time::timeout_at(deadline, acknowledged).await {
            Ok(Ok(())) => published += 1,
            Ok(Err(error)) => tracing::warn!(%campaign, %error, "a winner could not be published; trying again later"),
            Err(_) => {}
        }
    }
    published
}
