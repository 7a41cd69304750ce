//! Writes the records of winners that were stored past Kafka, once it takes them again: the topic then holds every winner.
//!
//! To write one twice is harmless: consumers find its row.

use std::time::{Duration, Instant};

use coupon_core::contract::KeyBy;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow};
use coupon_ledger::kafka::producer::WinnerProducer;

use super::publish;
use crate::class::pools::Systems;
use crate::error::ReconcileError;
use crate::events;
use crate::reconcile::{ReconcileContext, observe::Observation};

/// Winners of one question to the database.
const PAGE: u32 = 1_000;
/// How long the database may take for as many of them.
const PAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long one pass may publish; the next one goes on.
const TURN: Duration = Duration::from_secs(5);

/// Publishes them, as many as fit into a pass. `at_rest`: nothing is to be done to the ledger.
///
/// # Errors
/// As [`publish_stored_directly`].
pub async fn publish_what_is_due(
    pass: &ReconcileContext<'_>,
    seen: &Observation,
    key_by: KeyBy,
    at_rest: bool,
) -> Result<(), ReconcileError> {
    let (Ok(ledger), Ok(_)) = (&seen.ledger, &seen.kafka) else { return Ok(()) };
    // Before an epoch is open its barrier may lie ahead, and the records would be void.
    let open = |row: &&CampaignRow| row.open_epoch == Some(row.epoch);
    let Some(row) = ledger.row.as_ref().filter(open).filter(|_| at_rest && ledger.unpublished) else { return Ok(()) };
    let published = publish_stored_directly(pass.systems, pass.id, row, key_by).await?;
    if published > 0 {
        let text = format!(
            "Kafka takes records again: those of {published} winners that were stored in the database meanwhile are written, so that the \
             topic has every winner"
        );
        events::note(pass.context, pass.campaign, "WinnersPublished", &text).await;
    }
    Ok(())
}

/// What [`publish_what_is_due`] does, without telling anybody. How many records Kafka has acknowledged.
///
/// # Errors
/// The database failed, or no producer can be made. What Kafka does not acknowledge is published by the next pass.
pub async fn publish_stored_directly(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    key_by: KeyBy,
) -> Result<u64, ReconcileError> {
    let begun = Instant::now();
    let mut producer: Option<WinnerProducer> = None;
    let mut published = 0;
    while begun.elapsed() < TURN {
        let reading = database::unpublished(&systems.sql, campaign, row.id, PAGE);
        let mut winners = database::within(PAGE_DEADLINE, reading).await?;
        if winners.is_empty() {
            break;
        }
        // Their own epoch may be one that has ended, and then they would be void.
        winners.iter_mut().for_each(|winner| winner.epoch = row.epoch);
        let producer = match &producer {
            Some(producer) => producer,
            None => producer.insert(
                WinnerProducer::new(&systems.settings.operator.kafka, campaign, key_by, "coupon-operator-direct")
                    .map_err(|error| ReconcileError::Repair(error.to_string()))?,
            ),
        };
        let ranks = publish(producer, campaign, &winners).await;
        database::within(PAGE_DEADLINE, database::set_published(&systems.sql, row.id, row.epoch, &ranks)).await?;
        published += u64::try_from(ranks.len()).unwrap_or(u64::MAX);
        if ranks.len() < winners.len() {
            break;
        }
    }
    Ok(published)
}
