//! Watches the reader, and has its Kafka client replaced when it stands still. `standstill` decides; the witness is asked here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use coupon_core::identity::CampaignId;
use coupon_sink::queue::Progress;

use crate::client::Seat;
use crate::course::{Course, Step};
use crate::metrics::Metrics;
use crate::standstill::{Held, Patience, Reader, Standstill, StandstillCause, Verdict, Watch};
use crate::status::Status;
use crate::witness::{Found, Witness};

/// The reader stands still, and fresh clients in this process do not help.
#[derive(Debug, thiserror::Error)]
#[error(
    "{standstill}; {in_vain} fresh Kafka clients did not help, and {hanging} replaced ones have not ended: the process ends, to be \
     started afresh"
)]
pub struct GivenUp {
    standstill: Standstill,
    in_vain: u32,
    hanging: u32,
}

/// What the guard needs.
pub(crate) struct Guard {
    pub campaign: CampaignId,
    pub witness: Witness,
    pub progress: Arc<Progress>,
    pub status: Arc<Status>,
    pub metrics: Metrics,
    /// Where the reader's client sits.
    pub seat: Arc<Seat>,
    pub patience: Patience,
    pub stop: CancellationToken,
}

impl Guard {
    /// Watches until asked to stop.
    ///
    /// # Errors
    /// [`GivenUp`]: end the process.
    pub(crate) async fn run(self) -> Result<(), GivenUp> {
        let (mut watch, mut course) = (Watch::new(self.patience), Course::default());
        let mut client = self.seat.clients();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.patience.check_interval) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
            if self.seat.is_leaving() {
                continue;
            }
            if std::mem::replace(&mut client, self.seat.clients()) != client {
                watch.begin_anew();
            }
            tokio::select! {
                checked = self.check(&mut watch, &mut course) => checked?,
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// One look, and what follows from it.
    async fn check(&self, watch: &mut Watch, course: &mut Course) -> Result<(), GivenUp> {
        let reader = Reader { held: self.held(), unsettled: self.seat.is_unsettled(), drained: self.seat.drained() };
        let question = watch.observe(reader, Instant::now());
        let (evidence, answered) = self.witness.answer(&question).await;
        if let Err(error) = answered {
            self.metrics.witness_unanswered();
            tracing::debug!(%error, "what waits cannot be said");
        }
        let verdict = watch.evaluate(&question, &evidence, Instant::now());
        self.metrics.set_standing_still(matches!(verdict, Verdict::Still(_)));
        let standstill = match verdict {
            Verdict::Calm => {
                course.calm(Instant::now());
                return Ok(());
            }
            Verdict::Unclear => return Ok(()),
            Verdict::Still(standstill) => standstill,
        };
        let (hanging, in_vain) = (self.seat.hanging(), course.in_vain());
        let step = course.step(hanging, &self.patience, Instant::now());
        if step == Step::Wait || !self.is_proved(&standstill, watch).await {
            return Ok(());
        }
        if step == Step::End {
            return Err(GivenUp { standstill, in_vain, hanging });
        }
        course.replaced(Instant::now());
        let trouble = self.status.kafka_error().unwrap_or_else(|| "none".to_owned());
        tracing::warn!(
            campaign = %self.campaign,
            last_error = trouble,
            "{standstill}, and nothing but this client is in the way: it is replaced"
        );
        self.metrics.client_replaced(standstill.cause.name());
        self.seat.leave();
        Ok(())
    }

    /// Whether a fresh client reads what the reader does not.
    async fn is_proved(&self, standstill: &Standstill, watch: &mut Watch) -> bool {
        let StandstillCause::Unread { partition, next, .. } = standstill.cause else { return true };
        let found = self.witness.read(partition, next).await;
        // That took a moment, in which the reader may have come to itself.
        let is_still = |held: &Held| !held.in_hand && !held.paused && held.next.is_none_or(|now| now <= next);
        if found == Found::Record && self.held().get(&partition).is_some_and(is_still) {
            return true;
        }
        if let Found::Unknown(trouble) = found {
            tracing::warn!(
                campaign = %self.campaign,
                trouble,
                "{standstill}, but a fresh client cannot read there either: waiting for Kafka"
            );
        }
        watch.clear(partition);
        false
    }

    fn held(&self) -> BTreeMap<i32, Held> {
        let standing = self.progress.frontiers().standing();
        let held = standing.into_iter().map(|(id, at)| {
            let paused = self.status.should_pause(id);
            (id, Held { generation: at.generation, next: at.next, in_hand: at.unfinished > 0, paused })
        });
        held.collect()
    }
}
