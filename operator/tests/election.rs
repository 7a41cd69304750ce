//! Leader election at a real API server, whose optimistic locking is what keeps two candidates apart. Needs KUBECONFIG.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::kubernetes::{DEADLINE, Kubernetes, until};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, Patch, PatchParams};
use operator::controller::leader_election::Election;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Less than the 15 s after which a lease expires by itself.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Time for a lease of 15 s that nobody renews to expire.
const EXPIRED: Duration = Duration::from_secs(45);
/// A candidate looks once a second: long enough to see that one does not take what it must not take.
const SOME_LOOKS: Duration = Duration::from_millis(2500);

/// One namespace, and so one lease.
struct Place {
    kubernetes: Kubernetes,
    leases: Api<Lease>,
}

impl Place {
    async fn new() -> Self {
        let kubernetes = Kubernetes::connect().await;
        let leases = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
        Self { kubernetes, leases }
    }

    fn candidate(&self, name: &str) -> Arc<Election> {
        Arc::new(Election::new(self.kubernetes.client.clone(), &self.kubernetes.namespace, name))
    }

    async fn lease(&self) -> LeaseSpec {
        self.leases.get("coupon-operator").await.unwrap().spec.unwrap()
    }

    async fn holder(&self) -> Option<String> {
        self.lease().await.holder_identity
    }

    /// Writes into the lease, as another operator would.
    async fn write(&self, holder: &str, renewed: jiff::Timestamp) {
        let spec = json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": format!("{renewed:.6}")}});
        self.leases.patch("coupon-operator", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    }
}

async fn at_once(election: &Election) {
    timeout(AT_ONCE, election.acquire()).await.expect("takes the lease at once");
}

#[tokio::test]
async fn of_two_candidates_one_wins_and_the_other_follows_when_it_lets_go() {
    let place = Place::new().await;
    let (first, second) = (place.candidate("first"), place.candidate("second"));
    at_once(&first).await;
    assert_eq!(place.holder().await.as_deref(), Some("first"));
    assert!(timeout(SOME_LOOKS, second.acquire()).await.is_err(), "taken from a holder that is alive");

    second.release().await;
    assert_eq!(place.holder().await.as_deref(), Some("first"), "nobody lets go of what is another's");

    first.release().await;
    at_once(&second).await;
    let lease = place.lease().await;
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("second"), Some(2)));
    place.kubernetes.remove().await;
}

#[tokio::test]
async fn of_many_that_see_the_lease_expire_one_takes_it() {
    // All read the same expired lease and write at once: all writes but one meet a conflict, and that is a no.
    let place = Place::new().await;
    at_once(&place.candidate("dead")).await;
    place.write("dead", "2020-01-01T00:00:00Z".parse().unwrap()).await;
    let mut candidates = JoinSet::new();
    for number in 0..8 {
        let candidate = place.candidate(&format!("candidate-{number}"));
        candidates.spawn(async move {
            candidate.acquire().await;
            number
        });
    }
    let winner =
        timeout(EXPIRED, candidates.join_next()).await.expect("one takes it when it has expired").unwrap().unwrap();
    assert!(timeout(SOME_LOOKS, candidates.join_next()).await.is_err(), "two believe that they lead");
    let lease = place.lease().await;
    assert_eq!(lease.holder_identity, Some(format!("candidate-{winner}")));
    assert_eq!(lease.lease_transitions, Some(2), "from nobody to `dead`, and from `dead` to one of them");
    candidates.shutdown().await;
    place.kubernetes.remove().await;
}

#[tokio::test]
async fn a_holder_renews_and_stays_the_one_that_it_was() {
    let place = Place::new().await;
    let holder = place.candidate("holder");
    at_once(&holder).await;
    let before = place.lease().await;
    let keeping = tokio::spawn({
        let holder = holder.clone();
        async move { holder.renew(|| {}).await }
    });
    let after = until("the lease is renewed", async || {
        let lease = place.lease().await;
        (lease.renew_time != before.renew_time).then_some(lease)
    })
    .await;
    assert_eq!((after.holder_identity, after.acquire_time), (before.holder_identity, before.acquire_time));
    assert_eq!(after.lease_transitions, before.lease_transitions);
    assert!(!keeping.is_finished());
    keeping.abort();
    place.kubernetes.remove().await;
}

#[tokio::test]
async fn a_holder_stops_when_somebody_else_has_the_lease() {
    let place = Place::new().await;
    let holder = place.candidate("holder");
    at_once(&holder).await;
    let keeping = tokio::spawn(async move { holder.renew(|| {}).await });
    place.write("usurper", jiff::Timestamp::now()).await;
    let lost = timeout(DEADLINE, keeping).await.expect("notices").unwrap();
    assert_eq!(lost.to_string(), "the lease was lost: somebody else holds it");
    assert_eq!(place.holder().await.as_deref(), Some("usurper"), "and does not take it back");
    place.kubernetes.remove().await;
}
