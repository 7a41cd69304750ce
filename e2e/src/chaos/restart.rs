//! Restarts as people make them: a part is told to end, ends, and is started again; brokers one after another, each when
//! all copies are in sync, and their leaders go back in the end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::kafka::client_config;
use stack::control::Action;

use super::fault::Fault;
use super::inject::{Injector, sentinel_url};
use super::ledger::Partition;
use crate::redis_cli::redis;
use crate::wait::until;

/// Within this time a broker that was restarted has caught up with every partition.
const IN_SYNC: Duration = Duration::from_secs(90);
/// Within this time leaders are where they belong.
const ELECTED: Duration = Duration::from_secs(30);
/// Within this time a planned failover of Redis is over.
const SWITCHED: Duration = Duration::from_secs(30);
/// Where groups keep their offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

impl Injector<'_> {
    /// SIGTERM, and a start as soon as it has ended.
    pub(super) async fn restart(&self, part: &str, struck: impl FnOnce()) -> Result<Option<String>> {
        struck();
        let stopped = self.act(part, Action::Stop).await;
        self.act(part, Action::Start).await?;
        Ok(stopped.err().map(|error| format!("{error:#}")))
    }

    /// With Sentinel a planned failover, then the former primary is restarted; Redis alone is only restarted.
    pub(super) async fn restart_redis(&self, struck: impl FnOnce()) -> Result<Option<String>> {
        let before = self.primary().await?;
        let part = self.redis_part(&before)?;
        let (Some(sentinels), Some(name)) = (&self.connections.redis_sentinels, &self.connections.redis_master) else {
            return self.restart(&part, struck).await;
        };
        let first = sentinels.split(',').next().context("the stack has no Sentinel")?;
        let sentinel = sentinel_url(self.connections, first);
        // Refused while a failover of an earlier fault is not over.
        until("a planned failover", SWITCHED, async || {
            redis(&sentinel, &["SENTINEL", "FAILOVER", name]).await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        struck();
        until("another primary", SWITCHED, async || match self.primary().await {
            Ok(now) if now != before => Ok(()),
            Ok(now) => Err(format!("it is {now}")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await?;
        self.restart(&part, || ()).await
    }

    /// A broker is restarted, and leads again what it led.
    pub(super) async fn elect_leaders(&self, fault: &Fault, struck: impl FnOnce()) -> Result<Option<String>> {
        let note = self.restart(&self.broker(fault), struck).await?;
        self.all_in_sync().await?;
        self.leaders_back().await?;
        Ok(note)
    }

    /// All brokers are restarted; that which coordinates the campaign's group by right is the last, so that the group's
    /// coordinator has moved when leaders go back. `step` hears what is done next.
    pub async fn roll_kafka(&self, struck: impl FnOnce(), step: impl Fn(&str)) -> Result<Option<String>> {
        let mut brokers = self.brokers();
        if let Ok(Some(last)) = self.coordinator_by_right().await {
            brokers.sort_by_key(|broker| *broker == format!("kafka-{last}"));
        }
        struck();
        let mut notes = Vec::new();
        for broker in &brokers {
            step(&format!("{broker} is restarted"));
            notes.extend(self.restart(broker, || ()).await?);
            self.all_in_sync().await?;
        }
        step("leaders go back to where they belong");
        self.leaders_back().await?;
        Ok((!notes.is_empty()).then(|| notes.join("; ")))
    }

    /// Waits until every copy of every partition has everything.
    pub async fn all_in_sync(&self) -> Result<()> {
        until("all copies in sync", IN_SYNC, async || {
            let all = self.topology(None).await.map_err(|error| format!("{error:#}"))?;
            let behind = all.iter().filter(|partition| partition.in_sync.len() < partition.replicas.len()).count();
            if behind == 0 { Ok(()) } else { Err(format!("{behind} of {} partitions lack one", all.len())) }
        })
        .await
    }

    /// Every partition gets the leader that it was made for.
    async fn leaders_back(&self) -> Result<()> {
        let admin = KafkaAdmin::new(&client_config(&self.sources.kafka, "chaos", &[]))?;
        // A broker that has just caught up may not be eligible yet.
        until("every leader where it belongs", ELECTED, async || {
            admin.elect_preferred_leaders(None).await.map_err(|error| error.to_string())?;
            let all = self.topology(None).await.map_err(|error| format!("{error:#}"))?;
            let astray = all.iter().filter(|partition| partition.replicas.first() != Some(&partition.leader)).count();
            if astray == 0 { Ok(()) } else { Err(format!("{astray} of {} partitions have another", all.len())) }
        })
        .await
    }

    /// The broker that coordinates the campaign's group when every leader is where it belongs.
    async fn coordinator_by_right(&self) -> Result<Option<i32>> {
        let offsets = self.topology(Some(OFFSETS_TOPIC)).await?;
        ensure!(!offsets.is_empty(), "no group has ever committed");
        let wanted = group_partition(self.group, offsets.len());
        let found = offsets.iter().find(|partition| usize::try_from(partition.id) == Ok(wanted));
        Ok(found.and_then(|partition| partition.replicas.first().copied()))
    }

    async fn topology(&self, topic: Option<&'static str>) -> Result<Vec<Partition>> {
        let sources = self.sources.clone();
        tokio::task::spawn_blocking(move || sources.partitions(topic)).await?
    }
}

/// The partition of `__consumer_offsets` that a group's commits are in: `abs(hashCode) % partitions`, as
/// `GroupCoordinatorService.partitionFor` of Kafka has it. Groups here are ASCII, whose UTF-16 units are their bytes.
fn group_partition(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's `Utils.abs`: the one number without a positive twin counts as 0.
    usize::try_from(hash.checked_abs().unwrap_or(0)).unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_coordinated_where_java_says() {
        // "hello".hashCode() == 99162322; "polygenelubricants".hashCode() == Integer.MIN_VALUE.
        assert_eq!(group_partition("hello", 50), 99_162_322 % 50);
        assert_eq!(group_partition("polygenelubricants", 50), 0);
        assert_eq!(group_partition("", 50), 0);
    }
}
