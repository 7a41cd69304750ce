//! Suspending works whatever is away, within seconds. Alone in its binary: everybody's servers are killed.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use e2e::chaos::test_bed::TestBed;
use e2e::install;
use e2e::outages::suspended::{Away, without};
use stack::Connections;

#[tokio::test]
async fn a_sale_is_suspended_within_seconds_whatever_is_away() {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    let bed = TestBed::new(connections, "suspended-short", true).await.unwrap();
    let evidence = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/outages/suspended"));
    for away in [Away::Redis, Away::Database] {
        let report = without(&bed, away, evidence).await.unwrap();
        println!("{}", report.line());
        assert!(report.is_good(), "{away:?}: {:?}", report.broken());
    }
    bed.leave().await.unwrap();
}
