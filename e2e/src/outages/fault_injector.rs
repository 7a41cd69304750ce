//! Crash points and left-out defences (`coupon_core::failpoints`) of pods that run: a variable of their Deployment.

use std::time::Duration;

use anyhow::{Context, Result};
use coupon_core::connections::{Login, Redis, RedisServer};
use coupon_core::failpoints::CrashPoint;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::redis::{IssueRequest, RedisKeys, connect, issue, observe};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::chaos::test_bed::{OpenSale, TestBed};
use crate::install::{SYSTEM_NAMESPACE, kubectl};
use crate::redis_cli::redis;
use crate::url::Url;
use crate::wait::until;

/// Where a process shall die.
pub const CRASH_AT: &str = "COUPON_CRASH_AT";
/// Without which defence it shall work.
pub const WITHOUT: &str = "COUPON_WITHOUT";
/// How long until a new pod serves, and until a process has died.
const SOON: Duration = Duration::from_secs(90);
/// How long one call to Redis may take.
const REDIS: Duration = Duration::from_secs(5);

/// A Deployment whose pods run sabotaged.
pub struct FaultInjector {
    pods: Api<Pod>,
    namespace: String,
    deployment: String,
    selector: String,
}

impl FaultInjector {
    /// Of the operator.
    pub fn operator(client: &Client) -> Self {
        Self::new(client, SYSTEM_NAMESPACE, "coupon-operator", "app.kubernetes.io/name=coupon-operator".to_owned())
    }

    /// Of a sale's issuers.
    pub fn issuers(bed: &TestBed, open: &OpenSale) -> Self {
        let campaign = &open.sale.name;
        let selector = format!("coupon-operator.io/campaign={campaign},app.kubernetes.io/component=issuer");
        Self::new(&bed.kubernetes, &bed.namespace, &format!("{campaign}-issuer"), selector)
    }

    fn new(client: &Client, namespace: &str, deployment: &str, selector: String) -> Self {
        let pods = Api::namespaced(client.clone(), namespace);
        Self { pods, namespace: namespace.to_owned(), deployment: deployment.to_owned(), selector }
    }

    /// Sets a variable, or takes it away, and waits until only pods that know it are left.
    pub async fn set(&self, variable: &str, value: Option<&str>) -> Result<()> {
        let deployment = format!("deployment/{}", self.deployment);
        let setting = value.map_or_else(|| format!("{variable}-"), |value| format!("{variable}={value}"));
        kubectl(&["set", "env", "-n", &self.namespace, &deployment, &setting]).await?;
        kubectl(&["rollout", "status", "-n", &self.namespace, &deployment, "--timeout=90s"]).await?;
        Ok(())
    }

    /// Takes both variables away.
    pub async fn mend(&self) -> Result<()> {
        self.set(CRASH_AT, None).await?;
        self.set(WITHOUT, None).await
    }

    /// Waits until a process has died at this point. Answers how often containers were started again.
    pub async fn died_at(&self, point: CrashPoint) -> Result<i32> {
        let what = format!("a process of {} that died at {point}", self.deployment);
        until(&what, SOON, async || {
            let pods =
                self.pods.list(&ListParams::default().labels(&self.selector)).await.map_err(|e| e.to_string())?;
            for pod in pods.items {
                let restarts = restarts(&pod);
                if restarts == 0 {
                    continue;
                }
                // Its last words: it could have died of something else.
                let name = pod.name_any();
                let log = kubectl(&["logs", "-n", &self.namespace, &name, "--previous", "--tail=20"]).await;
                let log = log.map_err(|error| format!("{error:#}"))?;
                if log.contains(&format!("crash point {point}:")) {
                    return Ok(restarts);
                }
            }
            Err("none did".to_owned())
        })
        .await
    }

    /// How often containers of the present pods were started again.
    pub async fn restarts(&self) -> Result<i32> {
        let pods = self.pods.list(&ListParams::default().labels(&self.selector)).await?;
        Ok(pods.items.iter().map(restarts).sum())
    }
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().map(|container| container.restart_count).sum()
}

/// What an issuer does that dies before it hands its winners on: `count` ranks are given in Redis, and nobody else hears of
/// them.
pub async fn orphans(bed: &TestBed, open: &OpenSale, count: usize) -> Result<()> {
    let url = Url::parse(&bed.sources(open).await?.redis)?;
    let settings = Redis {
        server: RedisServer::Address(url.address),
        login: Login { username: url.user, password: url.password },
        tls: false,
        database: 0,
        ca_pem: None,
    };
    let mut connection = connect::connect(&settings, REDIS).await?;
    let keys = RedisKeys::of(&open.campaign);
    let state = observe(&mut connection, &keys).await?.open.context("the campaign is closed in Redis")?;
    let request = |number: usize| -> Result<IssueRequest> {
        Ok(IssueRequest {
            user: UserId::new(format!("ghost-{number:03}"))?,
            key: RequestKey::new(format!("ghost-{number:03}"))?,
            minted: false,
        })
    };
    let requests: Vec<IssueRequest> = (0..count).map(request).collect::<Result<_>>()?;
    issue(&mut connection, &keys, state.epoch, state.highest, &requests).await?;
    Ok(())
}

/// Redis forgets everything; on a shared stack only this campaign, to which that is the same.
pub async fn flush(bed: &TestBed, open: &OpenSale) -> Result<()> {
    let keys = RedisKeys::of(&open.campaign);
    let one = ["DEL", &keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free];
    let command: &[&str] = if bed.topology.shared { &one } else { &["FLUSHALL"] };
    redis(&bed.sources(open).await?.redis, command).await?;
    Ok(())
}

/// Waits until the campaign has so many rows.
pub async fn until_rows(bed: &TestBed, open: &OpenSale, rows: usize, within: Duration) -> Result<()> {
    until(&format!("{rows} rows"), within, async || {
        match bed.sources.rows(&open.campaign).await.map(|rows| rows.len()) {
            Ok(found) if found == rows => Ok(()),
            Ok(found) => Err(format!("{found} rows")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}
