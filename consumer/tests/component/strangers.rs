//! What others put into the topic, or make of it: transactions, and every codec that Kafka has.

use std::collections::BTreeMap;

use coupon_ledger::kafka::client_config;
use coupon_sink::drain::{Source, drain};
use futures::future::join_all;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, Producer, ThreadedProducer};

use crate::stage::{PATIENCE, Stage, eventually};

/// A stranger who writes transactions into the only partition.
struct Stranger {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Stranger {
    fn new(stage: &Stage) -> Self {
        let settings = [("transactional.id", stage.campaign.coupon_id())];
        let producer: ThreadedProducer<DefaultProducerContext> =
            client_config(&stage.connections.kafka, "test", &settings).create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        Self { producer, topic: stage.campaign.topic() }
    }

    /// Begins a transaction with one record.
    fn begin(&self) {
        self.producer.begin_transaction().unwrap();
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(0).payload(b"a stranger's");
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }
}

/// The topic ends there. Marks are written a moment after a transaction's end was asked for.
async fn ends_at(stage: &Stage, end: i64) {
    let wanted = BTreeMap::from([(0, end)]);
    eventually("the topic ends there", async || stage.ends(&stage.campaign.topic()).await == wanted).await;
}

/// Wrong: what a stranger leaves open hides the winners behind it, and the marks of its end are a lag for ever: the campaign stays in
/// Draining, and its pods with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_transaction_holds_nothing_up_and_its_end_is_no_lag() {
    let stage = Stage::new(1).await;
    let stranger = Stranger::new(&stage);
    let consumer = stage.start();
    stranger.begin();
    stage.publish((1..=20).map(|rank| stage.winner(rank))).await;
    eventually("winners behind an open transaction are stored", async || stage.stored().await == 20).await;
    ends_at(&stage, 21).await;
    stage.all_committed().await;
    stranger.producer.abort_transaction(PATIENCE).unwrap();
    ends_at(&stage, 22).await;
    stage.all_committed().await;
    stranger.begin();
    stage.publish([stage.winner(21)]).await;
    stranger.producer.commit_transaction(PATIENCE).unwrap();
    ends_at(&stage, 25).await;
    stage.all_committed().await;

    // A mark that comes while nobody reads is passed by the next one, though there is no record behind it.
    stranger.begin();
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(stage.committed().await, BTreeMap::from([(0, 26)]));
    stranger.producer.commit_transaction(PATIENCE).unwrap();
    ends_at(&stage, 27).await;
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!(consumer.metrics.records("unreadable"), 0, "nothing was read again");
    consumer.stop().await;
    let (stored, letters) = (stage.stored().await, stage.dead_letters().await.len());
    assert_eq!((stored, letters), (21, 3), "what the stranger wrote is no winner, and holds up none");

    // Repairs and deletions read it to the end as well.
    let range = stage.whole().await;
    let source =
        Source { kafka: &stage.connections.kafka, pool: &stage.pool, campaign: &stage.campaign, range: &range };
    let drained = drain(source, PATIENCE, |_| {}).await.unwrap();
    assert_eq!((drained.duplicates, drained.next), (21, stage.ends(&stage.campaign.topic()).await));
}

/// Wrong: winners that a broker or another program has compressed in a codec that a client here was built without are stored by nobody,
/// and no repair can read them.
#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_read_by_consumers_repairs_and_from_the_dead_letter_topic() {
    const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
    let stage = Stage::without_dead_letter_topic(1).await;
    let (topic, dlt) = (stage.campaign.topic(), stage.campaign.dead_letter_topic());
    stage.create_topic_with(&dlt, &[("compression.type", "zstd")]).await;
    let zeros = vec![0; 20_000];
    let publish = async |producers: &str, first: u64| {
        let settings = [("enable.idempotence", "true"), ("compression.type", producers), ("linger.ms", "100")];
        let producer: FutureProducer = client_config(&stage.connections.kafka, "test", &settings).create().unwrap();
        let winners: Vec<Vec<u8>> = (first..first + 10).map(|rank| stage.winner(rank).encode()).collect();
        // One batch, worth compressing.
        let values = winners.iter().chain([&zeros]);
        let sent = values.map(|value| producer.send(FutureRecord::<[u8], _>::to(&topic).payload(value), PATIENCE));
        assert!(join_all(sent).await.into_iter().all(|delivered| delivered.is_ok()));
    };
    for (codec, first) in CODECS.iter().zip((1..).step_by(10)) {
        publish(codec, first).await;
    }
    // As a broker does whose topics are in one codec, whoever writes.
    for (codec, first) in CODECS[1..].iter().zip((51..).step_by(10)) {
        let set = BTreeMap::from([("compression.type".to_owned(), (*codec).to_owned())]);
        stage.admin.set_config_incremental(&topic, &set, &[] as &[&str]).await.unwrap();
        publish("none", first).await;
    }
    let consumer = stage.start();
    eventually("all are stored", async || stage.stored().await == 90).await;
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(stage.records(&topic).await.len(), 99, "what repairs read");
    let letters = stage.dead_letters().await;
    assert_eq!((letters.len(), letters[0].payload()), (9, Some(zeros.as_slice())));
}
