//! Finds the letter that a record's grant has already, so that a winner who asks again and again makes one letter, and not one for each
//! answer. The dead-letter topic itself is what is remembered; so a restart forgets nothing, and a letter that was removed counts no more.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::producer::{FutureProducer, Producer};
use tokio::sync::{Mutex, MutexGuard};

use coupon_core::connections::Kafka;
use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_ledger::kafka::{decode_record, origin};

use crate::letters::{Grant, KnownLetters};
use crate::rows::CampaignRows;

/// Others write letters of a partition only before it is ours, or while a campaign is being deleted: it is looked for them this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long Kafka may take to answer where a partition begins and ends.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(5);
/// Letters of one grant are written one after the other; those of so many grants beside each other.
const TURNS: usize = 64;

/// So many bytes of letters are read at once: a stranger's may be large, and are no winners'.
const MOST_BYTES: usize = 64 << 20;

/// Why reading ended early.
enum Ended {
    Failed(TailError),
    Enough,
}

impl From<TailError> for Ended {
    fn from(error: TailError) -> Self {
        Self::Failed(error)
    }
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
enum NotKnown {
    #[error(transparent)]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the reading broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// What is known, and when it was last looked for.
#[derive(Debug, Default)]
struct Known {
    letters: KnownLetters,
    looked: BTreeMap<i32, Instant>,
}

/// The letters of one campaign.
pub(crate) struct Repeated {
    kafka: Kafka,
    campaign: CampaignId,
    /// Asks where partitions begin and end.
    producer: FutureProducer,
    rows: Mutex<CampaignRows>,
    known: Mutex<Known>,
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
}

impl Repeated {
    /// Asks nothing yet.
    pub(crate) fn new(kafka: &Kafka, campaign: &CampaignId, producer: FutureProducer, rows: CampaignRows) -> Self {
        Self {
            kafka: kafka.clone(),
            campaign: campaign.clone(),
            producer,
            rows: Mutex::new(rows),
            known: Mutex::default(),
            turns: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Held while a letter of this grant is looked for and written.
    pub(crate) async fn turn(&self, grant: &Grant) -> MutexGuard<'_, ()> {
        let turn = usize::try_from(self.hasher.hash_one(grant) % TURNS as u64).unwrap_or(0);
        self.turns[turn].lock().await
    }

    /// The letter that stands for the record at this place, which says this grant. `None` also where that cannot be told: one letter too
    /// many harms nobody, one too few may.
    pub(crate) async fn letter_of(&self, grant: &Grant, record: Position) -> Option<Position> {
        self.find(grant, record).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be told whether a dead letter is there already; it is written");
            None
        })
    }

    /// A letter of this grant was written, of the record at this place.
    pub(crate) async fn written(&self, grant: Grant, at: Position, record: Position) {
        // A topic of dead letters that has fewer partitions has it in another one, where nobody looks for it.
        if at.partition == record.partition {
            self.known.lock().await.letters.insert(grant, at, record.offset);
        }
    }

    async fn find(&self, grant: &Grant, record: Position) -> Result<Option<Position>, NotKnown> {
        let mut known = self.known.lock().await;
        let is_known = !known.letters.find(grant, record.offset).is_empty();
        let looked = known.looked.get(&record.partition).is_some_and(|looked| looked.elapsed() < LOOK_AGAIN);
        // One that is known may have been removed just now.
        if is_known || !looked {
            known.looked.insert(record.partition, Instant::now());
            self.look(&mut known.letters, record.partition).await?;
        }
        let found = known.letters.find(grant, record.offset);
        drop(known);
        for at in found {
            // A letter that people have given up counts for nothing.
            if !self.rows.lock().await.is_letter_discarded(at).await? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Reads what is new of a partition of the dead-letter topic.
    async fn look(&self, letters: &mut KnownLetters, partition: i32) -> Result<(), NotKnown> {
        let (producer, topic) = (self.producer.clone(), self.campaign.dead_letter_topic());
        let asked = topic.clone();
        let (start, end) = tokio::task::spawn_blocking(move || {
            producer.client().fetch_watermarks(&asked, partition, WATERMARKS_TIMEOUT)
        })
        .await??;
        let (from, to) = letters.unread(partition, start, end);
        let (kafka, campaign) = (self.kafka.clone(), self.campaign.clone());
        let found = tokio::task::spawn_blocking(move || {
            let (mut found, mut bytes) = (Vec::<(CouponIssued, Position, i64)>::new(), 0);
            let range = Range::from([(partition, (from, to))]);
            let ended = tail::read::<Ended>(&kafka, &topic, &range, |message| {
                bytes += message.payload_len() + message.key_len();
                let origin = origin(message).filter(|origin| origin.partition == partition);
                if let (Some(origin), Ok(event)) = (origin, decode_record(&campaign, message)) {
                    found.push((event, Position { partition, offset: message.offset() }, origin.offset));
                }
                if bytes > MOST_BYTES { Err(Ended::Enough) } else { Ok(()) }
            });
            match ended {
                Ok(()) | Err(Ended::Enough) => Ok(found),
                Err(Ended::Failed(error)) => Err(error),
            }
        })
        .await??;
        for (event, at, origin) in found {
            letters.insert(Grant::of(partition, &event), at, origin);
        }
        letters.has_read(partition, to);
        Ok(())
    }
}
