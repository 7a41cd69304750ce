//! One round: a sale from `kubectl apply` to the verdict.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use campaign::identity::CampaignId;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::json;
use stack::{Connections, control};
use tokio::time::{sleep, sleep_until};

use super::checker::{Violation, check};
use super::crowd::{Answer, Crowd, time_to_issue_again};
use super::fault::{Fault, Plan, Stage};
use super::inject::Injector;
use super::ledger::{Ledger, Sources};
use super::links::Links;
use super::proxy::Proxy;
use super::{CLASS, report};
use crate::campaign::{Sale, manifest};
use crate::crowd::Door;
use crate::database;
use crate::install::{SYSTEM_NAMESPACE, apply, kubectl, namespace};
use crate::wait::until;

/// How long one request of a client may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long clients go on asking after the rush and every fault are over.
const PATIENCE: Duration = Duration::from_secs(60);
/// From then on: how long until every winner must be a row, and every coupon sold.
const SETTLE: Duration = Duration::from_secs(120);
/// How long one late user asks.
const LATE_PATIENCE: Duration = Duration::from_secs(10);
/// Late users at a time, and in all.
const LATE_TOGETHER: usize = 16;
const LATE_IN_ALL: usize = 4000;

/// What a fault did.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// The fault as planned.
    pub fault: Fault,
    /// When it struck, in milliseconds after the first user.
    pub at_ms: Option<u64>,
    /// What was different from the plan.
    pub note: Option<String>,
    /// From there to the next new rank, in milliseconds; none if nobody got one any more.
    pub again_ms: Option<u64>,
}

/// What a round came to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// The campaign's name.
    pub campaign: String,
    /// What happened.
    pub struck: Vec<Struck>,
    /// Every answer, in the order in which it was heard.
    #[serde(skip)]
    pub answers: Vec<Answer>,
    /// What was stored.
    #[serde(skip)]
    pub ledger: Ledger,
    /// Users that came after the rush, as coupons were left.
    pub late: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// From the end of rush and faults until everything was stored, in milliseconds.
    pub settled_ms: u64,
    /// From `kubectl apply` to the verdict, in milliseconds.
    pub took_ms: u64,
}

/// Where rounds take place.
pub struct Arena {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    connections: Connections,
    stack: control::Client,
    links: Links,
    sources: Sources,
    namespace: String,
    /// What can be hurt.
    pub stage: Stage,
    /// Removes a row before everything is checked: shows that the machine can fail.
    pub forge: bool,
    /// Keeps the evidence of good rounds, too.
    pub keep_all: bool,
}

impl Arena {
    /// Starts the proxies and makes class and namespace. The product must be installed.
    pub async fn new(connections: Connections, in_namespace: &str, shared: bool) -> Result<Self> {
        let links = Links::start(&connections).await?;
        apply(&links.class(&connections)?).await?;
        namespace(in_namespace, true).await?;
        Ok(Self {
            kubernetes: kube::Client::try_default().await.context("no way to the Kubernetes API")?,
            stack: control::Client::from_env()?,
            links,
            sources: Sources::new(&connections).await?,
            namespace: in_namespace.to_owned(),
            stage: Stage { sentinel: connections.redis_sentinels.is_some(), shared },
            connections,
            forge: false,
            keep_all: false,
        })
    }

    /// One sale. A failing round leaves its evidence in `evidence`.
    pub async fn round(&self, plan: Plan, evidence: &std::path::Path) -> Result<Outcome> {
        let began = Instant::now();
        self.fresh_operator().await?;
        let sale = Sale::apply(&self.kubernetes, self.manifest(&plan)).await?;
        let campaign = CampaignId::new(CLASS, &self.namespace, &sale.name)?;
        let users = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 0)), self.issuers(&sale).await?).await?;
        let door = Door::with_patience(&format!("http://{}", users.address()), &sale.name, REQUEST)?;
        let injector = Injector {
            kubernetes: self.kubernetes.clone(),
            stack: self.stack.clone(),
            connections: &self.connections,
            links: &self.links,
            users: &users,
            namespace: &self.namespace,
            campaign: &sale.name,
        };
        let begin = Instant::now();
        let crowd = Crowd::new(door, begin);
        let give_up = begin + plan.stretch + last_repair(&plan) + PATIENCE;
        let faults = async {
            let struck =
                futures::future::join_all(plan.faults.iter().map(|f| strike(&injector, f, &crowd, begin))).await;
            if self.stage.shared {
                self.links.heal();
            } else {
                injector.repair().await.context("the stack could not be repaired")?;
            }
            Ok::<_, anyhow::Error>(struck)
        };
        let (struck, ()) = tokio::join!(faults, crowd.rush(plan.users, plan.stretch, give_up));
        let mut struck = struck?;
        let over = Instant::now();
        let late = settle(&crowd, &self.sources, &injector, &campaign, plan.coupons).await?;
        let settled_ms = millis(over.elapsed());
        let sources = self.sources.at(injector.redis().await?);

        if self.forge {
            database::remove_first(&sources.pool, CLASS, &self.namespace, &sale.name).await?;
        }
        let (answers, ledger) = (crowd.answers(), sources.read(&campaign).await?);
        for each in &mut struck {
            each.again_ms = each.at_ms.and_then(|at| time_to_issue_again(&answers, at)).map(millis);
        }
        let violations = check(plan.coupons, &answers, &ledger);
        let outcome = Outcome {
            campaign: sale.name.clone(),
            struck,
            late,
            violations,
            settled_ms,
            took_ms: millis(began.elapsed()),
            answers,
            ledger,
            plan,
        };
        if self.keep_all || !outcome.violations.is_empty() {
            report::keep(&outcome, &self.namespace, evidence).await?;
        }
        let (name, space) = (sale.name.as_str(), self.namespace.as_str());
        kubectl(&["delete", "couponcampaign", name, "-n", space, "--wait=false"]).await?;
        Ok(outcome)
    }

    /// Waits until no campaign of an earlier round is left.
    pub async fn cleaned(&self) -> Result<()> {
        let all: Api<operator::api::CouponCampaign> = Api::namespaced(self.kubernetes.clone(), &self.namespace);
        until("no campaign left", SETTLE, async || {
            let left = all.list(&Default::default()).await.map_err(|e| e.to_string())?.items;
            let names: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
            if names.is_empty() { Ok(()) } else { Err(names.join(", ")) }
        })
        .await
    }

    fn manifest(&self, plan: &Plan) -> serde_json::Value {
        let name = format!("r{}-{:x}", plan.seed, jiff::Timestamp::now().as_millisecond());
        let mut manifest = manifest(&self.namespace, &name, plan.coupons, -1, 1800);
        manifest["spec"]["className"] = json!(CLASS);
        manifest["spec"]["partitions"] = json!(2);
        manifest["spec"]["issuer"] = json!({"minReplicas": plan.issuers, "maxReplicas": plan.issuers});
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        manifest
    }

    /// The Service's address, once all issuers answer.
    async fn issuers(&self, sale: &Sale) -> Result<SocketAddr> {
        sale.door().await?;
        let services: Api<Service> = Api::namespaced(self.kubernetes.clone(), &self.namespace);
        let service = services.get(&format!("{}-issuer", sale.name)).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        Ok(format!("{address}:80").parse()?)
    }

    /// After a few kills the kubelet waits longer and longer before it starts a container again; a new pod begins anew.
    async fn fresh_operator(&self) -> Result<()> {
        if self.stage.shared {
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

fn last_repair(plan: &Plan) -> Duration {
    plan.faults.iter().map(|fault| fault.at + fault.lasts).max().unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn strike(injector: &Injector<'_>, fault: &Fault, crowd: &Crowd, begin: Instant) -> Struck {
    sleep_until((begin + fault.at).into()).await;
    let at = Arc::new(Mutex::new(None));
    let (mark, clock) = (Arc::clone(&at), crowd.clone());
    let struck = move || *mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.now_ms());
    let note = match injector.carry_out(fault, struck).await {
        Ok(note) => note,
        Err(error) => Some(format!("{error:#}")),
    };
    let at_ms = *at.lock().unwrap_or_else(PoisonError::into_inner);
    Struck { fault: fault.clone(), at_ms, note, again_ms: None }
}

/// Waits until all coupons are rows, and Redis says the same. As long as coupons are left, people come and ask. Returns how
/// many came.
async fn settle(
    crowd: &Crowd,
    sources: &Sources,
    injector: &Injector<'_>,
    campaign: &CampaignId,
    coupons: u64,
) -> Result<usize> {
    let deadline = Instant::now() + SETTLE;
    let wanted = usize::try_from(coupons)?;
    let mut late = 0;
    loop {
        // Sentinels may choose another primary meanwhile.
        let sources = sources.at(injector.redis().await?);
        let rows = sources.rows(campaign).await?;
        let members = sources.members(campaign).await?;
        if (rows.len() >= wanted && rows == members) || Instant::now() >= deadline {
            return Ok(late);
        }
        let missing = wanted.saturating_sub(members.len()).min(LATE_TOGETHER).min(LATE_IN_ALL - late);
        let until = Instant::now() + LATE_PATIENCE;
        let people: Vec<String> = (late..late + missing).map(|number| format!("late-{number:05}")).collect();
        late += missing;
        futures::future::join_all(people.iter().map(|user| crowd.insist(user, until))).await;
        if missing == 0 {
            sleep(Duration::from_millis(200)).await;
        }
    }
}
