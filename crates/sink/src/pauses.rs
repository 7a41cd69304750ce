//! Why no more records are wanted for now. The reader pauses partitions by it, and probes show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coupon_core::identity::CampaignId;
use coupon_ledger::database::Fault;

use crate::observer::{Observer, PauseReason};

#[derive(Debug, Default)]
struct Held {
    database: Option<(Fault, String)>,
    breaker: Option<String>,
    above_total: BTreeMap<i32, String>,
    /// Dead letters of each partition that are not written yet.
    dead_letters: BTreeMap<i32, usize>,
    dead_letter_error: String,
}

/// Shared by all parts of a pipeline and its reader. Each change is logged once, however often it is reported.
#[derive(Debug)]
pub struct Pauses {
    campaign: CampaignId,
    observer: Arc<dyn Observer>,
    held: Mutex<Held>,
}

impl Pauses {
    /// Nothing is paused yet.
    pub fn new(campaign: &CampaignId, observer: Arc<dyn Observer>) -> Self {
        Self { campaign: campaign.clone(), observer, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database does not work; reading pauses.
    pub fn hold_database(&self, fault: Fault, error: String) {
        let mut held = self.held();
        if held.database.as_ref().map(|(known, _)| *known) != Some(fault) {
            tracing::error!(campaign = %self.campaign, ?fault, %error, "the database does not work; waiting for it");
        }
        held.database = Some((fault, error));
        self.observer.paused(PauseReason::Database, 1);
    }

    /// The database works.
    pub fn release_database(&self) {
        if self.held().database.take().is_some() {
            tracing::info!(campaign = %self.campaign, "the database works again");
            self.observer.paused(PauseReason::Database, 0);
        }
    }

    /// Too many rows in a row were refused; reading pauses.
    pub fn hold_breaker(&self, error: String) {
        let mut held = self.held();
        if held.breaker.is_none() {
            tracing::error!(
                campaign = %self.campaign,
                %error,
                "the database refuses row after row; nothing more is dead-lettered until it takes one"
            );
        }
        held.breaker = Some(error);
        self.observer.paused(PauseReason::Breaker, 1);
    }

    /// Whether reading is paused because of the database.
    pub fn is_database_held(&self) -> bool {
        self.held().database.is_some()
    }

    /// Reading goes on.
    pub fn release_breaker(&self, why: &str) {
        if self.held().breaker.take().is_some() {
            tracing::info!(campaign = %self.campaign, "reading on after refused rows: {why}");
            self.observer.paused(PauseReason::Breaker, 0);
        }
    }

    /// A rank is above the campaign's total, which may be about to rise; the partition pauses.
    pub fn hold_above_total(&self, (partition, offset): (i32, i64), rank: u64, total: u64) {
        let mut held = self.held();
        if !held.above_total.contains_key(&partition) {
            tracing::error!(
                campaign = %self.campaign,
                partition,
                offset,
                rank,
                total,
                "a rank is above the campaign's total; waiting for the operator to put the total right before it is a dead letter"
            );
        }
        let text = format!(
            "the record at partition {partition}, offset {offset} has rank {rank} above the campaign's total of {total}, which may be from \
             before a raise: it is waited for, and becomes a dead letter if the total stays"
        );
        held.above_total.insert(partition, text);
        self.observer.paused(PauseReason::AboveTotal, held.above_total.len());
    }

    /// Ranks above the total are waited for in these partitions only.
    pub fn retain_above_total(&self, partitions: &BTreeSet<i32>) {
        let mut held = self.held();
        let before = held.above_total.len();
        held.above_total.retain(|partition, _| partitions.contains(partition));
        if held.above_total.len() < before {
            tracing::info!(campaign = %self.campaign, ?partitions, "ranks above the total are waited for in these partitions only");
            self.observer.paused(PauseReason::AboveTotal, held.above_total.len());
        }
    }

    /// A dead letter of this partition cannot be written; the partition pauses. Balanced by [`Pauses::release_partition`].
    pub fn hold_partition(&self, partition: i32, error: String) {
        let mut held = self.held();
        let count = held.dead_letters.entry(partition).or_default();
        *count += 1;
        if *count == 1 {
            tracing::error!(campaign = %self.campaign, partition, %error, "the dead letter topic cannot be written; retrying");
        }
        held.dead_letter_error = error;
        self.observer.paused(PauseReason::DeadLetterTopic, held.dead_letters.len());
    }

    /// The dead letter is written, or not wanted any more.
    pub fn release_partition(&self, partition: i32) {
        let mut held = self.held();
        if let Some(count) = held.dead_letters.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                held.dead_letters.remove(&partition);
                tracing::info!(campaign = %self.campaign, partition, "no dead letter holds this partition any more");
            }
        }
        self.observer.paused(PauseReason::DeadLetterTopic, held.dead_letters.len());
    }

    /// Whether this partition should be paused now.
    pub fn should_pause(&self, partition: i32) -> bool {
        let held = self.held();
        held.database.is_some()
            || held.breaker.is_some()
            || held.above_total.contains_key(&partition)
            || held.dead_letters.contains_key(&partition)
    }

    /// What is wrong with the database; `None` while it works.
    pub fn database_trouble(&self) -> Option<String> {
        self.held().database.as_ref().map(|(fault, error)| format!("{fault}: {error}"))
    }

    /// Each reason for which something is paused, with a sentence.
    pub fn causes(&self) -> Vec<(PauseReason, String)> {
        let mut all = Vec::new();
        all.extend(self.database_trouble().map(|text| (PauseReason::Database, text)));
        let held = self.held();
        if let Some(error) = &held.breaker {
            all.push((PauseReason::Breaker, format!("the database refuses row after row: {error}")));
        }
        all.extend(held.above_total.values().next().map(|text| (PauseReason::AboveTotal, text.clone())));
        if !held.dead_letters.is_empty() {
            let partitions: Vec<_> = held.dead_letters.keys().collect();
            let error = &held.dead_letter_error;
            let text = format!("dead letters of partitions {partitions:?} cannot be written: {error}");
            all.push((PauseReason::DeadLetterTopic, text));
        }
        all
    }

    /// Why something is paused, if it is, in one sentence.
    pub fn trouble(&self) -> Option<String> {
        let all: Vec<String> = self.causes().into_iter().map(|(_, text)| text).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Observer for Nobody {}

    fn pauses() -> Pauses {
        Pauses::new(&CampaignId::with_default_names("r", "n", "c").unwrap(), Arc::new(Nobody))
    }

    #[test]
    fn a_dead_letter_that_cannot_be_written_stops_its_partition_only() {
        let pauses = pauses();
        pauses.hold_partition(1, "timeout".into());
        pauses.hold_partition(1, "timeout".into());
        assert!(pauses.should_pause(1) && !pauses.should_pause(0));
        pauses.release_partition(1);
        assert!(pauses.should_pause(1), "one more is not written");
        pauses.release_partition(1);
        assert!(!pauses.should_pause(1));
    }

    #[test]
    fn a_rank_above_the_total_stops_its_partition_only_and_is_named() {
        let pauses = pauses();
        pauses.hold_above_total((1, 70), 900, 500);
        assert!(pauses.should_pause(1) && !pauses.should_pause(0));
        let said = pauses.trouble().unwrap();
        assert!(said.contains("partition 1, offset 70 has rank 900 above the campaign's total of 500"), "{said}");
        pauses.retain_above_total(&BTreeSet::from([1]));
        assert!(pauses.should_pause(1));
        pauses.retain_above_total(&BTreeSet::new());
        assert!(!pauses.should_pause(1) && pauses.trouble().is_none());
    }
}
