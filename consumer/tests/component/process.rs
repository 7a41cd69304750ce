//! The real binary.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use consumer::SESSION;
use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use nix::sys::signal::Signal;
use stack::child::{self, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{PATIENCE, Stage, eventually};

/// A running `coupon-consumer`; killed when dropped.
pub(crate) struct Process {
    running: Running,
    probe: SocketAddr,
}

impl Process {
    pub(crate) fn start(stage: &Stage) -> Self {
        Self::start_with(&stage.campaign, &stage.connections, &[])
    }

    /// With other connections, and more in its environment. What it says goes to a file, see [`Process::said`].
    pub(crate) fn start_with(
        campaign: &CampaignId,
        connections_to: &Connections,
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = child::folder("coupon-consumer").unwrap();
        let connections = folder.join("connections.yaml");
        std::fs::write(&connections, connections_to.to_yaml().unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
        command
            .env("COUPON_CAMPAIGN", campaign.to_string())
            .env("COUPON_CONNECTIONS", &connections)
            .env("COUPON_PROBE_LISTEN", "127.0.0.1:0")
            .env("COUPON_LOG_JSON", "true")
            .env("COUPON_BATCH", "50")
            .env("POD_NAME", "consumer-0")
            .envs(environment.iter().copied());
        let running = Running::start("coupon-consumer", command, folder).unwrap();
        let probe = running.addresses(PATIENCE).unwrap()["probe"];
        Self { running, probe }
    }

    /// All that it has logged.
    pub(crate) fn said(&self) -> String {
        self.running.said()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal).unwrap();
    }

    pub(crate) async fn ended(&self) -> ExitStatus {
        self.running.ended(PATIENCE).await.unwrap()
    }

    /// As [`eventually`], for what this process brings about: fails at once if it dies.
    pub(crate) async fn eventually(&self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        let found = self.running.eventually(what, PATIENCE, async || check().await.then_some(())).await;
        found.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Waits until it has committed all that is in the topic.
    pub(crate) async fn all_committed(&self, stage: &Stage) {
        let ends = stage.ends(&stage.campaign.topic()).await;
        self.eventually("everything is committed", async || stage.committed().await == ends).await;
    }

    /// Status code and body.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(self.probe).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub(crate) async fn ready(&self) {
        self.eventually("ready", async || self.get("/readyz").await.is_some_and(|(code, _)| code == 200)).await;
    }
}

/// Wrong: a Job's log is full of escape sequences, or says the same thing twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_into_a_file_has_no_colours_and_says_a_cause_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
    command.args([
        "--campaign",
        "test/tests/nobody",
        "--connections",
        "/nowhere/connections.yaml",
        "forget",
        "--user=a",
    ]);
    let ran = crate::replay::run(command).await;
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

/// Wrong: each rollout and scale-down reads records again, or loses some.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stores_and_commits_what_is_in_hand() {
    let stage = Stage::new(3).await;
    let process = Process::start(&stage);
    process.ready().await;
    assert_eq!(process.get("/healthz").await.unwrap().0, 200);
    stage.publish((1..=5000).map(|rank| stage.winner(rank))).await;
    process.eventually("it is at work", async || stage.stored().await > 0).await;
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
    let committed: i64 = stage.committed().await.values().sum();
    assert_eq!(
        u64::try_from(committed).unwrap(),
        stage.stored().await,
        "what is stored is committed, and nothing else"
    );

    let process = Process::start(&stage);
    stage.publish((5001..=5500).map(|rank| stage.winner(rank))).await;
    process.eventually("the rest is stored", async || stage.stored().await == 5500).await;
    process.all_committed(&stage).await;
    // The last one shows when the broker's answer to the commit was polled.
    let committed = "coupon_consumer_committed_offset{partition=\"0\"}";
    let shows = async || process.get("/metrics").await.is_some_and(|(_, all)| all.contains(committed));
    process.eventually("the commit shows", shows).await;
    let metrics = process.get("/metrics").await.unwrap().1;
    for start in [
        "coupon_consumer_records_total{outcome=\"duplicate\"} 0",
        "coupon_consumer_insert_seconds_count",
        "coupon_consumer_batch_rows_bucket",
        "coupon_consumer_end_to_end_seconds_sum",
        "coupon_consumer_dead_letters_total{reason=\"RankConflict\"} 0",
        "coupon_consumer_paused{reason=\"database\"} 0",
        "coupon_consumer_rebalances_total{kind=\"assign\"}",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(start)), "{start} in {metrics}");
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
}

/// How long Kafka waits for a dead consumer that has not said how long it should, counted from its last heartbeat.
const UNTOLD: Duration = Duration::from_secs(45);
/// The last heartbeat before the death may be so old.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// So an heir that stores earlier than this after the death has not waited for that. The rest is time for a busy machine.
const INHERITED: Duration = UNTOLD.saturating_sub(HEARTBEAT);
const _: () = assert!(2 * SESSION.as_secs() < INHERITED.as_secs());

/// Wrong: a node that dies takes winners with it, or keeps them from everybody for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_consumer_loses_nothing() {
    let stage = Stage::new(2).await;
    let process = Process::start(&stage);
    process.ready().await;
    stage.publish((1..=3000).map(|rank| stage.winner(rank))).await;
    process.eventually("it is at work", async || stage.stored().await > 0).await;
    process.signal(Signal::SIGKILL);
    process.ended().await;
    let killed = Instant::now();
    let heir = stage.start();
    eventually("the heir stores the rest", async || stage.stored().await == 3000).await;
    assert!(killed.elapsed() < INHERITED, "only after {:?}", killed.elapsed());
    stage.all_committed().await;
    heir.stop().await;
    assert!(stage.dead_letters().await.is_empty());
}

/// Wrong: a pod that starts before the operator has created the row dies, and its restarts back off into the sale.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_without_a_row_is_waited_for_and_can_be_stopped() {
    let mut stage = Stage::new(1).await;
    stage.campaign = CampaignId::with_default_names("test", "consumer", "no-such-row").unwrap();
    let process = Process::start(&stage);
    let waits = |(code, why): (u16, String)| code == 503 && why.contains("the operator creates it");
    process.eventually("it says why", async || process.get("/readyz").await.is_some_and(waits)).await;
    assert_eq!(process.get("/healthz").await.unwrap().0, 200);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
}

/// Wrong: an image for tests, with faults that its environment arms, stores or forgets winners somewhere.
#[test]
fn a_test_build_works_only_inside_of_a_stack() {
    let place = ["--campaign", "test/consumer/x", "--connections", "no-such-file.yaml"];
    let run = |command: &[&str], place: &[&str], stack: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
        program.args(command).args(place).env("COUPON_STACK", stack);
        let output = child::output("coupon-consumer", program, PATIENCE).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (command, place, stack, code, says) in [
        (&[][..], &place[..], "", 1, "this is a test build"),
        (&["dead-letters", "list"], &place, "", 1, "this is a test build"),
        (&["dead-letters", "list"], &place, "demo", 1, "cannot read no-such-file.yaml"),
        (&["--version"], &[], "", 0, ""),
    ] {
        let (ended, said) = run(command, place, stack);
        assert!(ended == Some(code) && said.contains(says), "{command:?} in `{stack}`: {ended:?}, {said}");
    }
}

/// Wrong: a pod with an unusable configuration looks alive.
#[test]
fn an_unreadable_configuration_ends_the_process() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
    command.args(["--campaign", "test/consumer/x", "--connections", "no-such-file.yaml"]);
    let output = child::output("coupon-consumer", command, PATIENCE).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read no-such-file.yaml"));
}
