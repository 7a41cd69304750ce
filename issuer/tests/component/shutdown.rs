//! The real program, told to end in the middle of a burst.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::Signal;
use stack::child;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{Fixture, terms};
use super::process::{PATIENCE, Process};

/// With this delay between the signal and the end of serving.
fn start(fixture: &Fixture, delay: Duration) -> Process {
    let delay = delay.as_millis().to_string();
    Process::start(fixture, &fixture.workload, &[("COUPON_SHUTDOWN_DELAY_MS", delay.as_str())])
}

/// Would fail if a rank were taken whose user never hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_got_a_rank_is_told_so() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let program = start(&fixture, Duration::ZERO);
    let users = &program.users;
    program.ready().await;

    let (users_ref, burst) = (users, 400);
    let asking = join_all((0..burst).map(|i| async move {
        let user = format!("user-{i}");
        let told = users_ref.try_ask(&user, None).await;
        (user, told)
    }));
    let ending = async {
        let issued = async || (fixture.state().await.issued > 0).then_some(());
        program.eventually("the burst is under way", issued).await;
        program.signal(Signal::SIGTERM);
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
    assert_eq!(fixture.durable().await.len(), told.len(), "and everyone is durable");
}

/// Would fail if users met a closed door before load balancers could know.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_while_it_is_not_ready_any_more() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    // So long that everything below happens within it, on a machine that is busy, too.
    let program = start(&fixture, 2 * PATIENCE);
    program.ready().await;
    program.signal(Signal::SIGTERM);
    program.eventually("readiness fails", async || (program.readiness().await == Some(503)).then_some(())).await;
    assert_eq!(program.users.ask("anna").await.rank(), 1);
}

/// Asks over one connection until it is told that the connection ends, then over the next; until nobody answers the door. How many were
/// answered, and how many were sent and not answered.
async fn keeps_asking(address: String, name: usize) -> (usize, usize) {
    let mut answered = 0;
    while let Ok(mut stream) = TcpStream::connect(&address).await {
        loop {
            let body = format!(r#"{{"userId":"kept-{name}-{answered}"}}"#);
            let request = format!(
                "POST /api/coupons/spring/issue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let (mut told, mut piece) = (String::new(), [0; 2048]);
            if stream.write_all(request.as_bytes()).await.is_err() {
                return (answered, 1);
            }
            while !told.ends_with('}') {
                match stream.read(&mut piece).await {
                    Ok(n) if n > 0 => told.push_str(std::str::from_utf8(&piece[..n]).unwrap()),
                    _ => return (answered, 1),
                }
            }
            answered += 1;
            if told.contains("connection: close") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    (answered, 0)
}

/// Would fail if who keeps a connection learnt of the end by a request that nobody answers: a POST is not repeated by proxies.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_a_connection_is_told_that_it_ends() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let program = start(&fixture, Duration::from_secs(2));
    program.ready().await;
    let url = program.users.issue_url();
    let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let asking = join_all((0..20).map(|name| keeps_asking(address.clone(), name)));
    let ending = async {
        let issued = async || (fixture.state().await.issued > 100).then_some(());
        program.eventually("they ask", issued).await;
        program.signal(Signal::SIGTERM);
    };
    let (told, ()) = tokio::join!(asking, ending);
    assert!(told.iter().all(|(answered, lost)| *answered > 0 && *lost == 0), "answered and lost: {told:?}");
}

/// Would fail if it went at once, or stayed.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_delay_is_over_it_ends() {
    let fixture = Fixture::open(terms(100_000, 1)).await;
    let delay = Duration::from_secs(1);
    let program = start(&fixture, delay);
    program.ready().await;
    let signalled = Instant::now();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(signalled.elapsed() >= delay, "it serves for the delay, not for {:?}", signalled.elapsed());
    assert!(program.users.try_ask("bert", None).await.is_err());
}

/// Wrong: an image for tests, with faults that its environment arms, issues coupons somewhere.
#[test]
fn a_test_build_works_only_inside_of_a_stack() {
    let run = |arguments: &[&str], stack: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"));
        command.args(arguments).env("COUPON_CAMPAIGN", "a/b/c").env("COUPON_CONNECTIONS", "/nowhere/connections.yaml");
        command.env("COUPON_CONTROL_TOKEN_FILE", "/nowhere/token").env("COUPON_STACK", stack);
        let output = child::output("coupon-issuer", command, PATIENCE).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, stack, code, says) in [
        (&[][..], "", 1, "this is a test build"),
        (&[], "demo", 1, "cannot read /nowhere/connections.yaml"),
        (&["openapi"], "", 0, ""),
        (&["--version"], "", 0, ""),
    ] {
        let (ended, said) = run(arguments, stack);
        assert!(ended == Some(code) && said.contains(says), "{arguments:?} in `{stack}`: {ended:?}, {said}");
    }
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"));
    command
        .env("COUPON_CAMPAIGN", "a/b/c")
        .env("COUPON_CONNECTIONS", "/nowhere/connections.yaml")
        .env("COUPON_CONTROL_TOKEN_FILE", "/nowhere/token");
    let output = child::output("coupon-issuer", command, PATIENCE).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("cannot read /nowhere/connections.yaml"), "{error}");
}
