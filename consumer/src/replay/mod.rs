//! Dead letters, looked at and replayed by people: `coupon-consumer dead-letters list|replay`.
//!
//! ```text
//! dead_letters (read) -> decider (rows, Redis) -> decide (pure) -> publish -> watch until they are rows -> settle, trim (if asked)
//! ```
//!
//! A letter is replayed only if the present Redis holds its grant: same rank, same user, same n. It goes to the campaign's
//! own topic, stamped with the epoch that the same script call found in force, and from there takes the way of every
//! winner. So no replay can make a row that the ledger does not want: a newer epoch makes the record void, a row that
//! stands in the way makes it a dead letter again, and a second replay finds the row and does nothing.

pub mod args;
pub(crate) mod dead_letters;
mod decide;
mod decider;
mod error;
mod origin;
mod outcome;
pub(crate) mod progress;
mod publish;
mod report;
mod service;
mod settle;
mod trim;
mod watch;

#[cfg(test)]
mod decoders;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use coupon_core::connections::Connections;
use coupon_core::identity::Identity;
use coupon_core::position::Position;
use coupon_kafka_admin::{AdminError, KafkaAdmin, Operation};
use coupon_ledger::database::{self, CampaignRow, DatabaseError};
use coupon_ledger::kafka::client_config;
use coupon_sink::rows::within_deadline;

pub use self::error::ReplayError;
pub use self::service::ReplayService;
pub(crate) use self::service::{CLIENT_ID, DeadTopic, MAX_LETTERS};
use crate::rights::Missing;
use args::{Choice, Replay};
use dead_letters::{DeadLetter, FoundDeadLetters};
use decider::Decider;
use outcome::ReplayOutcome;
use progress::Progress;
use publish::Publisher;
use trim::{Kept, TrimPlan, Trimmed};

/// Connections to the database.
const DATABASE_CONNECTIONS: u32 = 2;
/// How long one administrative request may take.
const ADMIN_DEADLINE: Duration = Duration::from_secs(30);

impl ReplayService {
    /// Connects when first needed.
    ///
    /// # Errors
    /// [`ReplayError::Kafka`] for settings that librdkafka refuses.
    pub fn new(campaign: Identity, connections: Connections) -> Result<Self, ReplayError> {
        let campaign = connections.campaign(campaign);
        let admin = KafkaAdmin::new(&client_config(&connections.kafka, CLIENT_ID, &[]))?.within(ADMIN_DEADLINE);
        let pool = database::connect(&connections.database, DATABASE_CONNECTIONS);
        Ok(Self { campaign, connections, admin, pool })
    }

    /// Writes what is in the dead-letter topic, as a table or JSON. Asks neither Redis nor the database.
    ///
    /// # Errors
    /// [`ReplayError`] when the topic cannot be read.
    pub async fn list(&self, choice: &Choice, json: bool, out: &mut impl Write) -> Result<(), ReplayError> {
        let progress = Progress::new("reading dead letters");
        let letters = dead_letters::read(self, &[], &progress).await?;
        progress.done();
        let chosen: Vec<&DeadLetter> = letters.all.iter().filter(|letter| choice.matches(letter)).collect();
        report::list(&self.campaign, &chosen, letters.left, json, out)?;
        Ok(())
    }

    /// Replays the chosen letters and writes what became of each. False when one of them is no row in the end, or when nothing was
    /// done, as a right is missing.
    ///
    /// # Errors
    /// [`ReplayError`] when a system fails.
    pub async fn replay(&self, wanted: &Replay, out: &mut impl Write) -> Result<bool, ReplayError> {
        let missing = self.missing_rights(wanted).await?;
        if !missing.is_empty() {
            report::refuse(&self.campaign, &missing, wanted, out)?;
            return Ok(false);
        }
        let row = within_deadline(database::find(&self.pool, &self.campaign)).await?;
        let row = row.ok_or_else(|| DatabaseError::NoCampaign(self.campaign.to_string()))?;
        let reading = Progress::new("reading dead letters");
        let mut letters = dead_letters::read(self, &wanted.discard, &reading).await?;
        reading.done();
        self.rename_forgotten(&row, &mut letters).await?;
        let chosen = |letter: &&DeadLetter| wanted.choice.matches(letter) || wanted.discards(letter);
        let older = letters.all.iter().filter(chosen);
        // Others were read only to be discarded.
        let chosen: Vec<&DeadLetter> = older.chain(&letters.named).collect();
        let mut outcomes = self.decide_and_publish(&row, &letters.topic_id, &chosen, wanted).await?;
        if !wanted.dry_run && wanted.wait_seconds > 0 {
            let deadline = Duration::from_secs(wanted.wait_seconds);
            watch::until_rows(self, &row, &letters.ends, &chosen, &mut outcomes, deadline).await?;
        }
        let context = settle::DiscardContext { service: self, row: &row, topic_id: &letters.topic_id };
        settle::settle(&context, &chosen, &mut outcomes, wanted.dry_run).await?;
        let results: Vec<(&DeadLetter, &ReplayOutcome)> = chosen.iter().copied().zip(&outcomes).collect();
        let (trimmed, kept) = match wanted.trim && !wanted.dry_run {
            true => self.trim(&row, &letters).await?,
            false => (Trimmed::NotAsked, Vec::new()),
        };
        let is_unknown = |at: &&Position| letters.iter().all(|letter| letter.position != **at);
        let unknown: Vec<Position> = wanted.discard.iter().filter(is_unknown).copied().collect();
        let end = report::End { left: letters.left, trimmed, kept: explained(kept, &letters, &results), unknown };
        report::replay(&self.campaign, &results, &end, wanted, out)?;
        Ok(outcomes.iter().all(ReplayOutcome::is_well) && !matches!(end.trimmed, Trimmed::Failed { .. }))
    }

    /// What is needed only when letters are published already, or rows waited for. What Redis is asked is asked before that.
    async fn missing_rights(&self, wanted: &Replay) -> Result<BTreeSet<Missing>, ReplayError> {
        let mut missing = BTreeSet::new();
        if !wanted.discard.is_empty() {
            missing.extend(self.lacks_in_database(database::probe::Role::Discard).await?);
        }
        missing.extend(self.lacks_on_topic(&self.campaign.topic(), &[Operation::Write]).await?);
        if wanted.trim {
            missing.extend(self.lacks_on_topic(&self.campaign.dead_letter_topic(), &[Operation::Delete]).await?);
        }
        Ok(missing)
    }

    /// A letter that still names who was forgotten is meant, and replayed, under the pseudonym.
    async fn rename_forgotten(&self, row: &CampaignRow, letters: &mut FoundDeadLetters) -> Result<(), ReplayError> {
        let ranks = letters.iter().filter_map(|letter| Some(letter.event.as_ref().ok()?.rank));
        let pseudonyms = within_deadline(database::pseudonyms(&self.pool, row.id, ranks)).await?;
        let all = letters.all.iter_mut().chain(&mut letters.named);
        all.filter_map(|letter| letter.event.as_mut().ok()).for_each(|event| pseudonyms.rename(event));
        Ok(())
    }

    async fn decide_and_publish(
        &self,
        row: &CampaignRow,
        dead_topic: &str,
        chosen: &[&DeadLetter],
        wanted: &Replay,
    ) -> Result<Vec<ReplayOutcome>, ReplayError> {
        let mut decider = Decider::new(self, row, dead_topic).await?;
        let mut publisher: Option<Publisher> = None;
        let mut outcomes = Vec::with_capacity(chosen.len());
        let progress = Progress::of("replaying", chosen.len());
        // One batch at a time: what Redis says of it is published at once, or not at all.
        for batch in chosen.chunks(decider::BATCH) {
            let verdicts = decider.verdicts(batch).await?;
            let decided: Vec<ReplayOutcome> = batch
                .iter()
                .zip(verdicts)
                .map(|(letter, verdict)| match wanted.discards(letter) {
                    true => ReplayOutcome::of_discarded(verdict),
                    false => ReplayOutcome::Decided(verdict),
                })
                .collect();
            if !wanted.dry_run && publisher.is_none() && decided.iter().any(ReplayOutcome::is_replayable) {
                publisher =
                    Some(Publisher::new(&self.connections.kafka, &self.campaign).map_err(ReplayError::Producer)?);
            }
            match &publisher {
                Some(publisher) => outcomes.extend(publisher.publish(batch, decided).await),
                None => outcomes.extend(decided),
            }
            progress.advance(batch.len());
        }
        progress.done();
        Ok(outcomes)
    }

    /// Removes the letters at the head of each partition that are rows by now, or given up, and tells which have to stay. That Kafka refuses
    /// is no error: what was done before is to be told.
    async fn trim(&self, row: &CampaignRow, letters: &FoundDeadLetters) -> Result<(Trimmed, Vec<Kept>), ReplayError> {
        let places = within_deadline(database::discarded_records(&self.pool, row.id, &letters.topic_id)).await?;
        let mut settled = Vec::with_capacity(letters.all.len());
        for batch in letters.all.chunks(decider::BATCH) {
            let batch: Vec<&DeadLetter> = batch.iter().collect();
            let stored = decider::are_rows(self, row, &batch).await?;
            let discarded = decider::are_discarded(self, row, &batch, &places).await?;
            settled.extend(stored.into_iter().zip(discarded).map(|(stored, discarded)| stored || discarded));
        }
        let TrimPlan { before, kept } =
            TrimPlan::of(letters.all.iter().zip(settled).map(|(letter, settled)| (letter.position, settled)));
        if before.is_empty() {
            return Ok((Trimmed::Removed(0), kept));
        }
        Ok((self.remove(letters, &before).await, kept))
    }

    async fn remove(&self, letters: &FoundDeadLetters, before: &BTreeMap<i32, i64>) -> Trimmed {
        let topic = self.campaign.dead_letter_topic();
        let answers = match self.admin.delete_records(&topic, before).await {
            Ok(answers) => answers,
            Err(error) => return Trimmed::failed(0, &topic, &error),
        };
        let gone = |letter: &&DeadLetter| {
            let Position { partition, offset } = letter.position;
            let removed = answers.iter().any(|(id, answer)| *id == partition && answer.is_ok());
            removed && before.get(&partition).is_some_and(|end| offset < *end)
        };
        let removed = letters.all.iter().filter(gone).count() as u64;
        match answers.values().find_map(|answer| answer.as_ref().err()) {
            None => Trimmed::Removed(removed),
            Some(error) => Trimmed::failed(removed, &topic, error),
        }
    }

    /// The dead-letter topic as it is now.
    pub(crate) async fn dead_topic(&self) -> Result<DeadTopic, ReplayError> {
        use coupon_kafka_admin::TopicState;
        let topic = self.campaign.dead_letter_topic();
        let mut found = self.admin.describe_topics(&[&topic]).await?;
        let TopicState::Present(described) = found.remove(&topic).unwrap_or(Ok(TopicState::Absent))? else {
            return Err(AdminError::UnknownTopic { topic }.into());
        };
        let partitions: Vec<_> = described.partitions.iter().map(|partition| (topic.as_str(), partition.id)).collect();
        let (starts, ends) =
            tokio::try_join!(self.admin.start_offsets(&partitions), self.admin.end_offsets(&partitions))?;
        let mut span = BTreeMap::new();
        for ((start, end), (_, partition)) in starts.into_values().zip(ends.into_values()).zip(&partitions) {
            span.insert(*partition, (start?, end?));
        }
        Ok(DeadTopic { id: described.topic_id, span })
    }
}

/// Each with why what it lies behind is not dealt with.
fn explained(
    kept: Vec<Kept>,
    letters: &FoundDeadLetters,
    results: &[(&DeadLetter, &ReplayOutcome)],
) -> Vec<(Kept, String)> {
    let outcome = |at: Position| results.iter().find(|(letter, _)| letter.position == at).map(|(_, end)| end.name());
    let reason = |at: Position| letters.iter().find(|letter| letter.position == at).map(|each| each.reason.as_str());
    let why = |at: Position| outcome(at).or_else(|| reason(at)).unwrap_or_default().to_owned();
    kept.into_iter().map(|kept| (kept, why(kept.behind))).collect()
}
