//! Dead letters are listed and replayed.

use std::process::{Command, Output};
use std::time::Duration;

use coupon_core::connections::Connections;
use coupon_core::event::{CouponIssued, EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
use coupon_core::identity::UserId;
use coupon_ledger::database;
use coupon_ledger::redis::rebuild::{Filled, Ledger, LedgerWinner, fill};
use coupon_ledger::redis::{RedisKeys, Terms, connect, observe};
use rdkafka::message::{Header, Message, OwnedHeaders};
use serde_json::Value;
use stack::child;

use crate::dead_letters::{RawHeader, header, headers, let_the_database_refuse};
use crate::stage::{PATIENCE, Stage};

/// Puts these winners, and no others, into Redis.
pub(crate) async fn redis_holds(stage: &Stage, epoch: u64, winners: &[CouponIssued]) {
    redis_holds_until(stage, epoch, winners, i64::MAX / 4096).await;
}

/// The same, with a window that ends then, in milliseconds since 1970.
pub(crate) async fn redis_holds_until(stage: &Stage, epoch: u64, winners: &[CouponIssued], end_ms: i64) {
    let mut redis = connect::connect(&stage.connections.redis, Duration::from_secs(10)).await.unwrap();
    let history = observe(&mut redis, &RedisKeys::of(&stage.campaign)).await.unwrap().history;
    let highest = winners.iter().map(|winner| winner.rank).max().unwrap_or(0);
    let winners = winners.iter().map(|winner| LedgerWinner {
        rank: winner.rank,
        n: winner.n,
        user: winner.user_id.clone(),
        granted_ms: winner.occurred_at.as_millisecond(),
        key: winner.request_key.clone(),
    });
    let winners: Vec<LedgerWinner> = winners.collect();
    let free = (1..=highest).filter(|rank| winners.iter().all(|winner| winner.rank != *rank)).collect();
    let ledger = Ledger { winners, free, highest };
    let terms = Terms { total: 1_000_000, limit: 1, start_ms: 0, end_ms, suspended: false };
    let attempt = format!("{:032x}", rand::random::<u128>());
    let filled =
        fill(&mut redis, &stage.campaign, &attempt, &history, epoch, &terms.numbered(1), &ledger).await.unwrap();
    assert_eq!(filled, Filled::Done);
}

/// Runs the program to its end.
pub(crate) async fn run(command: Command) -> Output {
    let ran = move || child::output("coupon-consumer", command, PATIENCE).unwrap();
    tokio::task::spawn_blocking(ran).await.unwrap()
}

/// Runs the program as people do. Its exit code, and what it wrote as JSON.
pub(crate) async fn dead_letters(stage: &Stage, connections: &Connections, arguments: &str) -> (i32, Value) {
    program(stage, connections, &format!("dead-letters {arguments}")).await
}

/// The same, with any of its commands.
pub(crate) async fn program(stage: &Stage, connections: &Connections, arguments: &str) -> (i32, Value) {
    let Output { status, stdout, stderr } = output(stage, connections, &format!("{arguments} --json")).await;
    let said = String::from_utf8_lossy(&stderr);
    let written = serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (status.code().unwrap(), written)
}

/// The same, whatever it writes.
pub(crate) async fn output(stage: &Stage, connections: &Connections, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
    command.args(arguments.split_whitespace());
    output_of(stage, connections, command).await
}

/// The same of any command that leads to the program.
pub(crate) async fn output_of(stage: &Stage, connections: &Connections, mut command: Command) -> Output {
    let path = std::env::temp_dir().join(format!("coupon-replay-{:016x}.yaml", rand::random::<u64>()));
    std::fs::write(&path, connections.to_yaml().unwrap()).unwrap();
    command.env("COUPON_CAMPAIGN", stage.campaign.to_string()).env("COUPON_CONNECTIONS", &path);
    let ran = run(command).await;
    std::fs::remove_file(path).unwrap();
    ran
}

/// What became of each letter, in order.
pub(crate) fn results(written: &Value) -> Vec<&str> {
    let letters = written["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["result"]["name"].as_str().unwrap()).collect()
}

/// The database refuses one user of this campaign, as a constraint would that somebody added.
pub(crate) struct Refusal<'a> {
    stage: &'a Stage,
    name: String,
}

impl<'a> Refusal<'a> {
    pub(crate) async fn of(stage: &'a Stage, user: &str) -> Self {
        let name = format!("test_{}", stage.campaign.coupon_id());
        let trigger = format!(
            "CREATE TRIGGER {name} BEFORE INSERT ON issued_coupon FOR EACH ROW \
             IF NEW.campaign_id = {} AND NEW.user_id = '{user}' \
             THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no coupon for this one'; END IF",
            stage.row.0
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&stage.pool).await.unwrap();
        Self { stage, name }
    }

    pub(crate) async fn lift(self) {
        let drop = format!("DROP TRIGGER {}", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&self.stage.pool).await.unwrap();
    }
}

/// Wrong: one bad record takes others with it, is not to be found, or stays lost when its cause is gone.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_among_ten_thousand_is_a_dead_letter_and_a_row_once_its_cause_is_fixed() {
    let stage = Stage::new(3).await;
    let refusal = Refusal::of(&stage, "user-6789").await;
    let winners: Vec<CouponIssued> = (1..=10_000).map(|rank| stage.winner(rank)).collect();
    stage.publish(winners.iter().cloned()).await;
    let consumer = stage.start();
    stage.all_committed().await;
    assert_eq!(stage.stored().await, 9_999);

    // The letter, byte by byte.
    let letters = stage.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    let (topic, winner) = (stage.campaign.topic(), &winners[6_788]);
    let all = stage.records(&topic).await;
    let origin = all.iter().find(|record| record.key() == Some(b"user-6789")).unwrap();
    let value = winner.encode();
    assert_eq!((letter.key(), letter.payload()), (Some(&b"user-6789"[..]), Some(value.as_slice())));
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let message = header(letter, "kafka_dlt-exception-message");
    assert!(message.contains("no coupon for this one"), "{message}");
    let expected: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("event-type", text("CouponIssued")),
        ("event-version", text("1")),
        ("campaign", text(&stage.campaign.to_string())),
        ("epoch", text("1")),
        ("kafka_dlt-original-topic", text(&topic)),
        ("kafka_dlt-original-partition", Some(origin.partition().to_be_bytes().to_vec())),
        ("kafka_dlt-original-offset", Some(origin.offset().to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp", Some(origin.timestamp().to_millis().unwrap().to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp-type", text("CreateTime")),
        ("kafka_dlt-original-consumer-group", text(&stage.campaign.group())),
        ("original_topic", text(&topic)),
        ("original_partition", text(&origin.partition().to_string())),
        ("original_offset", text(&origin.offset().to_string())),
        ("kafka_dlt-exception-fqcn", text("coupon.consumer.RowRejected")),
        ("kafka_dlt-exception-message", text(&message)),
        ("exception", text(&format!("RowRejected: {message}"))),
        ("retry_count", text("5")),
    ];
    let expected: Vec<RawHeader> = expected.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    assert_eq!(headers(letter), expected);

    let run = async |arguments: &str| dead_letters(&stage, &stage.connections, arguments).await;
    let (code, listed) = run("list").await;
    assert_eq!((code, listed["letters"][0]["rank"].as_u64()), (0, Some(6_789)));
    assert_eq!(listed["letters"][0]["reason"], "RowRejected");
    redis_holds(&stage, 1, &winners).await;
    let ends = async || stage.ends(&topic).await;
    let before = ends().await;
    let (code, written) = run("replay --dry-run").await;
    assert_eq!((code, results(&written)), (0, vec!["Replayable"]));
    assert_eq!(ends().await, before, "a dry run writes nothing");

    // The cause is still there: it comes back, with where it first lay.
    let (code, written) = run("replay --trim").await;
    assert_eq!((code, results(&written), written["trimmed"].as_u64()), (3, vec!["FailedAgain"], Some(0)));
    let letters = stage.dead_letters().await;
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| header(letter, "original_offset") == origin.offset().to_string()));

    refusal.lift().await;
    let (code, written) = run("replay --rank 6789").await;
    assert_eq!((code, results(&written)), (0, vec!["Stored", "Stored"]));
    assert_eq!(stage.stored().await, 10_000);
    let before = ends().await;
    let (code, written) = run("replay").await;
    assert_eq!((code, results(&written)), (0, vec!["AlreadyStored", "AlreadyStored"]));
    assert_eq!(ends().await, before, "twice changes nothing");
    let (code, written) = run("replay --trim").await;
    assert_eq!((code, written["trimmed"].as_u64()), (0, Some(2)));
    assert_eq!(run("list").await.1["letters"].as_array().map(Vec::len), Some(0));
    stage.all_committed().await;
    consumer.stop().await;
}

/// Wrong: a replay overrides what the ledger says, or gives up without saying why.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_does_not_hold_is_not_replayed_and_the_answer_says_why() {
    let stage = Stage::new(1).await;
    let_the_database_refuse(&stage).await;
    stage.limit_to(10).await;
    let named = |rank: u64, user: &str| {
        let mut winner = stage.winner(rank);
        winner.user_id = UserId::new(user).unwrap();
        winner
    };
    stage.publish_to(0, &stage.winner(1)).await;
    stage.publish_to(0, &named(1, "second")).await;
    stage.publish_raw(0, None, Some(b"no event"), None, 1).await;
    stage.publish_to(0, &named(2, "refused-lost")).await;
    stage.publish_to(0, &named(3, "refused-robbed")).await;
    stage.publish_to(0, &stage.winner(11)).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    redis_holds(&stage, 1, &[stage.winner(1), named(3, "robber"), stage.winner(11)]).await;

    let before = (stage.ends(&stage.campaign.topic()).await, stage.stored().await);
    let (code, written) = dead_letters(&stage, &stage.connections, "replay").await;
    let mut found = results(&written);
    found.sort_unstable();
    assert_eq!(code, 3);
    assert_eq!(found, ["NotHeldInRedis", "RankAboveTotal", "RankConflict", "RankTakenInRedis", "UnreadableRecord"]);
    let (code, chosen) = dead_letters(&stage, &stage.connections, "replay --user refused-lost --user nobody").await;
    assert_eq!((code, results(&chosen)), (3, vec!["NotHeldInRedis"]));
    let (code, chosen) = dead_letters(&stage, &stage.connections, "replay --reason RankConflict").await;
    assert_eq!((code, results(&chosen)), (3, vec!["RankConflict"]));
    assert_eq!((stage.ends(&stage.campaign.topic()).await, stage.stored().await), before);

    // What can never be a row may be given up, letter by letter; what still can be one may not.
    let place = |letter: &Value| letter["offset"].as_i64().unwrap();
    let letters = written["letters"].as_array().unwrap();
    let (last, given_up): (Vec<&Value>, Vec<&Value>) =
        letters.iter().partition(|letter| letter["result"]["name"] == "RankAboveTotal");
    let above_total = place(last[0]);
    let all: String = given_up.iter().map(|letter| format!(" --discard 0:{}", place(letter))).collect();
    let count = |written: &Value, wanted: &str| results(written).iter().filter(|name| **name == wanted).count();
    let run = async |arguments: String| dead_letters(&stage, &stage.connections, &arguments).await;
    let (code, tried) = run(format!("replay --dry-run --trim{all} --discard 0:{above_total}")).await;
    assert_eq!((code, count(&tried, "Discarded"), count(&tried, "NotDiscarded")), (3, 4, 1));
    let listed = async || run("list".to_owned()).await.1["letters"].as_array().map_or(0, Vec::len);
    assert_eq!(listed().await, 5, "a dry run removes nothing");
    let (code, done) = run(format!("replay --trim{all} --discard 0:99")).await;
    assert_eq!((code, count(&done, "Discarded"), count(&done, "RankAboveTotal")), (3, 4, 1));
    assert_eq!(done["notFound"], serde_json::json!([{"partition": 0, "offset": 99}]));
    let before_it = given_up.iter().filter(|letter| place(letter) < above_total).count();
    assert_eq!(done["trimmed"].as_u64(), Some(before_it as u64));
    assert_eq!(listed().await, 5 - before_it, "what still can be a row keeps all behind it");
    assert_eq!((stage.ends(&stage.campaign.topic()).await, stage.stored().await), before);
}

/// Wrong: what an older program cannot read stops everybody, or is thrown away as if nobody could.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_version_waits_among_the_dead_letters_for_who_can_read_it() {
    let stage = Stage::new(1).await;
    stage.publish_to(0, &stage.winner(1)).await;
    let campaign = stage.campaign.to_string();
    let version = [(HEADER_VERSION, "2"), (HEADER_EVENT_TYPE, EVENT_TYPE), (HEADER_CAMPAIGN, campaign.as_str())]
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    let value = stage.winner(2).encode();
    stage.publish_raw(0, Some(b"user-2"), Some(&value), Some(version), 1).await;
    stage.publish_to(0, &stage.winner(3)).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    assert_eq!(stage.stored().await, 2, "it is not read, and those behind it are");
    redis_holds(&stage, 1, &[stage.winner(1), stage.winner(2), stage.winner(3)]).await;

    let (_, listed) = dead_letters(&stage, &stage.connections, "list").await;
    let explanation = listed["letters"][0]["explanation"].as_str().unwrap();
    assert!(explanation.contains("is of version 2, and this program knows versions up to 1"), "{explanation}");
    for arguments in ["replay", "replay --trim"] {
        let (code, written) = dead_letters(&stage, &stage.connections, arguments).await;
        assert_eq!((code, results(&written)), (3, vec!["NewerRecord"]), "{arguments}");
    }
    let letters = stage.dead_letters().await;
    assert_eq!(letters.iter().map(|letter| letter.payload().unwrap()).collect::<Vec<_>>(), [value]);
    // Where there is no newer program, somebody has to say that it was no winner.
    let (_, written) = dead_letters(&stage, &stage.connections, "replay --trim --discard 0:0").await;
    assert_eq!(results(&written), ["Discarded"]);
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: a replayed winner of a closed epoch is void, and lost a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_a_closed_epoch_is_stamped_anew() {
    let stage = Stage::new(1).await;
    database::set_topic(&stage.pool, stage.row, "topic-1", "cluster-1").await.unwrap();
    assert_eq!(database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap(), 1);
    let refusal = Refusal::of(&stage, "user-1").await;
    let winner = stage.winner(1);
    stage.publish([winner.clone()]).await;
    let consumer = stage.start();
    stage.all_committed().await;
    refusal.lift().await;
    assert_eq!(database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap(), 2);
    let ends = stage.ends(&stage.campaign.topic()).await;
    database::commit_barrier(&stage.pool, stage.row, 2, "topic-1", &ends).await.unwrap();

    // Redis is not rebuilt yet.
    let (code, written) = dead_letters(&stage, &stage.connections, "replay").await;
    assert_eq!((code, results(&written)), (3, vec!["RedisNotServing"]));
    redis_holds(&stage, 2, &[winner]).await;
    let (code, written) = dead_letters(&stage, &stage.connections, "replay").await;
    assert_eq!((code, results(&written)), (0, vec!["Stored"]));
    let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.rank, row.epoch)).collect::<Vec<_>>(), [(1, 2)]);
    stage.all_committed().await;
    consumer.stop().await;
}

/// Wrong: a system that is away looks like letters that cannot be replayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_is_an_error() {
    let stage = Stage::new(1).await;
    let refusal = Refusal::of(&stage, "user-1").await;
    stage.publish([stage.winner(1)]).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
    refusal.lift().await;
    let mut connections = stage.connections.clone();
    connections.redis.server = coupon_core::connections::RedisServer::Address("127.0.0.1:1".into());
    let (code, listed) = dead_letters(&stage, &connections, "list").await;
    assert_eq!((code, listed["letters"].as_array().map(Vec::len)), (0, Some(1)), "listing needs Kafka only");
    let path = std::env::temp_dir().join(format!("coupon-replay-{:016x}.yaml", rand::random::<u64>()));
    std::fs::write(&path, connections.to_yaml().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
    command.args(["dead-letters", "replay", "--campaign", &stage.campaign.to_string(), "--connections"]).arg(&path);
    let ran = run(command).await;
    std::fs::remove_file(path).unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("Redis"));
}

/// Wrong: whoever won a grant that people gave up asks again, and it is a dead letter once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_grant_that_comes_again_is_no_dead_letter() {
    let stage = Stage::new(1).await;
    let foreign = CouponIssued { rank: 500, ..stage.winner(1) };
    database::store(&stage.pool, stage.row, database::StoreMode::Direct(&[CouponIssued { epoch: 0, ..foreign }]))
        .await
        .unwrap();
    for winner in [&stage.winner(1), &stage.winner(2)] {
        stage.publish_to(0, winner).await;
    }
    let consumer = stage.start();
    stage.all_committed().await;
    redis_holds(&stage, 1, &[stage.winner(1), stage.winner(2)]).await;
    let (code, done) = dead_letters(&stage, &stage.connections, "replay --trim --discard 0:0").await;
    assert_eq!((code, results(&done), done["trimmed"].as_u64()), (0, vec!["Discarded"], Some(1)));

    stage.publish_to(0, &stage.winner(1)).await;
    // Another conflict is one as before.
    stage.publish_to(0, &CouponIssued { user_id: UserId::new("other").unwrap(), ..stage.winner(2) }).await;
    stage.all_committed().await;
    let listed = dead_letters(&stage, &stage.connections, "list").await.1;
    let letters = listed["letters"].as_array().unwrap();
    assert_eq!(letters.iter().map(|letter| letter["userId"].as_str().unwrap()).collect::<Vec<_>>(), ["other"]);
    let counts =
        ["stored", "duplicate", "void", "conflict", "discarded"].map(|outcome| consumer.metrics.records(outcome));
    assert_eq!(counts, [1, 0, 0, 2, 1]);
    consumer.stop().await;
}

/// Wrong: Kafka does not let letters be removed, and nobody hears what was replayed before.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_records_cannot_be_removed_hides_nothing_of_the_result() {
    let stage = Stage::without_dead_letter_topic(1).await;
    let topic = stage.campaign.dead_letter_topic();
    // Kafka deletes no records of such a topic, whoever asks.
    stage.create_topic_with(&topic, &[("cleanup.policy", "compact")]).await;
    let refusal = Refusal::of(&stage, "user-1").await;
    stage.publish([stage.winner(1)]).await;
    let consumer = stage.start();
    stage.all_committed().await;
    refusal.lift().await;
    redis_holds(&stage, 1, &[stage.winner(1)]).await;
    let (code, done) = dead_letters(&stage, &stage.connections, "replay --trim").await;
    assert_eq!((code, results(&done), done["trimmed"].as_u64()), (3, vec!["Stored"], Some(0)));
    assert_eq!(done["counts"]["Stored"], 1);
    assert_eq!(done["trimFailed"]["reason"], "KafkaPolicyViolation", "{}", done["trimFailed"]);
    let text = done["trimFailed"]["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("deleting records of topic {topic} failed")), "{text}");
    consumer.stop().await;
}
