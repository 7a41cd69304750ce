//! A version and the next one beside each other, on the way there and back, while people come. Alone in its test binary, as
//! the operator is replaced.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coupon_core::identity::CampaignId;
use coupon_ledger::redis::RedisKeys;
use e2e::campaign::{Sale, manifest};
use e2e::database;
use e2e::install::{self, REALM, kubectl};
use e2e::issuer_client::{IssuerClient, Response};
use e2e::redis_cli::redis;
use e2e::wait::until;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use rand::RngExt;
use sqlx::MySqlPool;
use stack::Connections;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Long enough for pods to start, and a ledger to be repaired, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Between two people.
const PACE: Duration = Duration::from_millis(50);

struct TestCase {
    client: Client,
    connections: Connections,
    pool: MySqlPool,
    sale: Sale,
    campaign: CampaignId,
    /// Who has heard of a rank so far.
    winners: Arc<AtomicU64>,
}

impl TestCase {
    /// Images of the campaign's pods that are not on their way out.
    async fn images(&self) -> Result<BTreeSet<String>, String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.sale.namespace);
        let these = ListParams::default().labels(&format!("coupon-operator.io/campaign={}", self.sale.name));
        let found = pods.list(&these).await.map_err(|error| error.to_string())?.items;
        let staying = found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(staying.flat_map(|pod| pod.spec.unwrap().containers).filter_map(|each| each.image).collect())
    }

    async fn until_images(&self, image: &str) {
        let wanted = BTreeSet::from([image.to_owned()]);
        let all = until("pods of one image", SOON, async || {
            let found = self.images().await?;
            if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
        });
        all.await.unwrap();
    }

    /// So many people more hear of a rank.
    async fn winners_come(&self, what: &str) {
        let before = self.winners.load(Ordering::Relaxed);
        let come = until(what, SOON, async || {
            let now = self.winners.load(Ordering::Relaxed);
            if now >= before + 20 { Ok(()) } else { Err(format!("{} more", now - before)) }
        });
        come.await.unwrap();
    }

    async fn epoch(&self) -> Option<u64> {
        database::open_epoch(&self.pool, REALM, &self.sale.namespace, self.campaign.coupon_id()).await.unwrap()
    }

    /// Redis loses what it holds of the campaign; the operator that runs fences, reads, fills and opens.
    async fn is_repaired(&self, what: &str) {
        let before = self.epoch().await.expect("an epoch is open");
        let keys = RedisKeys::of(&self.campaign);
        let url = self.connections.redis.as_deref().unwrap();
        redis(url, &["DEL", &keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free]).await.unwrap();
        let newer = format!("a newer epoch, {what}");
        let repaired = until(&newer, SOON, async || match self.epoch().await {
            Some(now) if now > before => Ok(()),
            other => Err(format!("{other:?}")),
        });
        repaired.await.unwrap();
        self.winners_come(what).await;
    }

    /// What the pods read is of the later version.
    async fn connections_are_later(&self) -> bool {
        let name = format!("{}-connections", self.sale.name);
        let template = "go-template={{index .data \"connections.yaml\" | base64decode}}";
        let text = kubectl(&["get", "secret", &name, "-n", &self.sale.namespace, "-o", template]).await.unwrap();
        assert!(text.contains("version: 1"), "{text}");
        text.contains("later:")
    }
}

/// People who come one after the other until `stop`, each asking until there is an answer. What each heard.
async fn load(issuer: IssuerClient, winners: Arc<AtomicU64>, stop: CancellationToken) -> Vec<Response> {
    let (mut asking, mut number) = (JoinSet::new(), 0);
    let mut ticks = tokio::time::interval(PACE);
    while !stop.is_cancelled() {
        ticks.tick().await;
        number += 1;
        let (issuer, winners) = (issuer.clone(), Arc::clone(&winners));
        asking.spawn(async move {
            let heard = issuer.insist(&format!("user-{number}"), None, SOON).await;
            winners.fetch_add(u64::from(heard.issued()), Ordering::Relaxed);
            heard
        });
    }
    asking.join_all().await
}

/// Wrong: during an upgrade, or on the way back, one version does not understand what the other has written, or takes it for
/// something else: a sale that stops, a winner without a row, a rank twice.
#[tokio::test]
async fn a_version_and_the_next_work_side_by_side_on_the_way_there_and_back() {
    let (this, later) = (install::image("COUPON_IMAGE").unwrap(), install::image("COUPON_LATER_IMAGE").unwrap());
    let connections = Connections::from_env().unwrap();
    install::install_image(&connections, &this).await.unwrap();
    let namespace = format!("upgrade-{:06x}", rand::rng().random_range(0..0x100_0000));
    install::namespace(&namespace, true).await.unwrap();
    let client = Client::try_default().await.unwrap();
    let sale = Sale::apply(&client, manifest(&namespace, "upgrade", 100_000, -1, 3600)).await.unwrap();
    let issuer = sale.issuer().await.unwrap();
    sale.until("Ready", SOON, Sale::is_ready).await.unwrap();
    let case = TestCase {
        pool: database::connect(&connections).await.unwrap(),
        campaign: CampaignId::with_default_names(REALM, &namespace, "upgrade").unwrap(),
        winners: Arc::default(),
        client,
        connections,
        sale,
    };
    let stop = CancellationToken::new();
    let people = tokio::spawn(load(issuer, Arc::clone(&case.winners), stop.clone()));
    case.winners_come("before").await;

    let campaign = format!("couponcampaign/{}", case.sale.name);
    let annotate = async |value: &str| {
        kubectl(&["annotate", &campaign, "-n", &namespace, "--overwrite", value]).await.unwrap();
    };
    for (from, to) in [(&this, &later), (&later, &this)] {
        install::install_image(&case.connections, to).await.unwrap();
        case.sale.until_condition("PodsUpToDate", "False", "RolloutWaits").await.unwrap();
        assert_eq!(case.images().await.unwrap(), BTreeSet::from([from.clone()]), "pods that work stay");
        assert_eq!(case.connections_are_later().await, *to == later);
        case.is_repaired(&format!("operator of {to} beside pods of {from}")).await;

        annotate("coupon-operator.io/rollout=now").await;
        case.until_images(to).await;
        annotate("coupon-operator.io/rollout-").await;
        case.is_repaired(&format!("all of {to}")).await;
    }

    stop.cancel();
    let answers = people.await.unwrap();
    let refused: Vec<&Response> = answers.iter().filter(|heard| !heard.issued()).collect();
    assert!(
        refused.is_empty(),
        "{} of {} got none: {:?}",
        refused.len(),
        answers.len(),
        &refused[..refused.len().min(5)]
    );
    let mut told: Vec<(u64, String)> = answers.into_iter().map(|heard| (heard.rank.unwrap(), heard.user)).collect();
    told.sort();
    let as_told = until("rows as people were told", SOON, async || {
        let rows = database::rows(&case.pool, REALM, &namespace, "upgrade").await.map_err(|error| error.to_string())?;
        if rows.winners == told {
            Ok(())
        } else {
            Err(format!("{} rows for {} winners", rows.winners.len(), told.len()))
        }
    });
    as_told.await.unwrap();
    kubectl(&["delete", "namespace", &namespace, "--wait=false"]).await.unwrap();
}
