//! `coupon-consumer winners`: writes who has won, in the order of ranks, from the rows of the database.
//!
//! It reads a page at a time, so that a list of millions needs no memory, and says what is missing: a list that somebody hands out prizes by
//! must not look whole if it is not.

pub mod args;
mod tally;

use std::collections::BTreeSet;
use std::io::{self, Write};

use coupon_core::connections::Connections;
use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId, DatabaseError};
use coupon_sink::rows::within_deadline;
use serde_json::json;
use sqlx::MySqlPool;

use args::Winners;
use tally::Tally;
pub use tally::Written;

/// Rows that are read at once.
const PAGE: u32 = 2_000;

/// Why the list ends early. What was written is true, and is not all.
#[derive(Debug, thiserror::Error)]
pub enum WinnersError {
    /// The database failed.
    #[error("after {written} winners: {source}")]
    Database {
        /// Winners that were written before.
        written: u64,
        /// What failed.
        source: DatabaseError,
    },
    /// The list cannot be written.
    #[error("writing the list: {0}")]
    Output(#[from] io::Error),
}

/// Writes the winners of a campaign, lowest rank first: CSV (RFC 4180) with a head, or JSON Lines.
///
/// # Errors
/// [`WinnersError`]: the list is not whole.
pub async fn write(wanted: &Winners, connections: &Connections, out: &mut impl Write) -> Result<Written, WinnersError> {
    let campaign = connections.campaign(wanted.place.campaign.clone());
    let pool = database::connect(&connections.database, 1);
    let mut list = List::new(out, wanted.place.json)?;
    let before = |source| WinnersError::Database { written: 0, source };
    // Before the rows: what is issued later may well be no row yet.
    let row = within_deadline(database::find(&pool, &campaign)).await.map_err(before)?;
    let row = row.ok_or_else(|| before(DatabaseError::NoCampaign(campaign.to_string())))?;
    let given_up = given_up(&pool, row.id).await.map_err(before)?;
    let mut tally = Tally::above(wanted.above);
    let (mut above, mut written) = (wanted.above, 0);
    loop {
        let page = page(&pool, &campaign, row.id, above).await;
        let page = page.map_err(|source| WinnersError::Database { written, source })?;
        let Some(last) = page.last() else { break };
        above = last.rank;
        for winner in &page {
            list.add(winner)?;
            tally.add(winner.rank, &given_up);
        }
        written += page.len() as u64;
    }
    list.end()?;
    Ok(tally.end(row.issued_count, &given_up))
}

async fn page(
    pool: &MySqlPool,
    campaign: &CampaignId,
    id: CampaignRowId,
    above: u64,
) -> Result<Vec<CouponIssued>, DatabaseError> {
    within_deadline(database::read_rows(pool, campaign, id, above, PAGE)).await
}

/// Ranks that people have given up. They are few: each took a person.
async fn given_up(pool: &MySqlPool, id: CampaignRowId) -> Result<BTreeSet<u64>, DatabaseError> {
    let mut all = BTreeSet::new();
    loop {
        let above = all.last().copied().unwrap_or_default();
        let page = within_deadline(database::discarded_ranks(pool, id, above, PAGE)).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The list while it is written.
enum List<'a, W: Write> {
    Csv(Box<csv::Writer<&'a mut W>>),
    JsonLines(&'a mut W),
}

impl<'a, W: Write> List<'a, W> {
    fn new(out: &'a mut W, json: bool) -> io::Result<Self> {
        if json {
            return Ok(Self::JsonLines(out));
        }
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["rank", "userId", "n", "issuedAt"])?;
        Ok(Self::Csv(Box::new(csv)))
    }

    fn add(&mut self, winner: &CouponIssued) -> io::Result<()> {
        let CouponIssued { rank, user_id, n, occurred_at, .. } = winner;
        match self {
            Self::Csv(csv) => {
                csv.write_record([&rank.to_string(), user_id.as_str(), &n.to_string(), &occurred_at.to_string()])?;
            }
            Self::JsonLines(out) => {
                let line =
                    json!({ "rank": rank, "userId": user_id.as_str(), "n": n, "issuedAt": occurred_at.to_string() });
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut csv) => csv.flush(),
            Self::JsonLines(out) => out.flush(),
        }
    }
}
