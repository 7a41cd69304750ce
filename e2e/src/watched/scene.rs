//! What can be done to a sale and the systems below it, and undone.

use std::time::Duration;

use anyhow::{Context, Result};
use coupon_core::identity::CampaignId;
use coupon_ledger::kafka::client_config;
use nix::sys::signal::{Signal, kill};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use stack::Connections;
use stack::control::{self, Action};
use tokio::task::spawn_blocking;

use crate::campaign::{Sale, manifest};
use crate::chaos::fault::Role;
use crate::chaos::inject::processes_of;
use crate::install::{REALM, SYSTEM_NAMESPACE, apply, class, kubectl};
use crate::logins;
use crate::redis_cli::redis;
use crate::wait::until;

/// How long Kafka may take for a record, and consumers to find that they cannot read it.
const RECORD: Duration = Duration::from_secs(60);
/// When the campaign opens whose class is missing, in seconds.
const SOON: i64 = 300;

/// A sale, and what it stands on.
pub struct Scene {
    /// Where the stack's services are.
    pub connections: Connections,
    /// The sale.
    pub sale: Sale,
}

impl Scene {
    /// Parts of the stack die.
    pub(super) async fn kill(&self, parts: &'static [&'static str]) -> Result<()> {
        act(parts, Action::Kill).await
    }

    /// They are started, and serve.
    pub(super) async fn start(&self, parts: &'static [&'static str]) -> Result<()> {
        act(parts, Action::Start).await
    }

    /// Without so many replicas Redis refuses to write. It has none.
    pub(super) async fn need_replicas(&self, count: &str) -> Result<()> {
        let url = self.connections.redis.as_deref().context("the stack has no Redis")?;
        redis(url, &["CONFIG", "SET", "min-replicas-to-write", count]).await?;
        Ok(())
    }

    /// So many operators run.
    pub(super) async fn run_operators(&self, count: &str) -> Result<()> {
        let (deployment, replicas) = ("deployment/coupon-operator", format!("--replicas={count}"));
        kubectl(&["scale", "-n", SYSTEM_NAMESPACE, deployment, &replicas]).await?;
        kubectl(&["rollout", "status", "-n", SYSTEM_NAMESPACE, deployment, "--timeout=90s"]).await?;
        Ok(())
    }

    /// Every process of the sale's pods of this kind gets this signal.
    pub(super) async fn signal(&self, role: Role, signal: Signal) -> Result<()> {
        let label = format!("coupon-operator.io/campaign={},app.kubernetes.io/component={role}", self.sale.name);
        let listed = kubectl(&["get", "pods", "-n", &self.sale.namespace, "-l", &label, "--output=json"]).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        for pod in listed["items"].as_array().into_iter().flatten() {
            let uid = pod["metadata"]["uid"].as_str().context("a pod without a UID")?;
            for process in processes_of(uid, &format!("coupon-{role}"))? {
                kill(process, signal).with_context(|| format!("{signal} for {process}"))?;
            }
        }
        Ok(())
    }

    /// A stranger writes into the campaign's topic.
    pub(super) async fn write_unreadable(&self, count: usize) -> Result<()> {
        let topic = CampaignId::with_default_names(REALM, &self.sale.namespace, &self.sale.name)?.topic();
        let kafka = logins::kafka(&self.connections)?;
        let producer: FutureProducer = client_config(&kafka, "watch-demo", &[("acks", "all")]).create()?;
        for _ in 0..count {
            let record = FutureRecord::<str, str>::to(&topic).partition(0).payload("no winner");
            producer.send(record, RECORD).await.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// People give the dead letters up, by name.
    pub(super) async fn discard_letters(&self, count: usize) -> Result<()> {
        let letters = until("every unreadable record is a dead letter", RECORD, async || {
            let listed = self.dead_letters(&["list", "--json"]).await.map_err(|error| format!("{error:#}"))?;
            let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
            let letters = listed["letters"].as_array().cloned().unwrap_or_default();
            if letters.len() == count { Ok(letters) } else { Err(format!("{} letters", letters.len())) }
        })
        .await?;
        let discard = letters.iter().map(|letter| format!("--discard={}:{}", letter["partition"], letter["offset"]));
        let discard: Vec<String> = discard.collect();
        let words: Vec<&str> =
            ["replay", "--wait=0", "--trim"].into_iter().chain(discard.iter().map(String::as_str)).collect();
        self.dead_letters(&words).await?;
        Ok(())
    }

    async fn dead_letters(&self, words: &[&str]) -> Result<String> {
        let consumer = format!("deploy/{}-consumer", self.sale.name);
        let program = ["exec", "-n", &self.sale.namespace, &consumer, "--", "coupon-consumer", "dead-letters"];
        kubectl(&[&program[..], words].concat()).await
    }

    /// Somebody asks for another quantity.
    pub(super) async fn ask_for_quantity(&self, quantity: u64) -> Result<()> {
        let mut manifest = self.sale.manifest.clone();
        manifest["spec"]["totalQuantity"] = json!(quantity);
        apply(&manifest).await.map(drop)
    }

    /// The manifest is as it was.
    pub(super) async fn ask_again(&self) -> Result<()> {
        apply(&self.sale.manifest).await.map(drop)
    }

    /// Another campaign of the same team opens soon, and its class is not there.
    pub(super) async fn plan_without_class(&self) -> Result<()> {
        let mut late = manifest(&self.sale.namespace, &self.late(), 100, SOON, 2 * SOON);
        late["metadata"]["labels"] = self.sale.manifest["metadata"]["labels"].clone();
        late["spec"]["className"] = json!(self.late());
        late["spec"]["deletionPolicy"] = json!("Delete");
        apply(&late).await.map(drop)
    }

    /// The class is made.
    pub(super) async fn make_class(&self) -> Result<()> {
        apply(&class(&self.late(), &self.connections, false)?).await.map(drop)
    }

    /// The name of the other campaign and of its class. It does not begin with the first one's: people are told of both.
    fn late(&self) -> String {
        format!("late-{}", self.sale.name)
    }

    /// Nothing is left of both campaigns.
    ///
    /// # Errors
    /// If they cannot be deleted.
    pub async fn leave(&self) -> Result<()> {
        let (sale, late, namespace) = (&self.sale.name, self.late(), &self.sale.namespace);
        let deleted = ["delete", "couponcampaign", sale, &late, "-n", namespace, "--ignore-not-found", "--timeout=90s"];
        kubectl(&deleted).await?;
        kubectl(&["delete", "campaignclass", &late, "--ignore-not-found"]).await?;
        Ok(())
    }
}

/// The supervisor's answers are waited for by a thread.
async fn act(parts: &'static [&'static str], action: Action) -> Result<()> {
    spawn_blocking(move || {
        let stack = control::Client::from_env()?;
        parts.iter().try_for_each(|part| stack.act(part, action))
    })
    .await?
}
