//! What the series of a campaign say, from what a pass saw. Pure.

use coupon_core::identity::CampaignId;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{CouponCampaign, CouponCampaignStatus, TermsStatus, WindowStatus, WorkloadStatus};
use crate::kafka::view::{KafkaView, Offsets};
use crate::reconcile::PAUSE_ANNOTATION;

/// Label of a campaign that says whom its alerts concern.
pub(crate) const TEAM_LABEL: &str = "coupon-operator.io/team";

/// How a campaign stands, as its status says it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CampaignFacts {
    pub(super) class: String,
    pub(super) team: String,
    pub(super) phase: &'static str,
    /// Type, reason, and 1 for True, 0 for False, -1 for Unknown.
    pub(super) conditions: Vec<(String, String, i64)>,
    /// Those in force; before there are any, those that are asked for.
    pub(super) terms: TermsStatus,
    /// The numbers of pods are held by a person.
    pub(super) is_scaling_paused: bool,
    pub(super) unserved_s: i64,
    /// Component, wanted, ready.
    pub(super) replicas: Vec<(&'static str, i64, i64)>,
}

impl CampaignFacts {
    /// From an object and the status that it should have.
    pub(crate) fn of(campaign: &CouponCampaign, status: &CouponCampaignStatus) -> Self {
        let class = status.class_name.as_ref().or(campaign.spec.class_name.as_ref());
        let conditions = status.conditions.iter().map(|each| {
            let value = match each.status.as_str() {
                "True" => 1,
                "False" => 0,
                _ => -1,
            };
            (each.type_.clone(), each.reason.clone(), value)
        });
        let pods =
            |name, found: Option<&WorkloadStatus>| found.map(|pods| (name, pods.wanted.into(), pods.ready.into()));
        Self {
            class: class.cloned().unwrap_or_default(),
            team: campaign.labels().get(TEAM_LABEL).cloned().unwrap_or_default(),
            phase: status.phase.unwrap_or_default().into(),
            conditions: conditions.collect(),
            terms: status.terms.clone().unwrap_or_else(|| asked(campaign)),
            is_scaling_paused: campaign.annotations().contains_key(PAUSE_ANNOTATION),
            unserved_s: status.unserved_seconds.unwrap_or(0),
            replicas: [pods("issuer", status.issuer.as_ref()), pods("consumer", status.consumer.as_ref())]
                .into_iter()
                .flatten()
                .collect(),
        }
    }
}

fn asked(campaign: &CouponCampaign) -> TermsStatus {
    let spec = &campaign.spec;
    TermsStatus {
        total_quantity: spec.total_quantity,
        window: WindowStatus { start: spec.window.start.0, end: spec.window.end.0 },
        per_user_limit: spec.per_user_limit.into(),
        suspended: spec.suspend,
    }
}

/// Where each partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFacts {
    pub(super) topic: String,
    pub(super) group: String,
    /// Members of the group that hold partitions; `None`: unknown.
    pub(super) members: Option<i64>,
    pub(super) partitions: Vec<PartitionFacts>,
}

/// Where one partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionFacts {
    pub(super) id: String,
    pub(super) oldest: i64,
    pub(super) end: i64,
    /// `None`: the group has committed nothing yet.
    pub(super) committed: Option<i64>,
    pub(super) lag: i64,
}

impl LogFacts {
    /// From what Kafka said of a campaign that `has_pods`: without them the partitions of many campaigns would be series that never change.
    pub(crate) fn of(id: &CampaignId, kafka: &KafkaView, has_pods: bool) -> Option<Self> {
        let offsets = kafka.offsets.as_ref().filter(|_| has_pods)?;
        Some(Self {
            topic: id.topic(),
            group: id.group(),
            members: kafka.group.map(|group| group.holders.into()),
            partitions: offsets.ends.iter().map(|(id, end)| partition(offsets, *id, *end)).collect(),
        })
    }
}

fn partition(offsets: &Offsets, id: i32, end: i64) -> PartitionFacts {
    PartitionFacts {
        id: id.to_string(),
        oldest: offsets.starts.get(&id).copied().unwrap_or(0),
        end,
        committed: offsets.committed.get(&id).copied().flatten(),
        lag: (end - offsets.position(id)).max(0),
    }
}

/// How long Kafka keeps records that are not stored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetentionFacts {
    /// How long the topic keeps records, in milliseconds. `None`: for ever, or not known.
    pub(crate) retention_ms: Option<i64>,
    /// Records that wait to be stored; `None`: not known.
    pub(crate) lag: Option<u64>,
    /// The campaign's time.
    pub(crate) now_ms: i64,
    /// No record is older than the window.
    pub(crate) window_start_ms: i64,
}

impl RetentionFacts {
    /// From what Kafka said.
    pub(crate) fn of(kafka: &KafkaView, now_ms: i64, window_start: Timestamp) -> Self {
        let retention = kafka.topic.events_config.get("retention.ms").and_then(|entry| entry.value.as_ref());
        Self {
            retention_ms: retention.and_then(|text| text.parse().ok()).filter(|ms| *ms >= 0),
            lag: kafka.lag,
            now_ms,
            window_start_ms: window_start.as_millisecond(),
        }
    }

    /// No record that waits was written before this. `before`: the same at the last look, if there was one.
    pub(super) fn waits_since_ms(&self, before: Option<i64>) -> i64 {
        match self.lag {
            Some(0) => self.now_ms,
            _ => before.unwrap_or(self.window_start_ms).min(self.now_ms),
        }
    }

    /// At least so many seconds are left until Kafka removes a record that is not stored; `None`: none waits, or it is not known.
    pub(super) fn margin_s(&self, waits_since_ms: i64) -> Option<i64> {
        self.lag.filter(|lag| *lag > 0)?;
        Some((self.retention_ms? - (self.now_ms - waits_since_ms)) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConditionType, Phase, conditions};
    use crate::fixtures::{self, END, HOUR, START};
    use crate::reconcile::scene::Scene;
    use crate::scaling::reading::Membership;

    /// Wrong: an alert looks at what people ask for, and not at what users meet; or takes unknown for well.
    #[test]
    fn a_campaign_is_told_as_its_status_says() {
        let mut campaign = fixtures::campaign();
        campaign.labels_mut().insert(TEAM_LABEL.to_owned(), "checkout".to_owned());
        campaign.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), "in".to_owned());
        campaign.spec.total_quantity = 500;
        let reports = [
            conditions::Report::yes(ConditionType::Open, "Open", ""),
            conditions::Report::no(ConditionType::Ready, "RedisReadOnly", ""),
            conditions::Report::unknown(ConditionType::LedgerConsistent, "DatabaseAway", ""),
        ];
        let pods = |wanted, ready| Some(WorkloadStatus { wanted, ready, ..WorkloadStatus::default() });
        let mut status = CouponCampaignStatus {
            phase: Some(Phase::Open),
            class_name: Some("fast".to_owned()),
            terms: Some(fixtures::terms_status(true)),
            unserved_seconds: Some(7),
            issuer: pods(3, 2),
            consumer: pods(1, 1),
            ..CouponCampaignStatus::default()
        };
        conditions::merge(&mut status.conditions, &reports, 1, Timestamp::UNIX_EPOCH);
        let facts = CampaignFacts::of(&campaign, &status);
        assert_eq!((facts.class.as_str(), facts.team.as_str(), facts.phase), ("fast", "checkout", "Open"));
        let terms = (facts.terms.total_quantity, facts.terms.suspended, facts.is_scaling_paused, facts.unserved_s);
        assert_eq!(terms, (100, true, true, 7));
        assert_eq!(facts.replicas, [("issuer", 3, 2), ("consumer", 1, 1)]);
        let values: Vec<_> = facts.conditions.iter().map(|(name, why, value)| (&**name, &**why, *value)).collect();
        assert_eq!(
            values,
            [("Open", "Open", 1), ("Ready", "RedisReadOnly", 0), ("LedgerConsistent", "DatabaseAway", -1)]
        );
        let new = CampaignFacts::of(&campaign, &CouponCampaignStatus::default());
        assert_eq!((new.phase, new.terms.total_quantity, new.replicas.len()), ("Pending", 500, 0));
        assert_eq!(new.terms.window.start.as_millisecond(), START, "what is asked for, until something is in force");
    }

    /// Wrong: what was removed, or is on record as stored, is counted as lag; or an unknown offset as zero.
    #[test]
    fn partitions_are_told_while_there_are_pods() {
        let mut scene = Scene::open().lag(30);
        let kafka = scene.kafka();
        kafka.group = Some(Membership { stable: true, holders: 2 });
        let offsets = kafka.offsets.as_mut().unwrap();
        (offsets.starts, offsets.committed) = ([(0, 4), (1, 0), (2, 0)].into(), [(0, None), (1, Some(3))].into());
        offsets.drained = [(2, 9)].into();
        let facts = LogFacts::of(&fixtures::id(), kafka, true).unwrap();
        assert_eq!(facts.topic, "prod.shop.spring.coupon-events");
        assert_eq!((facts.group.as_str(), facts.members), ("prod.shop.spring.coupon-consumer", Some(2)));
        let told: Vec<_> = facts.partitions.iter().map(|at| (at.oldest, at.end, at.committed, at.lag)).collect();
        assert_eq!(told, [(4, 10, None, 6), (0, 10, Some(3), 7), (0, 10, None, 1)]);
        assert_eq!(LogFacts::of(&fixtures::id(), kafka, false), None, "no pods, no series");
        let unread = Scene::open().offsets_unread().kafka().clone();
        assert_eq!(LogFacts::of(&fixtures::id(), &unread, true), None);
    }

    /// Wrong: Kafka removes winners that are no rows yet, and nobody was told in time.
    #[test]
    fn records_that_wait_are_as_old_as_the_last_look_without_any() {
        let kafka = Scene::open().lag(5).kafka().clone();
        let start = Timestamp::from_millisecond(START).unwrap();
        let at = |now_ms, lag| RetentionFacts { lag, ..RetentionFacts::of(&kafka, now_ms, start) };
        assert_eq!(at(END, Some(5)).retention_ms, Some(168 * HOUR));
        let none = at(START + HOUR, Some(0));
        assert_eq!(none.margin_s(none.waits_since_ms(None)), None, "nothing waits");
        let since = none.waits_since_ms(None);
        let later = at(START + 3 * HOUR, Some(5));
        assert_eq!(later.margin_s(later.waits_since_ms(Some(since))), Some(166 * 3600));
        assert_eq!(
            later.margin_s(later.waits_since_ms(None)),
            Some(165 * 3600),
            "after a restart: since the window began"
        );
        let unknown = at(START + 4 * HOUR, None);
        assert_eq!((unknown.waits_since_ms(Some(since)), unknown.margin_s(since)), (since, None));
        let for_ever = RetentionFacts { retention_ms: None, ..later };
        assert_eq!(for_ever.margin_s(since), None);
        let over = at(START + 200 * HOUR, Some(5));
        assert!(over.margin_s(START).is_some_and(|left| left < 0), "a time that is over is negative, not gone");
    }
}
