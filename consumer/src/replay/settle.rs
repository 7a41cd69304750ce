//! Settles what people have given up: a grant that Redis holds and no row can come of keeps its rank for good, so that nobody
//! publishes it again when its letter is gone.

use std::time::Duration;

use campaign::stock::{self, Grants, MAX_BATCH, StockKeys};
use campaign::table::{self, CampaignRow};

use super::decide::Verdict;
use super::judge;
use super::letters::Letter;
use super::outcome::Outcome;
use super::{Office, ReplayError};
use crate::ledger::in_time;

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Records the grants of discarded letters whose rank is nobody else's. Only another coupon in the user's place leaves such a
/// rank: in every other case Redis does not hold the grant, or the rank is a row.
pub async fn settle(
    office: &Office,
    row: &CampaignRow,
    chosen: &[&Letter],
    outcomes: &[Outcome],
) -> Result<(), ReplayError> {
    let open: Vec<(&Letter, &Verdict)> = chosen
        .iter()
        .zip(outcomes)
        .filter_map(|(letter, outcome)| match outcome {
            Outcome::Discarded(verdict @ Verdict::Conflict { .. }) => Some((*letter, verdict)),
            _ => None,
        })
        .collect();
    for batch in open.chunks(MAX_BATCH) {
        let letters: Vec<&Letter> = batch.iter().map(|(letter, _)| *letter).collect();
        let holders = holders(office, &letters).await?;
        let rows = judge::rows(office, row, &letters).await?;
        for ((letter, verdict), holder) in batch.iter().zip(holders) {
            let Ok(grant) = &letter.event else { continue };
            let is_row = rows.iter().any(|row| row.rank == grant.rank);
            if grant.rank <= row.total && !is_row && holder.keeps(grant.user_id.as_str()) {
                in_time(table::discard(&office.pool, row.id, grant, &verdict.to_string())).await?;
            }
        }
    }
    Ok(())
}

/// Who holds a rank in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// Redis does not serve the campaign now, so it cannot be asked.
    Unknown,
    /// This user, or nobody.
    Known(Option<String>),
}

impl Holder {
    /// Whether the rank is to be kept for this user. Where Redis cannot be asked it is: a rank that is somebody else's by now
    /// becomes a row all the same when its record comes.
    fn keeps(&self, user: &str) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(holder) => holder.as_deref() == Some(user),
        }
    }
}

async fn holders(office: &Office, letters: &[&Letter]) -> Result<Vec<Holder>, ReplayError> {
    let ranks: Vec<u64> = letters.iter().filter_map(|letter| Some(letter.event.as_ref().ok()?.rank)).collect();
    let mut redis = stock::connect::connect(&office.connections.redis, REDIS_TIMEOUT).await?;
    Ok(match stock::grants(&mut redis, &StockKeys::of(&office.campaign), &ranks).await? {
        Grants::Refused(_) => vec![Holder::Unknown; ranks.len()],
        Grants::Found { held, .. } => {
            held.into_iter().map(|held| Holder::Known(held.map(|held| held.user.to_string()))).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a rank that Redis gave to somebody else, or may give out, is taken away for good.
    #[test]
    fn only_a_rank_that_its_user_still_holds_is_kept() {
        let known = |user: Option<&str>| Holder::Known(user.map(str::to_owned));
        for (holder, expected) in
            [(known(Some("anna")), true), (known(Some("bob")), false), (known(None), false), (Holder::Unknown, true)]
        {
            assert_eq!(holder.keeps("anna"), expected, "{holder:?}");
        }
    }
}
