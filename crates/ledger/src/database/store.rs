//! Stores winners: the only way in which a row comes to be.
//!
//! Consumer, issuer (when Kafka is away) and operator (draining) all call [`store`]. It decides each winner in the one
//! transaction that inserts it, under a shared lock on the campaign's row: total, epoch and barriers cannot change meanwhile.

use std::borrow::Cow;
use std::collections::HashMap;

use coupon_core::event::{CouponIssued, is_believable};
use coupon_core::failpoints::{CrashPoint, Safeguard, crash_point, is_disabled};
use coupon_core::position::Position;
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{AssertSqlSafe, MySql, QueryBuilder, Row};

use super::barrier::Barriers;
use super::barriers::{allotted, read_barriers};
use super::error::DatabaseError;
use super::row::CampaignRowId;
use super::{direct, forgotten};

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
    /// The record is void: it belongs to an epoch that ended before it arrived, or to one that the database cannot have forgotten, and
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

/// Most rows of one statement: with the longest user ids and keys some 600 KB, which any server takes, and 14,336 placeholders of the 65,535
/// that MySQL allows.
const MAX_ROWS: usize = 2_048;
/// What is less than that goes in pieces of so many rows, and a rest.
const PIECE: usize = 512;
const COLUMNS: &str = "(campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms)";
const PLACES: &str = "(?, ?, ?, ?, ?, ?, ?)";

/// What goes into one statement each. A server prepares a statement for each length that it meets, which takes longer than to execute it, and
/// keeps it, with each of its places, as long as the connection has it: so of the long ones there is one length only.
fn pieces<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let most = if all.len() >= MAX_ROWS { MAX_ROWS } else { PIECE };
        let (piece, rest) = all.split_at(most.min(all.len()));
        all = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Stores a batch in one transaction and says what became of each winner. After an error nothing of it is stored, or,
/// if the connection broke during the commit, all of it: storing it again is harmless.
pub async fn store(pool: &MySqlPool, id: CampaignRowId, mode: StoreMode<'_>) -> Result<Stored, DatabaseError> {
    let mut tx = pool.begin().await?;
    let campaign = locked_campaign(&mut tx, id).await?;
    let events = events(&mut tx, id, mode, &campaign).await?;
    let barriers = barriers(&mut tx, id, mode, &campaign).await?;
    let mut outcomes: Vec<RowOutcome> =
        events.iter().enumerate().map(|(index, event)| allowed(mode, &campaign, &barriers, index, event)).collect();
    // Rows of a statement are sorted by rank, so that two consumers take locks in the same order.
    let mut wanted: Vec<usize> = (0..events.len()).filter(|i| outcomes[*i] == RowOutcome::Stored).collect();
    wanted.sort_by_key(|i| events[*i].rank);
    let mut duplicates = Vec::new();
    for piece in pieces(&wanted) {
        let rows: Vec<&CouponIssued> = piece.iter().map(|i| &*events[*i]).collect();
        for (index, inserted) in piece.iter().zip(insert_or_compare(&mut tx, id, &rows).await?) {
            match inserted {
                Inserted::New => {}
                Inserted::Duplicate => duplicates.push(*index),
                Inserted::Conflict => outcomes[*index] = RowOutcome::Conflict,
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

/// What decides about winners, and does not change while the campaign's row is locked.
struct LockedCampaign {
    total: u64,
    epoch: u64,
    topic_id: Option<Vec<u8>>,
    /// How often somebody was forgotten.
    forgotten: u64,
}

/// The shared lock lets consumers work side by side, and makes whoever changes total or epoch wait for us.
async fn locked_campaign(tx: &mut MySqlConnection, id: CampaignRowId) -> Result<LockedCampaign, DatabaseError> {
    let (total, epoch, topic_id, forgotten): (u64, u64, Option<Vec<u8>>, u64) = sqlx::query_as(
        "SELECT total_quantity, epoch, topic_id, forgotten_number FROM campaign WHERE id = ? LOCK IN SHARE MODE",
    )
    .bind(id.0)
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| DatabaseError::NoCampaign(format!("number {}", id.0)))?;
    Ok(LockedCampaign { total, epoch, topic_id, forgotten })
}

/// The winners, those who are forgotten under their pseudonyms.
async fn events<'a>(
    tx: &mut MySqlConnection,
    id: CampaignRowId,
    mode: StoreMode<'a>,
    campaign: &LockedCampaign,
) -> Result<Vec<Cow<'a, CouponIssued>>, DatabaseError> {
    let mut events: Vec<Cow<'a, CouponIssued>> = match mode {
        StoreMode::Logged(winners) => winners.iter().map(|winner| Cow::Borrowed(&winner.event)).collect(),
        StoreMode::Direct(events) => events.iter().map(Cow::Borrowed).collect(),
    };
    if campaign.forgotten > 0 {
        let pseudonyms = forgotten::read(tx, id, events.iter().map(|event| event.rank)).await?;
        for event in &mut events {
            if pseudonyms.of(event.rank, &event.user_id).is_some() {
                pseudonyms.rename(event.to_mut());
            }
        }
    }
    Ok(events)
}

/// The barriers of the topic that records come from; none for winners that come from Redis.
async fn barriers(
    tx: &mut MySqlConnection,
    id: CampaignRowId,
    mode: StoreMode<'_>,
    campaign: &LockedCampaign,
) -> Result<Barriers, DatabaseError> {
    let StoreMode::Logged(winners) = mode else { return Ok(Barriers::default()) };
    let offsets = || winners.iter().map(|winner| winner.position.offset);
    let among = offsets().min().unwrap_or(0)..=offsets().max().unwrap_or(0);
    let barriers = read_barriers(tx, id, campaign.topic_id.as_deref().unwrap_or_default(), among).await?;
    allotted(barriers, id, campaign.epoch)
}

/// What becomes of a winner, as far as epoch, barriers and total decide; `index` is its place in the batch.
fn allowed(
    mode: StoreMode<'_>,
    campaign: &LockedCampaign,
    barriers: &Barriers,
    index: usize,
    event: &CouponIssued,
) -> RowOutcome {
    let is_void = match mode {
        StoreMode::Logged(winners) => {
            let Position { partition, offset } = winners[index].position;
            let late = barriers.voids(event.epoch, partition, offset) && !is_disabled(Safeguard::BarrierRule);
            late || !is_believable(event.epoch, campaign.epoch)
        }
        StoreMode::Direct(_) => event.epoch != campaign.epoch && !is_disabled(Safeguard::ConditionalInsert),
    };
    if is_void {
        RowOutcome::Void
    } else if event.rank > campaign.total {
        RowOutcome::AboveTotal { total: campaign.total }
    } else {
        RowOutcome::Stored
    }
}

/// What an insert did about one row.
#[derive(Clone, Copy)]
enum Inserted {
    /// It is there now.
    New,
    /// It was there already, or is in the same batch twice.
    Duplicate,
    /// Another row is in its place.
    Conflict,
}

/// Inserts rows, sorted by rank, and says of each what happened.
async fn insert_or_compare(
    tx: &mut MySqlConnection,
    id: CampaignRowId,
    rows: &[&CouponIssued],
) -> Result<Vec<Inserted>, DatabaseError> {
    match insert(tx, id, rows, "").await {
        Ok(()) => return Ok(vec![Inserted::New; rows.len()]),
        Err(error) if error.is_duplicate() => {}
        Err(error) => return Err(error),
    }
    let holds = |holders: &Holders, event: &CouponIssued| {
        holders.get(&event.rank).map(|(user, n)| user == event.user_id.as_str().as_bytes() && *n == event.n)
    };
    // Some are there already: a first row stands, whatever it holds. The others are inserted; the assignment changes
    // nothing where somebody else was faster, or the user's n-th place is taken. What holds is read back under lock.
    let before = holders(tx, id, rows).await?;
    let new: Vec<&CouponIssued> = rows.iter().copied().filter(|event| !before.contains_key(&event.rank)).collect();
    let after = if new.is_empty() {
        Holders::new()
    } else {
        insert(tx, id, &new, " ON DUPLICATE KEY UPDATE issue_rank = issue_rank").await?;
        holders(tx, id, &new).await?
    };
    let mut last_stored = 0;
    let compare = |event: &&CouponIssued| match holds(&before, event).or_else(|| holds(&after, event)) {
        // The same grant twice in one batch counts once.
        Some(true) if before.contains_key(&event.rank) || last_stored == event.rank => Inserted::Duplicate,
        Some(true) => {
            last_stored = event.rank;
            Inserted::New
        }
        Some(false) | None => Inserted::Conflict,
    };
    Ok(rows.iter().map(compare).collect())
}

async fn insert(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    rows: &[&CouponIssued],
    suffix: &'static str,
) -> Result<(), DatabaseError> {
    let places = vec![PLACES; rows.len()].join(", ");
    let text = format!("INSERT INTO issued_coupon {COLUMNS} VALUES {places}{suffix}");
    let mut query = sqlx::query(AssertSqlSafe(text));
    for event in rows {
        query = query
            .bind(id.0)
            .bind(event.rank)
            .bind(event.user_id.as_str().as_bytes())
            .bind(event.n)
            .bind(event.request_key.as_str().as_bytes())
            .bind(event.epoch)
            .bind(event.occurred_at.as_millisecond());
    }
    query.execute(connection).await?;
    Ok(())
}

/// Rank -> who holds it: user id and n.
type Holders = HashMap<u64, (Vec<u8>, u32)>;

/// Who holds each of these ranks. A locking read sees what is committed now; a snapshot would not.
async fn holders(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    rows: &[&CouponIssued],
) -> Result<Holders, DatabaseError> {
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
        .map_err(DatabaseError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a winner is in no statement, or the database keeps a long statement for each length of a batch.
    #[test]
    fn each_winner_is_in_one_statement_and_long_ones_have_one_length() {
        for (rows, expected) in [
            (0, &[][..]),
            (1, &[1]),
            (500, &[500]),
            (1_300, &[512, 512, 276]),
            (2_047, &[512, 512, 512, 511]),
            (2_048, &[2_048]),
            (2_050, &[2_048, 2]),
        ] {
            let all: Vec<usize> = (0..rows).collect();
            let found: Vec<&[usize]> = pieces(&all).collect();
            assert_eq!(found.iter().map(|piece| piece.len()).collect::<Vec<_>>(), expected);
            assert_eq!(found.concat(), all, "each once, in order");
        }
    }

    #[test]
    fn a_row_has_a_place_for_each_column() {
        assert_eq!(COLUMNS.split(',').count(), PLACES.matches('?').count());
        assert!(PLACES.matches('?').count() * MAX_ROWS <= usize::from(u16::MAX), "MySQL allows no more");
    }
}
