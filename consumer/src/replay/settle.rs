//! Settles what people have given up. A grant that Redis holds and no row can come of keeps its rank for good, so that nobody publishes it
//! again when its letter is gone. A letter counts for nothing any more where it lies, as it may have to lie there for long; and one that
//! nobody here can read takes its record in the campaign's topic with it, which would stop the next reader of that topic.

use std::time::Duration;

use coupon_core::position::RecordPlace;
use coupon_ledger::database::{self, CampaignRow};
use coupon_ledger::redis::{self, Grants, MAX_BATCH, RedisKeys, Refusal};
use coupon_sink::rows::within_deadline;

use super::dead_letters::DeadLetter;
use super::decide::{Verdict, not_serving};
use super::outcome::ReplayOutcome;
use super::{ReplayError, ReplayService, decider, origin};

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// What is settled where.
pub(super) struct DiscardContext<'a> {
    /// The systems.
    pub service: &'a ReplayService,
    /// The campaign.
    pub row: &'a CampaignRow,
    /// Id of the dead-letter topic.
    pub topic_id: &'a str,
}

/// Settles discarded letters, or, if nothing may be written, says what would be. A letter whose rank might be taken from everybody for
/// nobody, as Redis does not say who holds it, is not discarded.
pub(super) async fn settle(
    context: &DiscardContext<'_>,
    chosen: &[&DeadLetter],
    outcomes: &mut [ReplayOutcome],
    dry_run: bool,
) -> Result<(), ReplayError> {
    let DiscardContext { service, row, .. } = context;
    let keeping = ranks_to_keep(context, chosen, outcomes).await?;
    if dry_run {
        return Ok(());
    }
    for index in keeping {
        if let (ReplayOutcome::Discarded(Verdict::Conflict { rank, .. }), Ok(grant)) =
            (&outcomes[index], &chosen[index].event)
        {
            // Without a name: it stays when the user is forgotten.
            let why = format!("the user's place is rank {rank}, which is stored and stands");
            within_deadline(database::discard(&service.pool, row.id, grant, &why)).await?;
        }
    }
    // Ranks first, or one would be neither a letter's nor settled for a moment.
    for (letter, outcome) in chosen.iter().zip(outcomes.iter()) {
        let ReplayOutcome::Discarded(verdict) = outcome else { continue };
        let letters = RecordPlace { topic_id: context.topic_id.to_owned(), at: letter.position };
        let records = match verdict {
            Verdict::Newer(_) => origin::find(service, letter).await?,
            _ => None,
        };
        for lies in records.into_iter().chain([letters]) {
            within_deadline(database::discard_record(&service.pool, row.id, &lies, verdict.name())).await?;
        }
    }
    Ok(())
}

/// Which of the discarded letters have grants whose rank is to be kept. Only another coupon in the user's place leaves such a rank: in
/// every other case Redis does not hold the grant, or the rank is a row. What cannot be told becomes [`ReplayOutcome::NotDiscarded`].
async fn ranks_to_keep(
    DiscardContext { service, row, .. }: &DiscardContext<'_>,
    chosen: &[&DeadLetter],
    outcomes: &mut [ReplayOutcome],
) -> Result<Vec<usize>, ReplayError> {
    let is_open = |index: &usize| matches!(&outcomes[*index], ReplayOutcome::Discarded(Verdict::Conflict { .. }));
    let open: Vec<usize> = (0..chosen.len()).filter(is_open).collect();
    let mut keeping = Vec::new();
    for batch in open.chunks(MAX_BATCH) {
        let letters: Vec<&DeadLetter> = batch.iter().map(|index| chosen[*index]).collect();
        let rows = decider::rows(service, row, &letters).await?;
        let holders = holders(service, row, &letters).await?;
        for ((index, letter), holder) in batch.iter().zip(&letters).zip(holders) {
            let Ok(grant) = &letter.event else { continue };
            if grant.rank > row.total || rows.iter().any(|row| row.rank == grant.rank) {
                continue;
            }
            match holder.rank_of(grant.user_id.as_str()) {
                Rank::Kept => keeping.push(*index),
                Rank::NotTheirs => {}
                Rank::Unknown(why) => outcomes[*index] = ReplayOutcome::NotDiscarded(Verdict::NotServing(why)),
            }
        }
    }
    Ok(keeping)
}

/// Who holds a rank in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    /// Redis does not serve the campaign now, so it cannot be asked.
    Unknown(&'static str),
    /// This user, or nobody.
    Known(Option<String>),
}

/// What becomes of the rank of a grant that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rank {
    /// It is kept: somebody may have been told it.
    Kept,
    /// It is another's, or nobody's, and will be given.
    NotTheirs,
    /// Kept, it might be taken from everybody though nobody was granted it; not kept, it might be given to two people.
    Unknown(&'static str),
}

impl Holder {
    fn rank_of(&self, user: &str) -> Rank {
        match self {
            Self::Unknown(why) => Rank::Unknown(why),
            Self::Known(Some(holder)) if holder == user => Rank::Kept,
            Self::Known(_) => Rank::NotTheirs,
        }
    }

    /// Of every rank, where Redis says nothing. When keys were removed on purpose each winner in them was a row, or given up for good: a rank
    /// that is neither was nobody's.
    fn of_refusal(refusal: Refusal, keys_removed: bool) -> Self {
        match refusal {
            Refusal::Closed if keys_removed => Self::Known(None),
            refusal => Self::Unknown(not_serving(refusal)),
        }
    }
}

async fn holders(
    service: &ReplayService,
    row: &CampaignRow,
    letters: &[&DeadLetter],
) -> Result<Vec<Holder>, ReplayError> {
    let ranks: Vec<u64> = letters.iter().filter_map(|letter| Some(letter.event.as_ref().ok()?.rank)).collect();
    let mut redis = redis::connect::connect(&service.connections.redis, REDIS_TIMEOUT).await?;
    Ok(match redis::grants(&mut redis, &RedisKeys::of(&service.campaign), &ranks).await? {
        Grants::Refused(refusal) => {
            vec![Holder::of_refusal(refusal, row.keys_removed_ms.is_some()); ranks.len()]
        }
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
        let closed = Rank::Unknown("it is closed");
        for (holder, expected) in [
            (known(Some("anna")), Rank::Kept),
            (known(Some("bob")), Rank::NotTheirs),
            (known(None), Rank::NotTheirs),
            (Holder::of_refusal(Refusal::Closed, false), closed),
            (Holder::of_refusal(Refusal::Closed, true), Rank::NotTheirs),
            (Holder::of_refusal(Refusal::HistoryChanged, true), Rank::Unknown("its history changed")),
        ] {
            assert_eq!(holder.rank_of("anna"), expected, "{holder:?}");
        }
    }
}
