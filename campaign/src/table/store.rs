//! Stores winners: the only way in which a row comes to be.
//!
//! Consumer, issuer (when Kafka is away) and operator (draining) all call [`store`]. It decides each winner in the one
//! transaction that inserts it, under a shared lock on the campaign's row: total, epoch and barriers cannot change meanwhile.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, QueryBuilder, Row};

use super::barrier::Barriers;
use super::barriers::read_barriers;
use super::campaign::CampaignRowId;
use super::direct;
use super::error::TableError;
use super::forgotten;
use super::position::Position;
use crate::event::CouponIssued;
use crate::sabotage::{CrashPoint, Defence, crash_point, without};

/// A database that was restored may have forgotten epochs, which records of the log remember. So many ahead of it are believed, here
/// and where a repair reads the log; a record beyond them is no ledger's: what a stranger wrote must not raise epochs for ever.
pub const EPOCHS_AHEAD: u64 = 1_000;

/// A winner and where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedWinner {
    /// The winner.
    pub event: CouponIssued,
    /// Where its record lies.
    pub position: Position,
}

/// Where winners come from, which decides what makes one void.
#[derive(Debug, Clone, Copy)]
pub enum StoreMode<'a> {
    /// Records of the topic: the barrier rule applies.
    Logged(&'a [LoggedWinner]),
    /// Straight from Redis: stored only while SQL's epoch is the grant's.
    Direct(&'a [CouponIssued]),
}

/// What became of one winner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// A new row, or the row was there with the same content: success either way.
    Stored,
    /// The record is void: it belongs to an epoch that ended before it arrived, or to one that is more than [`EPOCHS_AHEAD`] ahead, and
    /// nobody was told about it; or people have given it up.
    Void,
    /// Another row holds the rank, or the user's n-th place. It stands; this one is not stored.
    Conflict,
    /// The rank is higher than the campaign's total.
    AboveTotal {
        /// The total in force.
        total: u64,
    },
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// One outcome per winner, in order.
    pub outcomes: Vec<RowOutcome>,
    /// Which of the stored rows were there already, as places in the batch, lowest first.
    pub duplicates: Vec<usize>,
}

/// Most rows of one statement. MySQL allows 65,535 placeholders.
const MAX_ROWS: usize = 2_000;

/// Stores a batch in one transaction and says what became of each winner. After an error nothing of it is stored, or,
/// if the connection broke during the commit, all of it: storing it again is harmless.
pub async fn store(pool: &MySqlPool, id: CampaignRowId, mode: StoreMode<'_>) -> Result<Stored, TableError> {
    let mut tx = pool.begin().await?;
    // The shared lock lets consumers work side by side, and makes whoever changes total or epoch wait for us.
    let (total, epoch, topic_id, forgotten): (u64, u64, Option<Vec<u8>>, u64) = sqlx::query_as(
        "SELECT total_quantity, epoch, topic_id, forgotten_number FROM campaign WHERE id = ? LOCK IN SHARE MODE",
    )
    .bind(id.0)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| TableError::NoCampaign(format!("number {}", id.0)))?;
    let mut events: Vec<Cow<'_, CouponIssued>> = match mode {
        StoreMode::Logged(winners) => winners.iter().map(|winner| Cow::Borrowed(&winner.event)).collect(),
        StoreMode::Direct(events) => events.iter().map(Cow::Borrowed).collect(),
    };
    if forgotten > 0 {
        let pseudonyms = forgotten::read(&mut tx, id, events.iter().map(|event| event.rank)).await?;
        for event in &mut events {
            if pseudonyms.of(event.rank, &event.user_id).is_some() {
                pseudonyms.rename(event.to_mut());
            }
        }
    }
    let barriers = match mode {
        StoreMode::Logged(winners) => {
            let offsets = || winners.iter().map(|winner| winner.position.offset);
            let among = offsets().min().unwrap_or(0)..=offsets().max().unwrap_or(0);
            read_barriers(&mut tx, id, &topic_id.unwrap_or_default(), among).await?
        }
        StoreMode::Direct(_) => Barriers::default(),
    };
    let void = |index: usize, event: &CouponIssued| match mode {
        StoreMode::Logged(winners) => {
            let Position { partition, offset } = winners[index].position;
            let late = barriers.voids(event.epoch, partition, offset) && !without(Defence::BarrierRule);
            late || event.epoch > epoch.saturating_add(EPOCHS_AHEAD)
        }
        StoreMode::Direct(_) => event.epoch != epoch && !without(Defence::ConditionalInsert),
    };
    let mut outcomes: Vec<RowOutcome> = events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            if void(index, event) {
                RowOutcome::Void
            } else if event.rank > total {
                RowOutcome::AboveTotal { total }
            } else {
                RowOutcome::Stored
            }
        })
        .collect();
    // Rows of a statement are sorted by rank, so that two consumers take locks in the same order.
    let mut wanted: Vec<usize> = (0..events.len()).filter(|i| outcomes[*i] == RowOutcome::Stored).collect();
    wanted.sort_by_key(|i| events[*i].rank);
    let mut duplicates = Vec::new();
    for chunk in wanted.chunks(MAX_ROWS) {
        let rows: Vec<&CouponIssued> = chunk.iter().map(|i| &*events[*i]).collect();
        match insert(&mut tx, id, &rows, "").await {
            Ok(()) => continue,
            Err(error) if error.is_duplicate() => {}
            Err(error) => return Err(error),
        }
        let holds = |holders: &Holders, event: &CouponIssued| {
            holders.get(&event.rank).map(|(user, n)| user == event.user_id.as_str().as_bytes() && *n == event.n)
        };
        // Some are there already: a first row stands, whatever it holds. The others are inserted; the assignment changes
        // nothing where somebody else was faster, or the user's n-th place is taken. What holds is read back under lock.
        let before = holders(&mut tx, id, &rows).await?;
        let new: Vec<&CouponIssued> = rows.iter().copied().filter(|event| !before.contains_key(&event.rank)).collect();
        let after = if new.is_empty() {
            Holders::new()
        } else {
            insert(&mut tx, id, &new, " ON DUPLICATE KEY UPDATE issue_rank = issue_rank").await?;
            holders(&mut tx, id, &new).await?
        };
        let mut last_stored = 0;
        for (index, event) in chunk.iter().zip(&rows) {
            match holds(&before, event).or_else(|| holds(&after, event)) {
                // The same grant twice in one batch counts once.
                Some(true) if before.contains_key(&event.rank) || last_stored == event.rank => duplicates.push(*index),
                Some(true) => last_stored = event.rank,
                Some(false) | None => outcomes[*index] = RowOutcome::Conflict,
            }
        }
    }
    duplicates.sort_unstable();
    if matches!(mode, StoreMode::Direct(_)) {
        let is_new = |i: &usize| outcomes[*i] == RowOutcome::Stored && duplicates.binary_search(i).is_err();
        let new: Vec<&CouponIssued> = wanted.iter().filter(|i| is_new(i)).map(|i| &*events[*i]).collect();
        for rows in new.chunks(MAX_ROWS) {
            direct::note(&mut tx, id, rows).await?;
        }
    }
    crash_point(CrashPoint::BeforeCommit);
    tx.commit().await?;
    Ok(Stored { outcomes, duplicates })
}

async fn insert(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    rows: &[&CouponIssued],
    suffix: &'static str,
) -> Result<(), TableError> {
    let mut query = QueryBuilder::<MySql>::new(
        "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) ",
    );
    query.push_values(rows, |mut row, event| {
        row.push_bind(id.0)
            .push_bind(event.rank)
            .push_bind(event.user_id.as_str().as_bytes())
            .push_bind(event.n)
            .push_bind(event.request_key.as_str().as_bytes())
            .push_bind(event.epoch)
            .push_bind(event.occurred_at.as_millisecond());
    });
    query.push(suffix);
    query.build().execute(connection).await?;
    Ok(())
}

/// Rank -> who holds it: user id and n.
type Holders = HashMap<u64, (Vec<u8>, u32)>;

/// Who holds each of these ranks. A locking read sees what is committed now; a snapshot would not.
async fn holders(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    rows: &[&CouponIssued],
) -> Result<Holders, TableError> {
    let mut query =
        QueryBuilder::<MySql>::new("SELECT issue_rank, user_id, user_nth FROM issued_coupon WHERE campaign_id = ");
    query.push_bind(id.0).push(" AND issue_rank IN (");
    let mut ranks = query.separated(", ");
    for event in rows {
        ranks.push_bind(event.rank);
    }
    query.push(") ORDER BY issue_rank LOCK IN SHARE MODE");
    let found = query.build().fetch_all(connection).await?;
    found
        .iter()
        .map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?))))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(TableError::from)
}
