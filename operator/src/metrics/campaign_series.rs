//! The series of all campaigns that say how they stand: written at each scrape from what the last passes saw, so that a phase that is left,
//! or a partition that is not looked at any more, leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::campaign_facts::{CampaignFacts, LogFacts, PartitionFacts, RetentionFacts};
use super::labels::CampaignLabels;

/// What is known of one campaign.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    facts: Option<CampaignFacts>,
    log: Option<LogFacts>,
    retention: Option<RetentionFacts>,
    /// No record that waits was written before this.
    waits_since_ms: Option<i64>,
    /// When a pass ended well last, in seconds since 1970.
    good_pass_s: Option<i64>,
}

type All = BTreeMap<CampaignLabels, Known>;

/// The campaigns that have series; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CampaignSeries(Arc<Mutex<All>>);

impl CampaignSeries {
    /// Takes over how a campaign stands. From now on it has series.
    pub(crate) fn describe(&self, labels: &CampaignLabels, facts: CampaignFacts) {
        self.lock().entry(labels.clone()).or_default().facts = Some(facts);
    }

    /// Takes over what Kafka said; `None`: it has no pods, or could not be read.
    pub(crate) fn log(&self, labels: &CampaignLabels, log: Option<LogFacts>, retention: Option<RetentionFacts>) {
        let mut all = self.lock();
        let known = all.entry(labels.clone()).or_default();
        if let Some(now) = retention {
            known.waits_since_ms = Some(now.waits_since_ms(known.waits_since_ms));
        }
        (known.log, known.retention) = (log, retention);
    }

    /// A pass over a campaign ended well. One that has no series gets none by that: it may just have gone.
    pub(crate) fn passed(&self, labels: &CampaignLabels, now_s: i64) {
        if let Some(known) = self.lock().get_mut(labels) {
            known.good_pass_s = Some(now_s);
        }
    }

    pub(super) fn forget(&self, labels: &CampaignLabels) {
        self.lock().remove(labels);
    }

    /// Those that have series and are not among `present`.
    pub(super) fn gone(&self, present: &BTreeSet<CampaignLabels>) -> Vec<CampaignLabels> {
        self.lock().keys().filter(|each| !present.contains(each)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number of each campaign: name, what it means, and where it comes from.
type Number = (&'static str, &'static str, fn(&Known) -> Option<i64>);

const NUMBERS: [Number; 10] = [
    ("campaign_window_start_timestamp_seconds", "When coupons can be had", |known| {
        Some(known.facts.as_ref()?.terms.window.start.as_second())
    }),
    ("campaign_window_end_timestamp_seconds", "Until when coupons can be had", |known| {
        Some(known.facts.as_ref()?.terms.window.end.as_second())
    }),
    ("campaign_total_quantity", "Coupons in all", |known| Some(known.facts.as_ref()?.terms.total_quantity)),
    ("campaign_per_user_limit", "Coupons that one user may have", |known| {
        Some(known.facts.as_ref()?.terms.per_user_limit)
    }),
    ("campaign_suspended", "1 while issuing is stopped", |known| Some(known.facts.as_ref()?.terms.suspended.into())),
    ("campaign_scaling_paused", "1 while a person holds the numbers of pods", |known| {
        Some(known.facts.as_ref()?.is_scaling_paused.into())
    }),
    (
        "campaign_unserved_seconds",
        "Time of the open window in which users got no coupon and nobody asked for that",
        |known| Some(known.facts.as_ref()?.unserved_s),
    ),
    ("campaign_last_good_pass_timestamp_seconds", "When a pass ended well last", |known| known.good_pass_s),
    ("campaign_retention_seconds", "How long Kafka keeps records; absent where it keeps them for ever", |known| {
        Some(known.retention?.retention_ms? / 1000)
    }),
    (
        "campaign_retention_margin_seconds",
        "At least so long until Kafka removes a record that is not stored; absent while none waits",
        |known| known.retention?.margin_s(known.waits_since_ms?),
    ),
];

/// A number of each partition that has it.
type PartitionNumber = (&'static str, &'static str, fn(&PartitionFacts) -> Option<i64>);

const OF_GROUP: [PartitionNumber; 2] = [
    ("consumergroup_lag", "Records of a partition that are not stored yet", |at| Some(at.lag)),
    ("consumergroup_current_offset", "What the group has committed of a partition", |at| at.committed),
];
const OF_TOPIC: [PartitionNumber; 2] = [
    ("topic_partition_current_offset", "End of a partition", |at| Some(at.end)),
    ("topic_partition_oldest_offset", "First offset of a partition", |at| Some(at.oldest)),
];

impl Collector for CampaignSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.lock();
        encode_info(&all, &mut encoder)?;
        for (name, help, number) in NUMBERS {
            let samples = all.iter().filter_map(|(labels, known)| Some((of(labels).to_vec(), number(known)?)));
            encode_gauge(&mut encoder, name, help, samples)?;
        }
        let facts = || all.iter().filter_map(|(labels, known)| Some((of(labels), known.facts.as_ref()?)));
        let conditions = facts().flat_map(|(labels, facts)| {
            let label = move |name, reason| [&labels[..], &[("type", name), ("reason", reason)]].concat();
            facts.conditions.iter().map(move |(name, reason, value)| (label(name, reason), *value))
        });
        encode_gauge(&mut encoder, "campaign_condition", "1: True, 0: False, -1: Unknown", conditions)?;
        let pods = |pick: fn(&(&'static str, i64, i64)) -> i64| {
            facts().flat_map(move |(labels, facts)| {
                let label = move |name| [&labels[..], &[("component", name)]].concat();
                facts.replicas.iter().map(move |each| (label(each.0), pick(each)))
            })
        };
        encode_gauge(&mut encoder, "campaign_replicas_wanted", "Pods that should be there", pods(|each| each.1))?;
        encode_gauge(&mut encoder, "campaign_replicas_ready", "Pods that are ready", pods(|each| each.2))?;
        encode_log(&all, &mut encoder)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn of(labels: &CampaignLabels) -> [(&'static str, &str); 2] {
    [("namespace", &labels.namespace), ("campaign", &labels.campaign)]
}

fn encode_info(all: &All, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut metric =
        encoder.encode_descriptor("campaign", "Whose it is and where it stands.", None, MetricType::Info)?;
    for (labels, known) in all {
        let Some(facts) = &known.facts else { continue };
        let own = [("class", &*facts.class), ("team", &*facts.team), ("phase", facts.phase)];
        metric.encode_info(&[&of(labels)[..], &own].concat())?;
    }
    Ok(())
}

fn encode_log(all: &All, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let logs = || all.iter().filter_map(|(labels, known)| Some((of(labels), known.log.as_ref()?)));
    let members = logs()
        .filter_map(|(labels, log)| Some(([&labels[..], &[("consumergroup", &*log.group)]].concat(), log.members?)));
    encode_gauge(encoder, "consumergroup_members", "Members of the group that hold partitions", members)?;
    for (numbers, is_of_group) in [(OF_GROUP, true), (OF_TOPIC, false)] {
        for (name, help, number) in numbers {
            let samples = logs().flat_map(move |(labels, log)| {
                let label = move |partition| {
                    let group = is_of_group.then_some(("consumergroup", &*log.group));
                    let own = [("topic", &*log.topic), ("partition", partition)];
                    labels.into_iter().chain(group).chain(own).collect::<Labels<'_>>()
                };
                log.partitions.iter().filter_map(move |at| Some((label(&at.id), number(at)?)))
            });
            encode_gauge(encoder, name, help, samples)?;
        }
    }
    Ok(())
}

fn encode_gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels<'a>, i64)>,
) -> fmt::Result {
    // As the registry does it: a sentence.
    let mut metric = encoder.encode_descriptor(name, &format!("{help}."), None, MetricType::Gauge)?;
    for (labels, value) in samples {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
