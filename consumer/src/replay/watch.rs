//! Waits until published letters are rows, or dead letters again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use campaign::table::CampaignRow;

use super::judge::{self, BATCH};
use super::letters::{self, Letter};
use super::outcome::Outcome;
use super::progress::Progress;
use super::{MAX_LETTERS, Office, ReplayError};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Turns each `Published` into what it became, at the latest after `deadline`. `ends`: where the dead-letter topic ended
/// before anything was published.
pub async fn until_rows(
    office: &Office,
    row: &CampaignRow,
    ends: &BTreeMap<i32, i64>,
    chosen: &[&Letter],
    outcomes: &mut [Outcome],
    deadline: Duration,
) -> Result<(), ReplayError> {
    let mut waiting: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i] == Outcome::Published).collect();
    let progress = Progress::of("waiting for rows", waiting.len());
    let (end, mut seen) = (Instant::now() + deadline, ends.clone());
    while !waiting.is_empty() {
        let mut open = Vec::with_capacity(waiting.len());
        for indices in waiting.chunks(BATCH) {
            let batch: Vec<&Letter> = indices.iter().map(|index| chosen[*index]).collect();
            for (index, stored) in indices.iter().zip(judge::are_rows(office, row, &batch).await?) {
                match stored {
                    true => outcomes[*index] = Outcome::Stored,
                    false => open.push(*index),
                }
            }
        }
        // Rows first: a letter that came back and was stored by a later replay is stored.
        for back in new_letters(office, &mut seen).await? {
            let Ok(event) = &back.event else { continue };
            let same = |index: &usize| chosen[*index].event.as_ref().is_ok_and(|other| other.same_grant(event));
            for index in open.extract_if(.., |index| same(index)) {
                outcomes[index] =
                    Outcome::FailedAgain { reason: back.reason.clone(), explanation: back.explanation.clone() };
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
        outcomes[index] = Outcome::NotStoredYet;
    }
    progress.done();
    Ok(())
}

/// Letters that were written since the last look.
async fn new_letters(office: &Office, seen: &mut BTreeMap<i32, i64>) -> Result<Vec<Letter>, ReplayError> {
    let most = i64::try_from(MAX_LETTERS).unwrap_or(i64::MAX);
    let mut range = BTreeMap::new();
    for (partition, (start, end)) in office.dead_topic().await?.span {
        let from = start.max(seen.get(&partition).copied().unwrap_or(0));
        range.insert(partition, (from, end.min(from.saturating_add(most))));
    }
    let part = letters::read_range(office, range, Progress::hidden()).await?;
    seen.extend(part.next);
    Ok(part.all)
}
