//! Where sales take place: the proxies, class and namespace, and one sale from `kubectl apply` until all of it is stored.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_core::identity::CampaignId;
use coupon_testing::proxy::Proxy;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stack::{Connections, control};
use tokio::time::sleep;

use super::REALM;
use super::fault::Topology;
use super::inject::Injector;
use super::ledger::{Ledger, Sources};
use super::links::Links;
use super::load::LoadGenerator;
use crate::campaign::{Sale, manifest};
use crate::install::{SYSTEM_NAMESPACE, apply, kubectl, namespace};
use crate::issuer_client::IssuerClient;
use crate::logins;
use crate::wait::until;

/// How long, after everything is repaired, until every winner must be a row and every coupon sold.
pub const SETTLE: Duration = Duration::from_secs(120);
/// Within this time everything can be read that serves again.
const LEDGER: Duration = Duration::from_secs(60);
/// How long one late user asks.
const LATE_PATIENCE: Duration = Duration::from_secs(10);
/// Late users at a time, and in all.
const LATE_TOGETHER: usize = 16;
const LATE_IN_ALL: usize = 4000;

/// Where sales take place.
pub struct TestBed {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// Where the services are.
    pub connections: Connections,
    /// The stack.
    pub stack: control::Client,
    /// Its proxies.
    pub links: Links,
    /// The services themselves.
    pub sources: Sources,
    /// Where the campaigns are, and the name of their class: nobody else has it.
    pub namespace: String,
    /// What can be hurt.
    pub topology: Topology,
    /// Removes a row before everything is checked: shows that the machine can fail.
    pub forge: bool,
    /// Keeps the evidence of good rounds, too.
    pub keep_all: bool,
}

/// A sale whose issuers answer.
pub struct OpenSale {
    /// The campaign in Kubernetes.
    pub sale: Sale,
    /// Its identity.
    pub campaign: CampaignId,
    /// Its consumer group.
    pub group: String,
    /// The proxy before its issuers.
    pub users: Proxy,
}

impl OpenSale {
    /// The way in through the proxy; a request without an answer is given up after `patience`.
    pub fn issuer(&self, patience: Duration) -> Result<IssuerClient> {
        IssuerClient::with_patience(&format!("http://{}", self.users.address), &self.sale.name, patience)
    }
}

impl TestBed {
    /// Starts the proxies and makes class and namespace, both of the same new name, which begins with `what`: those of an earlier
    /// run may be going yet. The product must be installed.
    pub async fn new(connections: Connections, what: &str, shared: bool) -> Result<Self> {
        let links = Links::start(&connections).await?;
        let name = format!("{what}-{:08x}", rand::random::<u32>());
        let mut class = links.class(&connections)?;
        class["metadata"]["name"] = json!(name);
        apply(&class).await?;
        namespace(&name, true).await?;
        Ok(Self {
            kubernetes: kube::Client::try_default().await.context("cannot connect to the Kubernetes API")?,
            stack: control::Client::from_env()?,
            links,
            sources: Sources::new(&connections).await?,
            namespace: name,
            topology: Topology {
                sentinel: connections.redis_sentinels.is_some(),
                brokers: connections.kafka.as_deref().map_or(1, |brokers| brokers.split(',').count()),
                shared,
            },
            connections,
            forge: false,
            keep_all: false,
        })
    }

    /// Applies a campaign of two partitions and waits until its issuers answer.
    pub async fn open(&self, name: &str, coupons: u64, issuers: u16) -> Result<OpenSale> {
        self.open_as(name, coupons, issuers, |spec| spec["partitions"] = json!(2)).await
    }

    /// Applies a campaign with a spec of its own and waits until its issuers answer.
    pub async fn open_as(
        &self,
        name: &str,
        coupons: u64,
        issuers: u16,
        change: impl FnOnce(&mut Value),
    ) -> Result<OpenSale> {
        let mut manifest = manifest(&self.namespace, name, coupons, -1, 3600);
        manifest["spec"]["className"] = json!(self.namespace);
        manifest["spec"]["issuer"] = json!({"minReplicas": issuers, "maxReplicas": issuers});
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        if let Some(spec) = manifest.get_mut("spec") {
            change(spec);
        }
        let sale = Sale::apply(&self.kubernetes, manifest).await?;
        let campaign = CampaignId::with_default_names(REALM, &self.namespace, name)?;
        let users = match self.door_proxy(&sale).await {
            Ok(users) => users,
            Err(error) => {
                // Its pods would take the room of the next sale.
                self.delete(name).await?;
                return Err(error);
            }
        };
        Ok(OpenSale { sale, group: campaign.group(), campaign, users })
    }

    /// What hurts this sale.
    pub fn injector<'a>(&'a self, open: &'a OpenSale) -> Injector<'a> {
        Injector {
            kubernetes: self.kubernetes.clone(),
            stack: self.stack.clone(),
            connections: &self.connections,
            links: &self.links,
            users: &open.users,
            namespace: &self.namespace,
            campaign: &open.sale.name,
            group: &open.group,
            sources: &self.sources,
        }
    }

    /// The sources, with the Redis that is the primary, and the authorities that are trusted, now.
    pub async fn sources(&self, open: &OpenSale) -> Result<Sources> {
        let redis = self.injector(open).redis().await?;
        Ok(Sources { kafka: logins::kafka(&self.connections)?, ..self.sources.at(redis) })
    }

    /// What Redis, Kafka and SQL say now. Asked again for a while: a partition whose leader was elected a moment ago may not
    /// know its end yet, and a primary may be another one in the next moment.
    pub async fn ledger(&self, open: &OpenSale) -> Result<Ledger> {
        until("a look at the ledger", LEDGER, async || {
            let read = async || self.sources(open).await?.read(&open.campaign).await;
            read().await.map_err(|error: anyhow::Error| format!("{error:#}"))
        })
        .await
    }

    /// Waits until all coupons are rows, and Redis says the same, at most for `within`. As long as coupons are left, people
    /// come and ask. Returns how many came.
    pub async fn settle(&self, open: &OpenSale, load: &LoadGenerator, coupons: u64, within: Duration) -> Result<usize> {
        let deadline = Instant::now() + within;
        let wanted = usize::try_from(coupons)?;
        let mut late = 0;
        loop {
            // Sentinels may choose another primary meanwhile.
            let look = async || {
                let sources = self.sources(open).await?;
                Ok((sources.rows(&open.campaign).await?, sources.members(&open.campaign).await?))
            };
            let (rows, members) = until("a look at rows and winners", LEDGER, async || {
                look().await.map_err(|error: anyhow::Error| format!("{error:#}"))
            })
            .await?;
            if (rows.len() >= wanted && rows == members) || Instant::now() >= deadline {
                return Ok(late);
            }
            let missing = wanted.saturating_sub(members.len()).min(LATE_TOGETHER).min(LATE_IN_ALL - late);
            let until = Instant::now() + LATE_PATIENCE;
            let people: Vec<String> = (late..late + missing).map(|number| format!("late-{number:05}")).collect();
            late += missing;
            futures::future::join_all(people.iter().map(|user| load.insist(user, until))).await;
            if missing == 0 {
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Deletes the campaign, without waiting until it is gone.
    pub async fn close(&self, open: OpenSale) -> Result<()> {
        self.delete(&open.sale.name).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        kubectl(&["delete", "couponcampaign", name, "-n", &self.namespace, "--wait=false"]).await?;
        Ok(())
    }

    async fn door_proxy(&self, sale: &Sale) -> Result<Proxy> {
        Ok(Proxy::to(self.issuers(sale).await?.to_string()).await)
    }

    /// Waits until no campaign of an earlier sale is left.
    pub async fn cleaned(&self) -> Result<()> {
        let all: Api<operator::api::CouponCampaign> = Api::namespaced(self.kubernetes.clone(), &self.namespace);
        until("no campaign left", SETTLE, async || {
            let left = all.list(&Default::default()).await.map_err(|e| e.to_string())?.items;
            let names: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
            if names.is_empty() { Ok(()) } else { Err(names.join(", ")) }
        })
        .await
    }

    /// Removes class and namespace, once no campaign is left.
    pub async fn leave(&self) -> Result<()> {
        self.cleaned().await?;
        kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await?;
        kubectl(&["delete", "campaignclass", &self.namespace]).await?;
        Ok(())
    }

    /// The Service's address, once all issuers answer.
    async fn issuers(&self, sale: &Sale) -> Result<SocketAddr> {
        sale.issuer().await?;
        let services: Api<Service> = Api::namespaced(self.kubernetes.clone(), &self.namespace);
        let service = services.get(&format!("{}-issuer", sale.name)).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        Ok(format!("{address}:80").parse()?)
    }

    /// After a few kills the kubelet waits longer and longer before it starts a container again; a new pod begins anew.
    pub async fn fresh_operator(&self) -> Result<()> {
        if self.topology.shared {
            return Ok(());
        }
        let restarts = kubectl(&[
            "get",
            "pods",
            "-n",
            SYSTEM_NAMESPACE,
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ])
        .await?;
        if restarts.split_whitespace().any(|count| count != "0") {
            kubectl(&["delete", "pod", "-n", SYSTEM_NAMESPACE, "--all", "--timeout=60s"]).await?;
            kubectl(&["rollout", "status", "-n", SYSTEM_NAMESPACE, "deployment/coupon-operator", "--timeout=90s"])
                .await?;
        }
        Ok(())
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
