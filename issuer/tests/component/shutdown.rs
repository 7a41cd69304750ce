//! The real program, told to end in the middle of a burst.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::fixture::{Fixture, eventually, terms};
use super::process::Process;

fn start(fixture: &Fixture, delay_ms: u64) -> Process {
    Process::start(fixture, &fixture.workload, &[("COUPON_SHUTDOWN_DELAY_MS", &delay_ms.to_string())])
}

fn terminate(process: &Process) {
    let killed = Command::new("kill").arg("-TERM").arg(process.id().to_string()).status().unwrap();
    assert!(killed.success());
}

/// Would fail if a rank were taken whose user never hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_got_a_rank_is_told_so() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let program = start(&fixture, 0);
    let users = &program.users;
    program.ready().await;

    let (users_ref, burst) = (users, 400);
    let asking = join_all((0..burst).map(|i| async move {
        let user = format!("user-{i}");
        let told = users_ref.try_ask(&user, None).await;
        (user, told)
    }));
    let ending = async {
        eventually("the burst is under way", async || (fixture.state().await.issued > 0).then_some(())).await;
        terminate(&program);
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
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(!told.is_empty());
    assert_eq!(fixture.ranks().await, told, "everyone who holds a rank was told, and nobody else");
    assert_eq!(fixture.records().await.len(), told.len(), "and everyone is in the log");
}

/// Would fail if users met a closed door before load balancers could know.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_while_it_is_not_ready_any_more() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let program = start(&fixture, 1_000);
    let users = &program.users;
    program.ready().await;
    let signalled = Instant::now();
    terminate(&program);
    eventually("readiness fails", async || (program.readiness().await == Some(503)).then_some(())).await;
    assert!(signalled.elapsed() < Duration::from_millis(900), "too slow a machine to see it");
    assert_eq!(users.ask("anna").await.rank(), 1);
    assert_eq!(program.ended().await.code(), Some(0));
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
