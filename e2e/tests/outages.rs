//! Short versions of what `make outages` does for long: the operator works without its repair loop, and dies in the middle of
//! its protocol. Alone in its binary: the operator is everybody's.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use coupon_core::failpoints::{CrashPoint, Safeguard};
use e2e::chaos::checker::{Breach, Violation, count};
use e2e::chaos::test_bed::TestBed;
use e2e::install;
use e2e::outages::crash::{Size, one};
use e2e::outages::fault_injector::{FaultInjector, WITHOUT};
use e2e::outages::without::{By, repair_loop};
use stack::Connections;

/// One look of the repair loop takes 12 s and some passes.
const LOOK: Duration = Duration::from_secs(16);
/// Three chunks of winners: the operator dies in the middle of them.
const SMALL: Size = Size { coupons: 1_100, before: 1_050, stretch: Duration::from_secs(2) };

#[tokio::test]
async fn the_operator_is_needed_and_may_die_at_any_time() {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    let bed = TestBed::new(connections, "outages-short", true).await.unwrap();
    let operator = FaultInjector::operator(&bed.kubernetes);

    operator.set(WITHOUT, Some(&Safeguard::RepairLoop.to_string())).await.unwrap();
    let told = repair_loop(&bed, &operator, By::Call, LOOK).await;
    operator.mend().await.unwrap();
    let (without, with) = told.unwrap();
    assert!(count(&without, Breach::Short) > 0, "nobody looked for them, and they were found: {without:?}");
    assert_eq!(count(&without, Breach::Lost), 0, "nobody was told: {without:?}");
    assert_eq!(with, Vec::<Violation>::new());

    let evidence = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/outages/short"));
    let crashed = one(&bed, CrashPoint::AfterChunk, SMALL, evidence).await.unwrap();
    assert!(crashed.deaths > 0 && crashed.violations.is_empty(), "{crashed:?}");
    assert_eq!(crashed.rows as u64, SMALL.coupons);

    bed.leave().await.unwrap();
}
