//! A short run of chaos with faults that hurt nobody but its own campaigns. `make chaos` does the rest.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use e2e::chaos::checker::Breach;
use e2e::chaos::fault::Plan;
use e2e::chaos::report::{Summary, line};
use e2e::chaos::test_bed::TestBed;
use e2e::install;
use stack::Connections;

/// On a shared stack: an issuer is killed; an issuer is evicted, and a second fault happens; a link is half-closed.
const SEEDS: [u64; 3] = [20, 14, 29];

#[tokio::test]
async fn a_short_run_loses_nothing() {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    let mut bed = TestBed::new(connections, "chaos-short", true).await.unwrap();
    let evidence = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/chaos/short"));
    let mut summary = Summary::default();
    for seed in SEEDS {
        let outcome = bed.round(Plan::new(seed, bed.topology), &evidence.join(seed.to_string())).await.unwrap();
        println!("{}", line(&outcome));
        summary.add(&outcome);
    }
    // And the machine can fail: a row that is taken away is noticed.
    bed.forge = true;
    let outcome = bed.round(Plan::new(SEEDS[0], bed.topology), &evidence.join("forged")).await.unwrap();
    let breaches: Vec<Breach> = outcome.violations.iter().map(|each| each.breach).collect();
    assert!(breaches.starts_with(&[Breach::Lost]) && breaches.contains(&Breach::Short), "{:?}", outcome.violations);

    println!("{}\n{}", summary.table(), summary.line());
    assert!(summary.is_good(), "the evidence is in {}", evidence.display());
    assert_eq!(summary.rounds, SEEDS.len());
    assert!(summary.faults >= 3 && summary.answered > 3000, "{summary:?}");
    bed.leave().await.unwrap();
}
