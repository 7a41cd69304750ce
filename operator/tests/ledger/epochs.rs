//! Which epochs a repair allots and believes, on real servers.

use std::time::Duration;

use coupon_core::event::EPOCHS_AHEAD;
use coupon_ledger::database::{self, CampaignRow, DatabaseError};
use coupon_sink::drain::{self, Source};
use operator::class::pools::Systems;
use operator::ledger::epoch::{self, EpochError, Opened, Remembered};

use super::repair::{lose, open, publish};
use crate::common::no_pods::no_issuers;
use crate::common::stage::{Stage, terms};

/// What consumers make of all records.
async fn drained(stage: &Stage) -> drain::Drained {
    let range = stage.span(&stage.campaign.topic()).await;
    let Stage { systems, campaign, .. } = stage;
    let source = Source { kafka: &systems.settings.operator.kafka, pool: &systems.sql, campaign, range: &range };
    drain::drain(source, Duration::from_secs(60), |_| {}).await.unwrap()
}

/// Wrong: what a stranger wrote raises epochs for ever; or epochs that a restored database has forgotten are not believed.
#[tokio::test]
async fn a_record_ahead_of_the_database_is_believed_up_to_a_bound_by_repairs_and_consumers_alike() {
    let stage = Stage::new().await;
    let (newest, absurd) = (500, 500 + 2 * EPOCHS_AHEAD);
    publish(&stage, &[stage.winner(1, 1), stage.winner(2, absurd)]).await;
    let opened = open(&stage, 0).await.unwrap();
    assert_eq!((opened.epoch, opened.winners), (2, 1), "nobody allotted that epoch");

    publish(&stage, &[stage.winner(3, newest)]).await;
    lose(&stage).await;
    let outdated = open(&stage, 0).await;
    assert!(matches!(outdated, Err(EpochError::Outdated { newest: 500 })), "{outdated:?}");
    let opened = open(&stage, newest).await.unwrap();
    assert_eq!((opened.epoch, opened.winners, opened.free), (newest + 1, 2, 1));

    let drained = drained(&stage).await;
    assert_eq!((drained.stored, drained.void, drained.dead_lettered), (2, 1, 0));
    let rows = database::read_ranks(&stage.systems.sql, stage.row, 1, 100, 100).await.unwrap();
    assert_eq!(rows, [1, 3]);
}

/// Wrong: records that somebody wrote at one blow, each a thousand epochs above the last, outdate one attempt after the other, and the campaign is
/// closed for as many repairs.
#[tokio::test]
async fn a_ladder_of_epochs_outdates_one_attempt_and_not_the_next() {
    let stage = Stage::new().await;
    let steps = [500, 500 + EPOCHS_AHEAD, 500 + 2 * EPOCHS_AHEAD];
    let forged = steps.iter().zip(2..).map(|(epoch, rank)| stage.winner(rank, *epoch));
    publish(&stage, &[stage.winner(1, 1)].into_iter().chain(forged).collect::<Vec<_>>()).await;
    // As a pass does it: both attempts are decided from the same row, and the first has taken a number of terms.
    let row = stage.row().await;
    let attempt = async |row: &CampaignRow, epoch: u64| {
        let known = Remembered { epoch, ..Remembered::default() };
        epoch::open(&stage.systems, &no_issuers(), &stage.campaign, row, &terms(100), known, || {}).await
    };
    let outdated = attempt(&row, 0).await;
    assert!(matches!(outdated, Err(EpochError::Outdated { newest: 500 })), "{outdated:?}");
    let next = CampaignRow { terms_number: row.terms_number + 1, ..row };
    let opened = attempt(&next, 500).await.unwrap();
    // What consumers store under this epoch counts, and nothing else.
    assert_eq!((opened.epoch, opened.winners), (501, 3));
    let drained = drained(&stage).await;
    assert_eq!((drained.stored, drained.void, drained.dead_lettered), (3, 1, 0));
}

/// Wrong: somebody writes a barrier, every record is void, and as Redis is lost as well, ranks that people were told are given to others.
#[tokio::test]
async fn a_barrier_of_an_epoch_that_was_never_allotted_makes_nothing_void() {
    let stage = Stage::new().await;
    let (sql, topic) = (&stage.systems.sql, stage.row().await.topic_id.unwrap());
    let before = stage.row().await.epoch;
    publish(&stage, &[stage.winner(1, before), stage.winner(2, before)]).await;
    for ahead in [1, 7, 2 * EPOCHS_AHEAD] {
        let forged =
            "INSERT INTO epoch_barrier (campaign_id, epoch, topic_id, partition_id, end_offset) VALUES (?, ?, ?, 0, 0)";
        let row = stage.row().await;
        sqlx::query(forged)
            .bind(stage.row.0)
            .bind(row.epoch + ahead)
            .bind(topic.as_bytes())
            .execute(sql)
            .await
            .unwrap();
        lose(&stage).await;
        let refused = open(&stage, 0).await;
        let named = matches!(&refused, Err(EpochError::Table(DatabaseError::BarrierAhead { epoch, .. })) if *epoch == row.epoch + ahead);
        assert!(named, "{refused:?}");
        assert_eq!(stage.row().await, row, "nothing is allotted");

        let removed = sqlx::query("DELETE FROM epoch_barrier WHERE campaign_id = ? AND epoch > ?");
        removed.bind(stage.row.0).bind(row.epoch).execute(sql).await.unwrap();
        let opened = open(&stage, 0).await.unwrap();
        assert_eq!((opened.epoch, opened.winners), (row.epoch + 1, 2), "{ahead}");
    }
}

/// Wrong: the row of a campaign comes from an older backup, its barriers do not, and nothing is issued until somebody mends it by hand.
#[tokio::test]
async fn a_barrier_that_an_older_row_has_forgotten_is_followed_once_a_record_is_as_new() {
    let stage = Stage::new().await;
    let old = stage.row().await;
    for _ in 0..3 {
        lose(&stage).await;
        open(&stage, 0).await.unwrap();
    }
    let newest = stage.row().await.epoch;
    publish(&stage, &[stage.winner(1, newest)]).await;
    lose(&stage).await;
    let restored = sqlx::query("UPDATE campaign SET epoch = ?, open_epoch = NULL WHERE id = ?").bind(old.epoch);
    restored.bind(stage.row.0).execute(&stage.systems.sql).await.unwrap();
    let outdated = open(&stage, 0).await;
    assert!(matches!(outdated, Err(EpochError::Outdated { newest: n }) if n == newest), "{outdated:?}");
    let opened = open(&stage, newest).await.unwrap();
    assert_eq!((opened.epoch, opened.winners), (newest + 1, 1));
}

/// An attempt on other systems than the stage's, and whether it came as far as to allot an epoch.
async fn tried(stage: &Stage, systems: &Systems) -> (Result<Opened, EpochError>, bool) {
    let (row, known, mut allotted) = (stage.row().await, Remembered::default(), false);
    let allotting = || allotted = true;
    let opened = epoch::open(systems, &no_issuers(), &stage.campaign, &row, &terms(100), known, allotting).await;
    (opened, allotted)
}

/// Wrong: while Kafka, say, is away, an epoch is allotted, and all issuers fenced, with each try.
#[tokio::test]
async fn an_epoch_is_allotted_only_when_the_ledger_can_be_read() {
    let stage = Stage::new().await;
    let mut connections = stage.systems.settings.clone();
    connections.operator.kafka.bootstrap_servers = vec!["127.0.0.1:1".to_owned()];
    let without_kafka = Systems::new(connections).unwrap();
    let before = stage.row().await;
    for _ in 0..3 {
        let (opened, allotted) = tried(&stage, &without_kafka).await;
        assert!(matches!(opened, Err(EpochError::Kafka(_))), "{opened:?}");
        assert!(!allotted);
    }
    assert_eq!(stage.row().await.epoch, before.epoch);
}

/// Wrong: a Redis that answers and takes no writes costs an epoch every two seconds, and healthy pods are called lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_costs_no_epoch() {
    let stage = Stage::new().await;
    let server = tokio::task::spawn_blocking(stack::services::Redis::start).await.unwrap().unwrap();
    let mut connections = stage.systems.settings.clone();
    let address = server.address().to_string();
    connections.operator.redis.server = coupon_core::connections::RedisServer::Address(address);
    let elsewhere = Systems::new(connections).unwrap();
    let mut redis = elsewhere.redis().await.unwrap();
    let before = stage.row().await;
    for (setting, value, normal) in [("min-replicas-to-write", "1", "0"), ("maxmemory", "1", "0")] {
        let set = async |redis: &mut redis::aio::MultiplexedConnection, value: &str| {
            let command = redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).clone();
            command.query_async::<()>(redis).await.unwrap();
        };
        set(&mut redis, value).await;
        let (opened, allotted) = tried(&stage, &elsewhere).await;
        assert!(matches!(opened, Err(EpochError::Redis(_))), "{setting}: {opened:?}");
        assert!(!allotted, "{setting}");
        set(&mut redis, normal).await;
    }
    assert_eq!(stage.row().await.epoch, before.epoch);
}
