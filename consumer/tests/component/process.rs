//! The real binary.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use campaign::identity::CampaignId;
use campaign::settings::Connections;
use campaign::yaml;
use consumer::SESSION;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack::child::{self, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{PATIENCE, Stage, eventually};

/// A running `coupon-consumer`; killed when dropped.
pub struct Process {
    running: Mutex<Running>,
    probe: SocketAddr,
}

impl Process {
    pub fn start(stage: &Stage) -> Self {
        Self::start_with(&stage.campaign, &stage.connections, &[])
    }

    /// With other connections, and more in its environment. What it says goes to a file, see [`Process::said`].
    pub fn start_with(campaign: &CampaignId, connections_to: &Connections, environment: &[(&str, &str)]) -> Self {
        let folder = child::folder("coupon-consumer").unwrap();
        let connections = folder.join("connections.yaml");
        std::fs::write(&connections, yaml::to_string(connections_to).unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"));
        command
            .env("COUPON_CAMPAIGN", campaign.to_string())
            .env("COUPON_CONNECTIONS", &connections)
            .env("COUPON_PROBE_LISTEN", "127.0.0.1:0")
            .env("COUPON_LOG_JSON", "true")
            .env("COUPON_BATCH", "50")
            .env("POD_NAME", "consumer-0")
            .envs(environment.iter().copied());
        let mut running = Running::start("coupon-consumer", command, folder).unwrap();
        let probe = running.addresses(PATIENCE).unwrap()["probe"];
        Self { running: Mutex::new(running), probe }
    }

    /// All that it has logged.
    pub fn said(&self) -> String {
        self.running.lock().unwrap().said()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.running.lock().unwrap().id().cast_signed()), signal).unwrap();
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.running.lock().unwrap().ended().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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

    pub async fn ready(&self) {
        eventually("ready", async || {
            self.running.lock().unwrap().alive().unwrap();
            self.get("/readyz").await.is_some_and(|(code, _)| code == 200)
        })
        .await;
    }
}

/// Wrong: each rollout and scale-down reads records again, or loses some.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stores_and_commits_what_is_in_hand() {
    let stage = Stage::new(3).await;
    let mut process = Process::start(&stage);
    process.ready().await;
    assert_eq!(process.get("/healthz").await.unwrap().0, 200);
    stage.publish((1..=5000).map(|rank| stage.winner(rank))).await;
    eventually("it is at work", async || stage.stored().await > 0).await;
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
    let committed: i64 = stage.committed().await.values().sum();
    assert_eq!(
        u64::try_from(committed).unwrap(),
        stage.stored().await,
        "what is stored is committed, and nothing else"
    );

    let mut process = Process::start(&stage);
    stage.publish((5001..=5500).map(|rank| stage.winner(rank))).await;
    eventually("the rest is stored", async || stage.stored().await == 5500).await;
    stage.all_committed().await;
    // The last one shows when the broker's answer to the commit was polled.
    let committed = "coupon_consumer_committed_offset{partition=\"0\"}";
    eventually("the commit shows", async || {
        process.get("/metrics").await.is_some_and(|(_, all)| all.contains(committed))
    })
    .await;
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

/// Kafka's wait for the dead consumer, and time for its heir to join and store.
const INHERITED: Duration = SESSION.saturating_add(Duration::from_secs(12));

/// Wrong: a node that dies takes winners with it, or keeps them from everybody for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_consumer_loses_nothing() {
    let stage = Stage::new(2).await;
    let mut process = Process::start(&stage);
    process.ready().await;
    stage.publish((1..=3000).map(|rank| stage.winner(rank))).await;
    eventually("it is at work", async || stage.stored().await > 0).await;
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
    stage.campaign = CampaignId::new("test", "consumer", "no-such-row").unwrap();
    let mut process = Process::start(&stage);
    eventually("it says why", async || {
        process.get("/readyz").await.is_some_and(|(code, why)| code == 503 && why.contains("the operator creates it"))
    })
    .await;
    assert_eq!(process.get("/healthz").await.unwrap().0, 200);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
}

/// Wrong: a pod with an unusable configuration looks alive.
#[test]
fn an_unreadable_configuration_ends_the_process() {
    let output = Command::new(env!("CARGO_BIN_EXE_coupon-consumer"))
        .args(["--campaign", "test/consumer/x", "--connections", "no-such-file.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read no-such-file.yaml"));
}
