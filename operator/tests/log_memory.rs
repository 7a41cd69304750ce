//! What readers of logs hold, of a topic with many partitions whose records are large, or small and many, when they are taken slowly.
//! A process of its own, since it measures itself. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use coupon_ledger::kafka::client_config;
use coupon_ledger::kafka::tail::{self, Range, TailError};
use coupon_testing::process;
use futures::future::join_all;
use rand::RngExt;
use rdkafka::producer::{FutureProducer, FutureRecord};

use common::stage::Stage;

const MIB: u64 = 1024 * 1024;
const PARTITIONS: i32 = 64;
/// Readers that want to read at the same time: eight small repairs and a large one.
const READERS: usize = 9;
/// How often each of them tries to be let in.
const TRIES: u32 = 5;
/// Records in flight while the topic is filled: what is measured is reading.
const TOGETHER: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// What else a test's process takes meanwhile: threads, connections, what the allocator keeps.
const ELSE_MIB: u64 = 12;

/// Half of it is noise: it can be compressed about as well as a winner's record.
fn payload(size: usize) -> Vec<u8> {
    let mut payload = vec![b'x'; size];
    rand::rng().fill(&mut payload[..size / 2]);
    payload
}

/// A topic with so many records of this size in each partition.
async fn filled(stage: &Stage, name: &str, records: usize, size: usize) -> Range {
    stage.create_topic(name, PARTITIONS).await;
    let settings = [("acks", "1"), ("message.max.bytes", "1048588"), ("compression.type", "lz4"), ("linger.ms", "5")];
    let producer: FutureProducer =
        client_config(&stage.systems.settings.operator.kafka, "test", &settings).create().unwrap();
    let together = TOGETHER * (1 << 20) / size.max(1);
    let all: Vec<i32> = (0..PARTITIONS).flat_map(|partition| std::iter::repeat_n(partition, records)).collect();
    for some in all.chunks(together.max(1)) {
        let payloads: Vec<(i32, Vec<u8>)> = some.iter().map(|partition| (*partition, payload(size))).collect();
        let sent = payloads.iter().map(|(partition, payload)| {
            producer.send(FutureRecord::<[u8], [u8]>::to(name).partition(*partition).payload(payload), PATIENCE)
        });
        for sent in join_all(sent).await {
            sent.unwrap();
        }
    }
    (0..PARTITIONS).map(|partition| (partition, (0, i64::try_from(records).unwrap()))).collect()
}

/// All of them read it at once, each with a pause after so many records. By how many MiB the process grew.
async fn grown(stage: &Stage, name: &str, range: &Range, pause_after: u64) -> u64 {
    let own = std::process::id();
    process::forget_peak(own).unwrap();
    let before = process::resident(own).unwrap() / MIB;
    let expected: i64 = range.values().map(|(from, to)| to - from).sum();
    let readers = (0..READERS).map(|_| {
        let (kafka, name, range) = (stage.systems.settings.operator.kafka.clone(), name.to_owned(), range.clone());
        tokio::task::spawn_blocking(move || {
            // A pass that was not let in tries again, too.
            let mut left = TRIES;
            loop {
                let mut count = 0;
                let read = tail::read::<TailError>(&kafka, &name, &range, |_| {
                    count += 1;
                    if count % pause_after == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Ok(())
                });
                left -= 1;
                match read {
                    Err(TailError::Crowded { .. }) if left > 0 => {}
                    other => return other.map(|()| count),
                }
            }
        })
    });
    for read in join_all(readers).await {
        assert_eq!(read.unwrap().unwrap(), u64::try_from(expected).unwrap(), "every record, once");
    }
    (process::peak(own).unwrap() / MIB).saturating_sub(before)
}

/// Wrong: repairs whose logs nobody has read queue more than the operator may have, and it is killed for it.
#[tokio::test(flavor = "multi_thread")]
async fn readers_hold_no_more_than_they_may_whatever_the_topic_is_like() {
    let stage = Stage::new().await;
    let bound = u64::try_from(tail::MEMORY).unwrap() >> 20;
    for (what, records, size, pause_after) in [("large", 1, 1_000_000, 1), ("small", 1_000, 220, 200)] {
        let name = format!("{}.{what}", stage.campaign.topic());
        let range = filled(&stage, &name, records, size).await;
        let (grown, begun) = (grown(&stage, &name, &range, pause_after), Instant::now());
        let grown = grown.await;
        println!(
            "{what}: {READERS} readers of {PARTITIONS} partitions grew by {grown} MiB of {bound} in {:?}",
            begun.elapsed()
        );
        assert!(grown <= bound + ELSE_MIB, "{what}: {grown} MiB, of which {bound} are allowed");
        stage.systems.kafka.delete_topic(&name).await.unwrap();
    }
}
