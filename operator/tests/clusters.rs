//! Two clusters that share a realm: two operators, each with an API server of its own, on one Redis, Kafka and database;
//! and the life of a campaign in one of them. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

mod clusters {
    mod api;
    mod applied_again;
    mod checks;
    pub(crate) mod cluster;
    mod kubelet;
    pub(crate) mod load;
    mod named;
    pub(crate) mod realm;
    mod repairs;
    mod retained;
    mod routes;
    pub(crate) mod wait;
}

use std::time::Instant;

use operator::ledger::repair::watch::SETTLE;
use operator::reconcile::{CLUSTER_GONE_ANNOTATION, TAKE_OVER_ANNOTATION};
use serde_json::json;

use clusters::load::LoadGenerator;
use clusters::realm::Realm;
use clusters::wait::until;

/// Wrong: the operator of a second cluster takes a campaign over without a word, and its deletion removes what the first one uses (M21, SC-11).
#[tokio::test(flavor = "multi_thread")]
async fn of_two_clusters_one_has_the_ledger_and_the_other_touches_nothing() {
    let realm = Realm::new();
    let mut a = realm.cluster("a");
    a.is_open().await;
    let issuer = a.issuer().await;
    let load = LoadGenerator::at(&realm, &[issuer]);
    load.has_won(50).await;
    load.leaves().await;
    // What is compared must not change by itself.
    a.stop().await;
    let before = realm.everything().await;

    let b = realm.cluster("b");
    let stalled = b.is_stalled("LedgerOwnedElsewhere").await;
    assert!(stalled.contains("belongs to cluster a, and this one is b:"), "{stalled}");
    b.change(&json!({"spec": {"suspend": true, "totalQuantity": 700_000}}));
    b.has_seen_its_spec().await;
    b.change(&json!({"metadata": {"annotations": {TAKE_OVER_ANNOTATION: "a/7"}}, "spec": {"suspend": false}}));
    b.has_seen_its_spec().await;
    assert!(b.made_nothing());
    b.delete();
    until("the object goes", async || b.object().is_none().then_some(())).await;
    assert_eq!(realm.everything().await, before);
}

/// Wrong: winners of the old cluster's issuers lie behind the new cluster's barrier, and nobody has them; or an annotation that stays takes
/// the ledger back.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_handed_over_and_back_while_people_win() {
    let realm = Realm::new();
    let (a, b) = (realm.cluster("a"), realm.cluster("b"));
    let (first, second) = tokio::select! {
        () = a.is_open() => (a, b),
        () = b.is_open() => (b, a),
    };
    let load = LoadGenerator::at(&realm, &[first.issuer().await, first.issuer().await]);
    load.has_won(200).await;

    second.takes_over().await;
    second.is_open().await;
    first.is_stalled("LedgerOwnedElsewhere").await;
    until("its pods go", async || first.has_no_pods().then_some(())).await;
    load.goes_to(&[second.issuer().await, second.issuer().await]);
    load.has_won(200).await;

    first.takes_over().await;
    first.is_open().await;
    second.is_stalled("LedgerOwnedElsewhere").await;
    load.goes_to(&[first.issuer().await]);
    load.has_won(200).await;
    assert_eq!(realm.row().await.custody.changes, 2, "what is annotated still is over");
    load.leaves().await;
    realm.everybody_has_what_they_were_told(&load).await;

    // Who closes it for good lets go of it.
    first.delete();
    until("the object goes", async || first.object().is_none().then_some(())).await;
    until("the other goes on", async || (realm.row().await.custody.owner.as_deref() == Some(second.uid)).then_some(()))
        .await;
}

/// Wrong: a `clusterId` that is set on a running install makes each ledger another cluster's, and closes every sale; or issuers of before do
/// not find the next epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_gets_a_name_goes_on_with_its_ledgers() {
    let realm = Realm::new();
    let mut a = realm.cluster("a");
    a.is_open().await;
    let load = LoadGenerator::at(&realm, &[a.issuer().await]);
    load.has_won(50).await;
    let epoch = realm.row().await.epoch;
    a.is_called(Some("seoul")).await;
    a.change(&json!({"spec": {"totalQuantity": 600_000}}));
    a.has_seen_its_spec().await;
    load.has_won(50).await;
    let row = realm.row().await;
    assert_eq!(
        (row.epoch, row.custody.owner.as_deref(), row.custody.changes),
        (epoch, Some("a"), 0),
        "issuers know it so"
    );
    // As a pod that died and came up again, under the name that it was started with.
    load.goes_to(&[a.issuer().await]);
    load.has_won(50).await;
    load.leaves().await;

    a.change(&json!({"spec": {"window": {"end": realm.start_and(1)}}}));
    a.is("Draining").await;
    realm.everybody_has_what_they_were_told(&load).await;
    realm.commits().await;
    a.is("Completed").await;
    a.loses_its_pods().await;
    // A pass at once, and not within a minute.
    a.change(&json!({"spec": {"expectedPeakRps": 10}}));
    until("the row has the name", async || (realm.row().await.custody.owner.as_deref() == Some("seoul")).then_some(()))
        .await;

    // Under another name it does nothing, and knows that the ledger is this very object's.
    a.is_called(None).await;
    let said = a.is_stalled("ClusterNameChanged").await;
    assert!(said.contains("under the name seoul, and this cluster is called a now"), "{said}");
    a.is_called(Some("seoul")).await;
    a.says("Ready", "True", "AllChecksPassed").await;
}

/// Wrong: where the operator of the old cluster is gone nobody can go on; or the issuers that it left go on.
#[tokio::test(flavor = "multi_thread")]
async fn issuers_that_nobody_reaches_are_fenced_in_redis() {
    let realm = Realm::new();
    let mut a = realm.cluster("a");
    a.is_open().await;
    let old = [a.issuer().await, a.issuer().await];
    let load = LoadGenerator::at(&realm, &old);
    load.has_won(200).await;
    a.stop().await;
    let b = realm.cluster("b");
    let begun = Instant::now();
    b.takes_over().await;
    b.is_open().await;
    assert!(begun.elapsed() >= SETTLE, "what they had under way: {:?}", begun.elapsed());
    // They are asked all the while, and do not serve what the new owner has opened.
    let opened = Instant::now();
    load.goes_to(&[old[0], old[1], b.issuer().await]);
    load.has_won(200).await;
    load.leaves().await;
    assert!(!load.was_told_by(&old, opened));
    realm.everybody_has_what_they_were_told(&load).await;
}

/// Wrong: another Redis than the one that answers still gives ranks to the old cluster's issuers.
#[tokio::test(flavor = "multi_thread")]
async fn where_redis_cannot_fence_them_somebody_has_to_vouch() {
    let realm = Realm::new();
    let mut a = realm.cluster("a");
    a.is_open().await;
    a.stop().await;
    realm.redis_is_another_one().await;
    let b = realm.cluster("b");
    b.takes_over().await;
    let said = b.waits_for("RedisKeysReady", "OwnerNotFenced").await;
    assert!(said.contains("this Redis is not the one"), "{said}");
    assert!(said.contains("coupon-operator.io/cluster-gone=a"), "{said}");
    b.change(&json!({"metadata": {"annotations": {CLUSTER_GONE_ANNOTATION: "a"}}}));
    b.is_open().await;
}
