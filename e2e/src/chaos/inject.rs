//! Carries faults out, each until it is repaired.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use coupon_testing::proxy::Proxy;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack::control::{self, Action, State};
use stack::secured::SENTINEL_PASSWORD;
use tokio::time::sleep;

use super::fault::{Fault, Kind, Link, Role};
use super::ledger::Sources;
use super::links::Links;
use crate::install::SYSTEM_NAMESPACE;
use crate::redis_cli::redis;
use crate::url::{Url, scheme};
use crate::wait::until;

/// How long the append-only file is off before Redis is killed.
const LOG_OFF: Duration = Duration::from_secs(1);
/// Within this time the Sentinels have made the replica primary.
const FAILOVER: Duration = Duration::from_secs(6);

/// Within this time the API server serves again after it was restarted.
const API_AWAY: Duration = Duration::from_secs(60);

/// Hurts one campaign, and the stack below it.
pub struct Injector<'a> {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// The stack.
    pub stack: control::Client,
    /// Where its services are.
    pub connections: &'a stack::Connections,
    /// Its proxies.
    pub links: &'a Links,
    /// The proxy before the issuers.
    pub users: &'a Proxy,
    /// The campaign's namespace.
    pub namespace: &'a str,
    /// The campaign's name.
    pub campaign: &'a str,
    /// Its consumer group.
    pub group: &'a str,
    /// The services themselves, without a proxy.
    pub sources: &'a Sources,
}

impl Injector<'_> {
    /// Does it and repairs it; `struck` is called at the moment in which it hurts. A sentence about what was different from
    /// the plan.
    pub async fn carry_out(&self, fault: &Fault, struck: impl FnOnce()) -> Result<Option<String>> {
        use Kind as K;
        match fault.kind {
            K::KillIssuer => self.signal(Role::Issuer, fault, Signal::SIGKILL, struck).await,
            K::KillConsumer => self.signal(Role::Consumer, fault, Signal::SIGKILL, struck).await,
            K::KillOperator => self.signal(Role::Operator, fault, Signal::SIGKILL, struck).await,
            K::PauseIssuer => self.signal(Role::Issuer, fault, Signal::SIGSTOP, struck).await,
            K::PauseConsumer => self.signal(Role::Consumer, fault, Signal::SIGSTOP, struck).await,
            K::PauseOperator => self.signal(Role::Operator, fault, Signal::SIGSTOP, struck).await,
            K::EvictIssuer => self.evict(Role::Issuer, fault, struck).await,
            K::EvictConsumer => self.evict(Role::Consumer, fault, struck).await,
            K::FlushRedis => {
                let primary = self.primary().await?;
                redis(&self.redis_url(&primary)?, &["FLUSHALL"]).await?;
                struck();
                Ok(None)
            }
            K::KillRedis | K::KillRedisLogOff | K::KillRedisLoseFiles => self.kill_redis(fault, struck).await,
            K::PauseRedis => {
                let part = self.redis_part(&self.primary().await?)?;
                self.part(&part, Action::Pause, Action::Resume, fault.lasts, struck).await
            }
            K::KillKafka => self.part(&self.broker(fault), Action::Kill, Action::Start, fault.lasts, struck).await,
            K::PauseKafka => self.part(&self.broker(fault), Action::Pause, Action::Resume, fault.lasts, struck).await,
            K::KillDatabase => self.part("mariadb", Action::Kill, Action::Start, fault.lasts, struck).await,
            K::PauseDatabase => self.part("mariadb", Action::Pause, Action::Resume, fault.lasts, struck).await,
            K::ElectLeaders => self.elect_leaders(fault, struck).await,
            K::RollKafka => self.roll_kafka(struck, |_| ()).await,
            K::RestartRedis => self.restart_redis(struck).await,
            K::RestartDatabase => self.restart("mariadb", struck).await,
            K::RestartApiServer => self.restart("kube-apiserver", struck).await,
            K::CutLink | K::DelayLink | K::SilenceLink | K::HalfCloseLink => {
                let (link, trouble) = fault.link.context("the plan names no link")?;
                let pods = match link {
                    Link::Users => HashSet::new(),
                    Link::Inner(role, _) => self.addresses(role).await?,
                };
                let note = (link != Link::Users && pods.is_empty()).then(|| "there was no pod to cut off".to_owned());
                let running = self.links.begin(link, trouble, self.users, pods);
                struck();
                sleep(fault.lasts).await;
                running.end();
                Ok(note)
            }
        }
    }

    /// Heals what is left of every fault. Every part serves afterwards.
    pub async fn repair(&self) -> Result<()> {
        self.links.heal();
        self.users.mend();
        let status = self.ask(|stack| stack.status()).await?.context("the stack does not run")?;
        for part in status.parts {
            match part.state {
                State::Paused => self.act(&part.name, Action::Resume).await?,
                State::Killed | State::Failed => self.act(&part.name, Action::Start).await?,
                State::Waiting | State::Starting | State::Ready => {}
            }
        }
        let ready = until("every part of the stack serves", Duration::from_secs(90), async || {
            let status = self.ask(|stack| stack.status()).await.map_err(|e| e.to_string())?;
            if status.is_some_and(|status| status.is_ready()) { Ok(()) } else { Err("not yet".to_owned()) }
        });
        ready.await?;
        // A primary that was found may be gone in the next moment, while Sentinels agree.
        let on =
            async || redis(&self.redis_url(&self.primary().await?)?, &["CONFIG", "SET", "appendonly", "yes"]).await;
        until("Redis keeps its log again", FAILOVER * 3, async || on().await.map_err(|e| format!("{e:#}"))).await?;
        Ok(())
    }

    /// The URL of the Redis that is the primary now, with all rights.
    pub async fn redis(&self) -> Result<String> {
        self.redis_url(&self.primary().await?)
    }

    /// The campaign's pods of one kind, or the operator's.
    pub async fn pods(&self, role: Role) -> Result<Vec<Pod>> {
        let (namespace, labels) = match role {
            Role::Operator => (SYSTEM_NAMESPACE, "app.kubernetes.io/name=coupon-operator".to_owned()),
            role => {
                let labels =
                    format!("coupon-operator.io/campaign={},app.kubernetes.io/component={role}", self.campaign);
                (self.namespace, labels)
            }
        };
        let api: Api<Pod> = Api::namespaced(self.kubernetes.clone(), namespace);
        // Another fault of the same round may be the API server's restart.
        let list = ListParams::default().labels(&labels);
        let mut pods = until("a list of pods", API_AWAY, async || {
            api.list(&list).await.map(|list| list.items).map_err(|error| error.to_string())
        })
        .await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Their addresses.
    pub async fn addresses(&self, role: Role) -> Result<HashSet<IpAddr>> {
        let address = |pod: Pod| pod.status?.pod_ip?.parse().ok();
        Ok(self.pods(role).await?.into_iter().filter_map(address).collect())
    }

    async fn signal(&self, role: Role, fault: &Fault, signal: Signal, struck: impl FnOnce()) -> Result<Option<String>> {
        let pods = self.pods(role).await?;
        let Some(pod) = pods.get(fault.which % pods.len().max(1)) else {
            struck();
            return Ok(Some(format!("there was no {role}")));
        };
        let processes = processes_of(&pod.uid().context("a pod without a UID")?, &format!("coupon-{role}"))?;
        for process in &processes {
            kill(*process, signal).with_context(|| format!("{signal} for {process}"))?;
        }
        struck();
        if signal == Signal::SIGSTOP {
            sleep(fault.lasts).await;
            for process in &processes {
                // The kubelet may have ended it meanwhile.
                let _ = kill(*process, Signal::SIGCONT);
            }
        }
        Ok(processes.is_empty().then(|| format!("{role} {} had no process", pod.name_any())))
    }

    async fn evict(&self, role: Role, fault: &Fault, struck: impl FnOnce()) -> Result<Option<String>> {
        let pods = self.pods(role).await?;
        let Some(pod) = pods.get(fault.which % pods.len().max(1)) else {
            struck();
            return Ok(Some(format!("there was no {role}")));
        };
        let api: Api<Pod> = Api::namespaced(self.kubernetes.clone(), self.namespace);
        let evicted =
            until("an eviction", API_AWAY, async || match api.evict(&pod.name_any(), &EvictParams::default()).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(true),
                Err(kube::Error::Api(status)) if status.code == 429 => Ok(false),
                Err(error) => Err(error.to_string()),
            });
        let note = if evicted.await? {
            None
        } else {
            api.delete(&pod.name_any(), &DeleteParams::default()).await?;
            Some(format!("the budget refused to evict the {role}; it was deleted"))
        };
        struck();
        Ok(note)
    }

    async fn part(
        &self,
        part: &str,
        hurt: Action,
        mend: Action,
        lasts: Duration,
        struck: impl FnOnce(),
    ) -> Result<Option<String>> {
        self.act(part, hurt).await?;
        struck();
        sleep(lasts).await;
        self.act(part, mend).await?;
        Ok(None)
    }

    async fn kill_redis(&self, fault: &Fault, struck: impl FnOnce()) -> Result<Option<String>> {
        let primary = self.primary().await?;
        let part = self.redis_part(&primary)?;
        if fault.kind == Kind::KillRedisLogOff {
            redis(&self.redis_url(&primary)?, &["CONFIG", "SET", "appendonly", "no"]).await?;
            sleep(LOG_OFF).await;
        }
        self.act(&part, Action::Kill).await?;
        struck();
        let away = if self.connections.redis_sentinels.is_some() { FAILOVER } else { fault.lasts };
        sleep(away).await;
        if fault.kind == Kind::KillRedisLoseFiles {
            let files = self.connections.state.join("data").join(&part).join("appendonlydir");
            tokio::fs::remove_dir_all(&files).await.with_context(|| format!("removing {}", files.display()))?;
        }
        self.act(&part, Action::Start).await?;
        Ok(None)
    }

    /// The names of all brokers.
    pub fn brokers(&self) -> Vec<String> {
        let brokers = self.connections.kafka.as_deref().map_or(1, |brokers| brokers.split(',').count());
        (1..=brokers.max(1)).map(|number| format!("kafka-{number}")).collect()
    }

    pub(super) fn broker(&self, fault: &Fault) -> String {
        format!("kafka-{}", 1 + fault.which % self.brokers().len())
    }

    /// `host:port` of the first replica of the Redis at `url`.
    pub async fn replica(&self, url: &str) -> Result<String> {
        let role = redis(url, &["ROLE"]).await?;
        let lines: Vec<&str> = role.lines().collect();
        match lines.as_slice() {
            ["master", _, host, port, ..] => Ok(format!("{host}:{port}")),
            other => bail!("{url} has no replica: {other:?}"),
        }
    }

    /// `host:port` of the primary; with Sentinel, as most of them say.
    pub async fn primary(&self) -> Result<String> {
        let configured = Url::parse(self.connections.redis.as_deref().context("the stack has no Redis")?)?.address;
        let (Some(sentinels), Some(master)) = (&self.connections.redis_sentinels, &self.connections.redis_master)
        else {
            return Ok(configured);
        };
        for sentinel in sentinels.split(',') {
            let url = sentinel_url(self.connections, sentinel);
            let Ok(text) = redis(&url, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]).await else { continue };
            if let [host, port] = text.lines().collect::<Vec<_>>().as_slice() {
                return Ok(format!("{host}:{port}"));
            }
        }
        bail!("no Sentinel knows the primary")
    }

    /// A Redis by its address, with all rights.
    pub fn redis_url(&self, address: &str) -> Result<String> {
        let url = Url::parse(self.connections.redis.as_deref().context("the stack has no Redis")?)?;
        Ok(format!("{}://{}:{}@{address}/0", scheme(self.connections), url.user, url.password))
    }

    /// The part of the stack that listens at this address.
    pub fn redis_part(&self, address: &str) -> Result<String> {
        let first = Url::parse(self.connections.redis.as_deref().context("the stack has no Redis")?)?.address;
        Ok(if first == address { "redis" } else { "redis-replica" }.to_owned())
    }

    /// Does something to a part of the stack, and waits until it is done.
    pub async fn act(&self, part: &str, action: Action) -> Result<()> {
        let part = part.to_owned();
        self.ask(move |stack| stack.act(&part, action).with_context(|| format!("{action:?} {part}"))).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&control::Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stack = self.stack.clone();
        tokio::task::spawn_blocking(move || question(&stack)).await?
    }
}

/// A Sentinel by its address.
pub(super) fn sentinel_url(connections: &stack::Connections, address: &str) -> String {
    match connections.authority {
        Some(_) => format!("{}://:{SENTINEL_PASSWORD}@{address}", scheme(connections)),
        None => format!("{}://{address}", scheme(connections)),
    }
}

/// The processes of a program in a pod. The pod's UID is part of its cgroup's name.
pub fn processes_of(uid: &str, program: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let (command, group) = (read("cmdline"), read("cgroup"));
        let (command, group) = (String::from_utf8_lossy(&command), String::from_utf8_lossy(&group));
        let runs = command.split('\0').next().is_some_and(|first| first.rsplit('/').next() == Some(program));
        if runs && (group.contains(uid) || group.contains(&uid.replace('-', "_"))) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
