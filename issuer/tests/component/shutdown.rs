//! The real program, told to end in the middle of a burst.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::fixture::{Fixture, TOKEN, Users, eventually, terms};

/// The program as a process of its own; killed when dropped.
struct Program {
    child: Child,
    folder: PathBuf,
    public: String,
    probe: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Program {
    fn start(fixture: &Fixture, delay_ms: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("coupon-issuer-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        let (connections, token) = (folder.join("connections.yaml"), folder.join("token"));
        std::fs::write(&connections, campaign_yaml(fixture)).unwrap();
        std::fs::write(&token, TOKEN).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"))
            .env("COUPON_CAMPAIGN", fixture.campaign.to_string())
            .env("COUPON_CONNECTIONS", &connections)
            .env("COUPON_CONTROL_TOKEN_FILE", &token)
            .env("COUPON_LISTEN", "127.0.0.1:0")
            .env("COUPON_CONTROL_LISTEN", "127.0.0.1:0")
            .env("COUPON_PROBE_LISTEN", "127.0.0.1:0")
            .env("COUPON_LOG_JSON", "true")
            .env("COUPON_SHUTDOWN_DELAY_MS", delay_ms.to_string())
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let listening = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the program ended before it listened");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "listening" {
                break entry;
            }
        };
        // Read on, or the program would wait for room in the pipe.
        std::thread::spawn(move || log.lines().for_each(drop));
        let at = |name: &str| format!("http://{}", listening[name].as_str().unwrap());
        Self { child, folder, public: at("public"), probe: at("probe") }
    }

    fn terminate(&self) {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
    }

    async fn ready(&self, users: &Users) -> u16 {
        match users.http.get(format!("{}/readyz", self.probe)).send().await {
            Ok(response) => response.status().as_u16(),
            Err(_) => 0,
        }
    }

    /// Waits for the end; the exit code.
    async fn ended(&mut self) -> Option<i32> {
        eventually("the program ends", async || self.child.try_wait().unwrap()).await.code()
    }
}

fn campaign_yaml(fixture: &Fixture) -> String {
    // JSON is YAML.
    serde_json::to_string(&fixture.workload).unwrap()
}

/// Would fail if a rank were taken whose user never hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_got_a_rank_is_told_so() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let mut program = Program::start(&fixture, 0);
    let users = Users::new(program.public.clone(), "spring");
    eventually("the program is ready", async || (program.ready(&users).await == 200).then_some(())).await;

    let (users_ref, burst) = (&users, 400);
    let asking = join_all((0..burst).map(|i| async move {
        let user = format!("user-{i}");
        let told = users_ref.try_ask(&user, None).await;
        (user, told)
    }));
    let ending = async {
        eventually("the burst is under way", async || (fixture.state().await.issued > 0).then_some(())).await;
        program.terminate();
    };
    let (told, ()) = tokio::join!(asking, ending);
    let told: BTreeMap<u64, String> = told
        .into_iter()
        .filter_map(|(user, told)| match told {
            Ok(told) => {
                assert_eq!(told.status, 200, "{told:?}");
                Some((told.rank(), user))
            }
            // Not accepted any more. That it took no rank is checked below.
            Err(_) => None,
        })
        .collect();
    assert_eq!(program.ended().await, Some(0));
    assert!(!told.is_empty());
    assert_eq!(fixture.ranks().await, told, "everyone who holds a rank was told, and nobody else");
    assert_eq!(fixture.records().await.len(), told.len(), "and everyone is in the log");
}

/// Would fail if users met a closed door before load balancers could know.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_while_it_is_not_ready_any_more() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let mut program = Program::start(&fixture, 1_000);
    let users = Users::new(program.public.clone(), "spring");
    eventually("the program is ready", async || (program.ready(&users).await == 200).then_some(())).await;
    let signalled = Instant::now();
    program.terminate();
    eventually("readiness fails", async || (program.ready(&users).await == 503).then_some(())).await;
    assert!(signalled.elapsed() < Duration::from_millis(900), "too slow a machine to see it");
    assert_eq!(users.ask("anna").await.rank(), 1);
    assert_eq!(program.ended().await, Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(10), "ended within its bound");
    assert!(users.try_ask("bert", None).await.is_err());
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let run = |token: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"))
            .env("COUPON_CAMPAIGN", "a/b/c")
            .env("COUPON_CONNECTIONS", "/nowhere/connections.yaml")
            .env("COUPON_CONTROL_TOKEN_FILE", token)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (success, error) = run("/nowhere/token");
    assert!(!success && error.contains("cannot read /nowhere/connections.yaml"), "{error}");
}
