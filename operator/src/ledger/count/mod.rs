//! How many rows a campaign has: counted, never derived from what was known before.
//!
//! [`pages`] says what is counted when; here it is counted.

pub mod pages;

use std::time::{Duration, Instant};

use coupon_ledger::database::{self, CampaignRow, DatabaseError, Highest, ServerQuestion};
use sqlx::mysql::MySqlPool;

pub use pages::Effort;
use pages::{Pages, ranks};

/// How long one pass may count; what it has counted stays known.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a question that reads a row may take.
pub(crate) const QUESTION: Duration = Duration::from_secs(10);
/// For so long a pass counts pages that need not be counted now.
const LEISURE: Duration = Duration::from_millis(200);
/// While a gap is seen, all pages that can grow are counted this often.
const GROWING_EVERY: Duration = Duration::from_secs(10);

/// What is remembered of a campaign's rows.
#[derive(Debug, Clone, Default)]
pub struct LedgerCount {
    /// The counts.
    pub pages: Pages,
    question: ServerQuestion,
    /// Highest rank of a row above those that are counted.
    foreign: Option<u64>,
    /// Highest rank that can be a winner's. Pages are larger than most campaigns: what lies above it in the last one is not counted.
    most: u64,
    /// When counting began; the zero of the times in `pages`.
    began: Option<Instant>,
    /// When all growing pages were last counted because a gap was seen.
    looked_closely: Option<Instant>,
}

impl LedgerCount {
    fn now_ms(&mut self) -> i64 {
        let began = *self.began.get_or_insert_with(Instant::now);
        i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Counts what is due. What is in `pages` afterwards was found in this database. Rows above rank `most` are no winners', however many
    /// winners have none; and whoever writes a rank of many digits does not have as many pages counted.
    ///
    /// # Errors
    /// The database failed, or took longer than a minute; the next call goes on from what was counted.
    pub async fn refresh(&mut self, sql: &MySqlPool, row: &CampaignRow, most: u64) -> Result<(), DatabaseError> {
        let asking = database::highest_rank(sql, row.id, &mut self.question);
        let Highest { rank: found, server } = database::within(QUESTION, asking).await?;
        self.most = most;
        self.foreign = Some(found).filter(|found| *found > most);
        let rank = match self.foreign {
            None => found,
            Some(_) => database::within(QUESTION, database::highest_rank_up_to(sql, row.id, most)).await?,
        };
        let now_ms = self.now_ms();
        if let Some(why) = self.pages.begin(row, &server, rank, now_ms) {
            tracing::info!(row = row.id.0, ?why, server, "rows are counted anew");
        }
        self.count(sql, row, Effort::Usual).await
    }

    /// Counts, within the pass that [`Self::refresh`] began, what this effort demands.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn count(&mut self, sql: &MySqlPool, row: &CampaignRow, effort: Effort) -> Result<(), DatabaseError> {
        let begun = Instant::now();
        while let Some(page) = self.pages.next(effort, begun.elapsed() < LEISURE) {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(DatabaseError::Timeout(DEADLINE.as_secs()));
            }
            let (from, up_to) = ranks(page);
            let counting = database::count_between(sql, row.id, from, up_to.min(self.most));
            let rows = database::within(left, counting).await?;
            let now_ms = self.now_ms();
            if self.pages.record(page, rows, now_ms) {
                tracing::warn!(row = row.id.0, from, up_to, rows, "the database has lost rows; all are counted anew");
            }
        }
        Ok(())
    }

    /// Whether a gap that was seen with these counts deserves a closer look, which is then taken as begun.
    pub fn wants_closer_look(&mut self) -> bool {
        let recent = self.looked_closely.is_some_and(|at| at.elapsed() < GROWING_EVERY);
        if recent || self.pages.growing_are_counted() {
            return false;
        }
        self.looked_closely = Some(Instant::now());
        true
    }

    /// Highest rank of a row above those that are counted.
    pub fn foreign(&self) -> Option<u64> {
        self.foreign
    }

    /// How long ago the oldest count was made, in milliseconds.
    pub fn age_ms(&mut self) -> i64 {
        let now_ms = self.now_ms();
        self.pages.age_ms(now_ms)
    }
}
