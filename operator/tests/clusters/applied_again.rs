//! A campaign that is deleted and applied again, while its window is open.

use std::time::Instant;

use coupon_ledger::database::{self, Heir};
use serde_json::json;

use super::cluster::Cluster;
use super::kubelet::Kubelet;
use super::load::LoadGenerator;
use super::realm::Realm;
use super::wait::until;

/// How many have won before the campaign was deleted.
async fn first_life(realm: &Realm, cluster: &Cluster, kubelet: &Kubelet) -> usize {
    cluster.change(&json!({"spec": {"deletionPolicy": "Retain"}}));
    cluster.is_open().await;
    let load = LoadGenerator::at(realm, &[kubelet.issuer().await]);
    load.has_won(50).await;
    load.leaves().await;
    cluster.delete();
    until("the object goes", async || cluster.object().is_none().then_some(())).await;
    cluster.collects_garbage();
    load.told.lock().unwrap().len()
}

/// Wrong: its issuers are made before its epoch is opened, deleted as they do not answer yet, and waited for: it is closed for twenty
/// seconds, with a warning that sends people to a Node.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_applied_again_is_open_as_soon_as_a_pod_has_started() {
    let realm = Realm::new();
    let cluster = realm.cluster("a");
    let kubelet = Kubelet::of(&cluster);
    let won = first_life(&realm, &cluster, &kubelet).await;
    let (ended, begun) = (kubelet.ended(), Instant::now());
    realm.is_applied_in(&cluster);
    let load = LoadGenerator::at(&realm, &[kubelet.issuer().await]);
    load.has_won(1).await;
    println!("closed for {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(kubelet.ended(), ended, "a pod that was starting was deleted");
    assert!(!cluster.events().iter().any(|reason| reason == "RepairBlocked"), "{:?}", cluster.events());
    let told = cluster.said("LedgerAdopted");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("a ledger with {won} winners")), "{won}: {told:?}");
    let said = cluster.says("LedgerAdopted", "True", "LedgerNotEmpty").await;
    assert!(said.contains(&format!("had {won} coupons issued")), "{won}: {said}");
    load.leaves().await;
}

/// Wrong: the process ends when it has put the object's name on the ledger, and nobody ever says that an old ledger goes on; or each process
/// says so again.
#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_is_told_once_also_where_the_operator_ends_in_the_middle_of_it() {
    let realm = Realm::new();
    let mut cluster = realm.cluster("a");
    let kubelet = Kubelet::of(&cluster);
    let won = first_life(&realm, &cluster, &kubelet).await;
    cluster.stop().await;
    realm.is_applied_in(&cluster);
    // All that a process has done that ended right then.
    let object = cluster.object().unwrap();
    let heir = Heir { cluster: "a", uid: object["metadata"]["uid"].as_str().unwrap() };
    assert!(database::claim(&realm.systems.sql, &realm.row().await, heir, false).await.unwrap());
    cluster.starts();
    let said = cluster.says("LedgerAdopted", "True", "LedgerNotEmpty").await;
    assert!(said.contains(&format!("had {won} coupons issued")), "{won}: {said}");
    cluster.is_open().await;
    for peak in [10, 20] {
        cluster.stop().await;
        cluster.starts();
        cluster.change(&json!({"spec": {"expectedPeakRps": peak}}));
        cluster.has_seen_its_spec().await;
    }
    assert_eq!(cluster.said("LedgerAdopted").len(), 1, "{:?}", cluster.said("LedgerAdopted"));
}
