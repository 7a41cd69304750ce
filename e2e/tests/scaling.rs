//! Kafka is cut off from the operator while much waits: nothing is scaled in the dark. Alone in its binary: its class leads
//! through proxies at fixed addresses.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use e2e::chaos::arena::Arena;
use e2e::chaos::fault::{Link, Role, Service, Trouble};
use e2e::install;
use e2e::scaling::watch::{Stream, Watch};
use serde_json::json;
use stack::Connections;

const COUPONS: u64 = 6_000;
const SOON: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_lag_that_cannot_be_read_holds_the_pods() {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    let arena = Arena::new(connections, "scaling-short", true).await.unwrap();
    let open = arena
        .open_as("blind", COUPONS, 1, |spec| {
            spec["window"]["start"] = json!(e2e::campaign::from_now(-120));
            spec["partitions"] = json!(4);
            spec["consumer"] = json!({"drainTargetSeconds": 5});
        })
        .await
        .unwrap();
    let operator = arena.injector(&open).addresses(Role::Operator).await.unwrap();
    let slow = arena.links.slow(Service::Database, Duration::from_millis(500), operator.clone());
    let stream = Stream::default();
    let kafka = &arena.sources.kafka;
    let mut watch = Watch::new(arena.kubernetes.clone(), kafka, &open.campaign, "blind", &stream).unwrap();
    let door = open.door(Duration::from_secs(15)).unwrap();
    let watching = async {
        assert!(watch.until(SOON, |seen| seen.wanted > 1 && seen.lag > 500).await.unwrap(), "{:?}", watch.samples);
        let link = Link::Inner(Role::Operator, Service::Kafka);
        let cut = arena.links.begin(link, Trouble::Cut, &open.users, operator);
        let before = watch.look().await.unwrap().wanted;
        open.sale.until_condition("ScalingActive", "False", "LagUnknown").await.unwrap();
        let moved = watch.until(Duration::from_secs(8), |seen| seen.wanted != before).await.unwrap();
        assert!(!moved, "scaled in the dark: {:?}", watch.samples.last());
        cut.end();
        slow.end();
        open.sale
            .until("ScalingActive", SOON, |found| {
                let conditions = found.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                operator::api::conditions::is_true(conditions, operator::api::ConditionType::ScalingActive)
            })
            .await
            .unwrap();
        assert!(watch.until(SOON, |seen| seen.lag == 0 && seen.issued == COUPONS).await.unwrap());
        let over = watch.until(SOON, |seen| seen.wanted == 0).await.unwrap();
        assert!(over, "sold out and stored: {:?}", watch.samples.last());
    };
    tokio::join!(stream.run(&door, COUPONS, 600), watching);
    assert_eq!(arena.sources.rows(&open.campaign).await.unwrap().len() as u64, COUPONS);
    arena.close(open).await.unwrap();
    arena.cleaned().await.unwrap();
    install::kubectl(&["delete", "namespace", "scaling-short", "--wait=false"]).await.unwrap();
    install::kubectl(&["delete", "campaignclass", "chaos"]).await.unwrap();
}
