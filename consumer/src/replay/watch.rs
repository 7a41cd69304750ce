//! Waits until published letters are rows, or dead letters again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use coupon_ledger::database::CampaignRow;

use super::dead_letters::{self, DeadLetter};
use super::decider::{self, BATCH};
use super::outcome::ReplayOutcome;
use super::progress::Progress;
use super::{MAX_LETTERS, ReplayError, ReplayService};

/// Time between two checks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Turns each `Published` into what it became, at the latest after `deadline`. `ends`: where the dead-letter topic ended
/// before anything was published.
pub(super) async fn until_rows(
    service: &ReplayService,
    row: &CampaignRow,
    ends: &BTreeMap<i32, i64>,
    chosen: &[&DeadLetter],
    outcomes: &mut [ReplayOutcome],
    deadline: Duration,
) -> Result<(), ReplayError> {
    let mut waiting: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i] == ReplayOutcome::Published).collect();
    let progress = Progress::of("waiting for rows", waiting.len());
    let (end, mut seen) = (Instant::now() + deadline, ends.clone());
    while !waiting.is_empty() {
        let mut open = Vec::with_capacity(waiting.len());
        for indices in waiting.chunks(BATCH) {
            let batch: Vec<&DeadLetter> = indices.iter().map(|index| chosen[*index]).collect();
            for (index, stored) in indices.iter().zip(decider::are_rows(service, row, &batch).await?) {
                match stored {
                    true => outcomes[*index] = ReplayOutcome::Stored,
                    false => open.push(*index),
                }
            }
        }
        // Rows first: a letter that came back and was stored by a later replay is stored.
        for back in new_letters(service, &mut seen).await? {
            let Ok(event) = &back.event else { continue };
            let same = |index: &usize| chosen[*index].event.as_ref().is_ok_and(|other| other.same_grant(event));
            for index in open.extract_if(.., |index| same(index)) {
                outcomes[index] =
                    ReplayOutcome::FailedAgain { reason: back.reason.clone(), explanation: back.explanation.clone() };
            }
        }
        progress.advance(waiting.len() - open.len());
        waiting = open;
        if Instant::now() >= end {
            break;
        }
        if !waiting.is_empty() {
            tokio::time::sleep_until(end.min(Instant::now() + INTERVAL)).await;
        }
    }
    for index in waiting {
        outcomes[index] = ReplayOutcome::NotStoredYet;
    }
    progress.done();
    Ok(())
}

/// Letters that were written since the last check.
async fn new_letters(service: &ReplayService, seen: &mut BTreeMap<i32, i64>) -> Result<Vec<DeadLetter>, ReplayError> {
    let most = i64::try_from(MAX_LETTERS).unwrap_or(i64::MAX);
    let mut range = BTreeMap::new();
    for (partition, (start, end)) in service.dead_topic().await?.span {
        let from = start.max(seen.get(&partition).copied().unwrap_or(0));
        range.insert(partition, (from, end.min(from.saturating_add(most))));
    }
    let part = dead_letters::read_range(service, range, Progress::hidden()).await?;
    seen.extend(part.next);
    Ok(part.all)
}
