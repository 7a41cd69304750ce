//! From records to rows: what the consumer does with a topic that is full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_sink::observer::Observer;
use coupon_sink::pauses::Pauses;
use coupon_sink::pipeline::{Parts, Pipeline};
use coupon_sink::queue::Intake;
use coupon_sink::rows::CampaignRows;
use coupon_sink::writer::BatchLimits;
use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use smoke::bounds::Measured;
use smoke::counting::Counting;
use sqlx::mysql::MySqlPool;
use tokio_util::sync::CancellationToken;

use super::servers::{Servers, counter, winner};

/// Batches that are measured, each full.
const BATCHES: usize = 4;
const PARTITIONS: usize = 3;
/// Longer than a full batch takes to gather on a starved machine.
const WAIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {}

/// Records as Kafka gives them to a consumer of all partitions, ready before they are counted.
fn records(campaign: &CampaignId, ranks: std::ops::Range<usize>) -> Vec<OwnedMessage> {
    let headers = |name: &str| {
        OwnedHeaders::new()
            .insert(Header { key: "event-type", value: Some("CouponIssued") })
            .insert(Header { key: "event-version", value: Some("1") })
            .insert(Header { key: "campaign", value: Some(name) })
            .insert(Header { key: "epoch", value: Some("1") })
    };
    let (name, topic) = (campaign.to_string(), campaign.topic());
    let record = |rank: usize| {
        let event = winner(campaign, rank as u64 + 1);
        let (key, value) = (Some(event.user_id.as_str().as_bytes().to_vec()), Some(event.encode()));
        let (partition, offset) = ((rank % PARTITIONS) as i32, (rank / PARTITIONS) as i64);
        OwnedMessage::new(value, key, topic.clone(), Timestamp::now(), partition, offset, Some(headers(&name)))
    };
    ranks.map(record).collect()
}

async fn stored(pool: &MySqlPool, row: CampaignRowId, rows: usize) {
    let deadline = Instant::now() + PATIENCE;
    while database::count_stored(pool, row, 0).await.unwrap().0 < rows as u64 {
        assert!(Instant::now() < deadline, "{rows} rows");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Gives the records to the pipeline and waits until nothing is left to do.
async fn through(pipeline: &Pipeline, intake: Intake, records: Vec<OwnedMessage>) -> Intake {
    let intake = tokio::task::spawn_blocking(move || {
        for message in records {
            let record = intake.hand_out(message).unwrap();
            assert!(intake.offer(record, PATIENCE).is_ok(), "there is room in time");
        }
        intake
    });
    let (intake, progress) = (intake.await.unwrap(), Arc::clone(&pipeline.progress));
    let waiting = tokio::task::spawn_blocking(move || {
        assert!(
            progress.wait(Instant::now() + PATIENCE, |frontiers| frontiers.unfinished() == 0),
            "all are done in time"
        );
    });
    waiting.await.unwrap();
    intake
}

pub(crate) async fn measure(servers: &Servers) -> Vec<Measured> {
    let (campaign, connections) = (servers.campaign("rows"), servers.connections());
    let pool = database::connect(&connections.database, 1);
    database::migrate(&pool).await.unwrap();
    let row = database::register(&pool, &campaign, 1_000_000).await.unwrap().id;
    let limits = BatchLimits { wait: WAIT, ..BatchLimits::default() };
    let observer: Arc<dyn Observer> = Arc::new(Nobody);
    let (pipeline, intake) = Pipeline::start(Parts {
        kafka: &connections.kafka,
        campaign: &campaign,
        client_id: "smoke",
        rows: CampaignRows::new(database::connect(&connections.database, 1), campaign.clone()),
        limits,
        above_total: Duration::ZERO,
        one_letter_each: true,
        pauses: Arc::new(Pauses::new(&campaign, Arc::clone(&observer))),
        observer,
        stop: CancellationToken::new(),
    })
    .unwrap();
    (0..PARTITIONS as i32).for_each(|partition| pipeline.progress.frontiers().assign(partition));
    // The first batch finds the row, connects and has its statements prepared.
    let first = records(&campaign, 0..limits.rows);
    let intake = through(&pipeline, intake, first).await;
    let all = limits.rows * (1 + BATCHES);
    let measured = records(&campaign, limits.rows..all);

    let counters = ["Com_stmt_execute", "Com_stmt_prepare", "Com_commit", "Com_admin_commands", "Bytes_received"];
    let mut before = Vec::new();
    for name in counters {
        before.push(counter(&pool, name).await);
    }
    let counting = Counting::begin();
    let intake = through(&pipeline, intake, measured).await;
    let allocated = counting.allocations();
    let mut taken = Vec::new();
    for (name, before) in counters.into_iter().zip(before) {
        taken.push(counter(&pool, name).await - before);
    }
    stored(&pool, row, all).await;
    drop(intake);
    let rows = (limits.rows * BATCHES) as f64;
    let per_thousand = |count: f64| count * 1_000.0 / rows;
    // What asks for the counters is counted too: five statements between the first reading and the last of each.
    vec![
        Measured { name: "statements_per_1000_rows", value: per_thousand(taken[0] - counters.len() as f64) },
        Measured { name: "prepares_per_1000_rows", value: per_thousand(taken[1]) },
        Measured { name: "commits_per_1000_rows", value: per_thousand(taken[2]) },
        Measured { name: "pings_per_1000_rows", value: per_thousand(taken[3] - 2.0 * counters.len() as f64) },
        Measured { name: "bytes_to_the_database_per_row", value: taken[4] / rows },
        Measured { name: "allocations_per_row", value: allocated / rows },
    ]
}
