//! A world in which nothing changes: the operator writes nothing. Alone in its test binary, so that nobody else writes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::campaign::{Sale, manifest};
use e2e::install::{self, kubectl};
use e2e::issuer_client::{count_code, users};
use e2e::many::meter;
use kube::Client;
use rand::RngExt;
use stack::Connections;
use tokio::time::{Instant, sleep};

/// Writes to the API server so far that concern what the operator writes, by anybody. Leases are renewed all the time.
async fn writes() -> BTreeMap<String, f64> {
    meter::writes(&kubectl(&["get", "--raw", "/metrics"]).await.unwrap())
}

/// Resident memory of the operator in KiB, as the kernel counts it.
fn operator_memory_kib() -> u64 {
    let of = |folder: std::fs::DirEntry| -> Option<u64> {
        let command = std::fs::read(folder.path().join("cmdline")).ok()?;
        if !command.starts_with(b"coupon-operator\0run") {
            return None;
        }
        let status = std::fs::read_to_string(folder.path().join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let found = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(of).max();
    found.expect("the operator runs on this machine")
}

#[tokio::test]
async fn a_pass_in_which_nothing_changed_writes_nothing() {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    let namespace = format!("quiet-{:06x}", rand::rng().random_range(0..0x100_0000));
    install::namespace(&namespace, true).await.unwrap();
    let client = Client::try_default().await.unwrap();
    let open = Sale::apply(&client, manifest(&namespace, "open", 100, -1, 3600)).await.unwrap();
    let later = Sale::apply(&client, manifest(&namespace, "later", 100, 30 * 24 * 3600, 31 * 24 * 3600)).await.unwrap();
    let answers = open.issuer().await.unwrap().rush(&users("user", 10)).await;
    assert_eq!(count_code(&answers, "ISSUED"), 10, "{answers:?}");
    let all = Duration::from_secs(60);
    open.until("Ready, with its counters", all, |c| {
        Sale::is_ready(c) && c.status.as_ref().is_some_and(|s| s.persisted == Some(10) && s.lag == Some(0))
    })
    .await
    .unwrap();
    later.until("Ready", all, Sale::is_ready).await.unwrap();

    // Pods start and report for a moment longer. Then a stretch that holds several passes must be without any write.
    let deadline = Instant::now() + Duration::from_secs(180);
    let stretch = Duration::from_secs(12);
    let status = async || [open.get().await.unwrap().status, later.get().await.unwrap().status];
    loop {
        let (before, was) = (writes().await, status().await);
        sleep(stretch).await;
        let (after, is) = (writes().await, status().await);
        if after == before {
            break;
        }
        if Instant::now() > deadline {
            let more = after.iter().filter(|(verb, count)| before.get(*verb) != Some(count)).collect::<Vec<_>>();
            panic!("still writing after {} s: {more:?}\nfrom {was:#?}\nto {is:#?}", stretch.as_secs());
        }
    }
    let memory = operator_memory_kib();
    println!("operator: {memory} KiB resident");
    assert!(memory < 64 * 1024, "the operator takes {memory} KiB");
    kubectl(&["delete", "namespace", &namespace, "--wait=false"]).await.unwrap();
}
