//! `coupon-consumer winners`: writes who has won, in the order of ranks, from the rows of the database.
//!
//! ```text
//! campaign's row -> Redis (ask): what was given -> rows, page by page (output, tally) -> whole? (verdict)
//! ```
//!
//! It reads a page at a time, so that a list of millions needs no memory, and says what is missing: a list that somebody hands out prizes by
//! must not look whole if it is not. The database alone cannot tell: what Redis gave last may be no row yet, and how many were issued is
//! written there some seconds later.

pub mod args;
mod ask;
mod given;
mod output;
mod tally;
mod verdict;

use std::collections::BTreeSet;
use std::io::{self, Write};

use coupon_core::connections::Connections;
use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow, CampaignRowId, DatabaseError};
use coupon_sink::rows::within_deadline;
use sqlx::MySqlPool;

use args::Winners;
use given::Given;
use output::List;
pub use output::stdout;
use tally::{Counted, Gaps, MAX_ASKED, Tally};
pub use verdict::Verdict;

/// Rows that are read at once.
const PAGE: u32 = 2_000;

/// Why the list ends early. What was written is true, and is not all.
#[derive(Debug, thiserror::Error)]
pub enum WinnersError {
    /// There is no such campaign. Nothing was written.
    #[error(
        "the database has no campaign {0}, so that no list was written: check REALM/NAMESPACE/COUPONID; status of the CouponCampaign has \
         realm and couponId once its ledger is there"
    )]
    NoCampaign(String),
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

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Winners in the list.
    pub winners: u64,
    /// Ranks that people have given up: they stay taken, and are nobody's.
    pub given_up: u64,
    /// Whether that is all.
    pub verdict: Verdict,
}

/// Writes the winners of a campaign, lowest rank first: CSV (RFC 4180) with a head, or JSON Lines.
///
/// # Errors
/// [`WinnersError`]: the list is not whole.
pub async fn write(wanted: &Winners, connections: &Connections, out: &mut impl Write) -> Result<Written, WinnersError> {
    let campaign = connections.campaign(wanted.place.campaign.clone());
    let pool = database::connect(&connections.database, 1);
    let before = |source| WinnersError::Database { written: 0, source };
    let row = within_deadline(database::find(&pool, &campaign)).await.map_err(before)?;
    let row = row.ok_or_else(|| WinnersError::NoCampaign(campaign.to_string()))?;
    // Before the rows: what is given later may well be no row yet.
    let given = ask::given(connections, &campaign, &row).await;
    let given_up = given_up(&pool, row.id).await.map_err(before)?;
    let highest = match &given {
        Given::InRedis(found) => found.highest.max(row.issued_count),
        Given::KeysRemoved { .. } | Given::Unknown { .. } => row.issued_count,
    };
    let mut list = List::new(out, wanted.place.json)?;
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
    let counted = tally.end(highest, &given_up);
    let source = Source { connections, campaign: &campaign, pool: &pool, row: &row };
    let (winners, given_up_above) = (counted.winners, counted.given_up);
    let verdict = source.verdict(given, counted, wanted.above, given_up.len() as u64).await;
    let verdict = verdict.map_err(|source| WinnersError::Database { written, source })?;
    Ok(Written { winners, given_up: given_up_above, verdict })
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

/// Where a list comes from.
struct Source<'a> {
    connections: &'a Connections,
    campaign: &'a CampaignId,
    pool: &'a MySqlPool,
    row: &'a CampaignRow,
}

impl Source<'_> {
    /// What is to be said of the list of the ranks above `above`. `given_up`: how many ranks of the whole campaign were. A free rank is no row,
    /// and nobody's, so that it is looked for among those that are missing.
    async fn verdict(
        &self,
        given: Given,
        counted: Counted,
        above: u64,
        given_up: u64,
    ) -> Result<Verdict, DatabaseError> {
        let Counted { winners, gaps, .. } = counted;
        Ok(match &given {
            Given::KeysRemoved { .. } if gaps.count() > 0 => {
                let below = match above {
                    0 => 0,
                    above => within_deadline(database::count_between(self.pool, self.row.id, 1, above)).await?,
                };
                Verdict::of(&given, gaps, below + winners + given_up)
            }
            Given::InRedis(found) if gaps.count() > 0 && found.free() > 0 => {
                match self.held(found.epoch, &gaps).await {
                    Ok(held) => Verdict::of(&given, held, 0),
                    Err(why) => Verdict::of(&Given::Unknown { why }, gaps, 0),
                }
            }
            Given::KeysRemoved { .. } | Given::InRedis(_) | Given::Unknown { .. } => Verdict::of(&given, gaps, 0),
        })
    }

    /// Those of them that somebody holds.
    async fn held(&self, epoch: u64, gaps: &Gaps) -> Result<Gaps, String> {
        let Some(ranks) = gaps.ranks() else {
            return Err(format!("{} ranks are no rows, and it is asked about {MAX_ASKED} at most", gaps.count()));
        };
        ask::held(self.connections, self.campaign, epoch, &ranks).await.map(Gaps::of)
    }
}
