//! Looks at a sale twice a second, from outside: Kafka itself for the lag, the Deployment for the pods.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_core::connections;
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::kafka::client_config;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use tokio::time::sleep;

use super::timeline::Sample;
use crate::issuer_client::IssuerClient;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// How long one person asks.
const PATIENCE: Duration = Duration::from_secs(30);

/// People who come at a steady rate, and how far they are.
#[derive(Debug, Default)]
pub struct Stream {
    offered: AtomicU64,
    issued: AtomicU64,
}

impl Stream {
    /// `count` people come, so many per second, and insist on an answer; at most 100 wait at the same time.
    pub async fn run(&self, issuer: &IssuerClient, count: u64, per_second: u64) {
        let begin = Instant::now();
        let people = stream::iter(0..count).map(|number| async move {
            let due = Duration::from_millis(number * 1000 / per_second.max(1));
            sleep(due.saturating_sub(begin.elapsed())).await;
            self.offered.fetch_add(1, Ordering::Relaxed);
            if issuer.insist(&format!("person-{number}"), None, PATIENCE).await.issued() {
                self.issued.fetch_add(1, Ordering::Relaxed);
            }
        });
        people.buffer_unordered(100).collect::<Vec<()>>().await;
    }

    /// How many were issued a coupon.
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }
}

/// What is looked at.
pub struct Watch<'a> {
    kafka: KafkaAdmin,
    consumers: Api<Deployment>,
    name: String,
    campaign: &'a CampaignId,
    stream: &'a Stream,
    members: BTreeSet<String>,
    rebalances: u64,
    begin: Instant,
    /// What was seen so far.
    pub samples: Vec<Sample>,
}

impl<'a> Watch<'a> {
    /// Of a campaign's object called `name`. Time begins now.
    pub fn new(
        client: kube::Client,
        kafka: &connections::Kafka,
        campaign: &'a CampaignId,
        name: &str,
        stream: &'a Stream,
    ) -> Result<Self> {
        Ok(Self {
            kafka: KafkaAdmin::new(&client_config(kafka, "scale-demo", &[]))?,
            consumers: Api::namespaced(client, campaign.namespace()),
            name: format!("{name}-consumer"),
            campaign,
            stream,
            members: BTreeSet::new(),
            rebalances: 0,
            begin: Instant::now(),
            samples: Vec::new(),
        })
    }

    /// Records that are not committed, in all partitions that there are.
    pub async fn lag(&self) -> Result<i64> {
        let topic = self.campaign.topic();
        let mut found = self.kafka.describe_topics(&[&topic]).await?;
        let state = found.remove(&topic).context("no answer about the topic")??;
        let coupon_kafka_admin::TopicState::Present(described) = state else { return Ok(0) };
        let count = i32::try_from(described.partitions.len())?;
        let all: Vec<(&str, i32)> = (0..count).map(|id| (topic.as_str(), id)).collect();
        let group = self.campaign.group();
        let (ends, committed) =
            tokio::join!(self.kafka.end_offsets(&all), self.kafka.committed_offsets(&group, &topic, count));
        let committed = committed?;
        let mut lag = 0;
        for ((_, id), end) in ends? {
            lag += (end? - committed.get(&id).copied().flatten().unwrap_or(0)).max(0);
        }
        Ok(lag)
    }

    /// Takes a sample.
    pub async fn sample(&mut self) -> Result<Sample> {
        let group = self.campaign.group();
        let named = [&group];
        let (lag, consumers, groups) =
            tokio::join!(self.lag(), self.consumers.get_opt(&self.name), self.kafka.describe_groups(&named));
        let members: BTreeSet<String> = match groups?.remove(&group) {
            Some(Ok(found)) => found.members.into_iter().map(|member| member.member_id).collect(),
            _ => self.members.clone(),
        };
        if members != self.members {
            self.rebalances += 1;
            self.members = members;
        }
        let consumers = consumers?;
        let spec = consumers.as_ref().and_then(|found| found.spec.as_ref());
        let status = consumers.as_ref().and_then(|found| found.status.as_ref());
        let sample = Sample {
            at_ms: u64::try_from(self.begin.elapsed().as_millis())?,
            offered: self.stream.offered.load(Ordering::Relaxed),
            issued: self.stream.issued(),
            lag: lag?,
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(0),
            ready: status.and_then(|status| status.ready_replicas).unwrap_or(0),
            rebalances: self.rebalances,
        };
        self.samples.push(sample);
        Ok(sample)
    }

    /// Looks until `over` says so, at most for `within`. Whether it was over in time.
    pub async fn until(&mut self, within: Duration, mut over: impl FnMut(&Sample) -> bool) -> Result<bool> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let sample = self.sample().await?;
            if over(&sample) {
                return Ok(true);
            }
            sleep(EVERY).await;
        }
        Ok(false)
    }
}
