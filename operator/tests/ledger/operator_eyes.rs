//! An operator's passes over a stage, as far as they need no Kubernetes; and a consumer beside it.

use std::time::{Duration, Instant};

use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self, Heir, OpenedWindow, StoreMode, store};
use coupon_ledger::redis::Terms;
use coupon_ledger::redis::rebuild::Ledger;
use coupon_sink::drain::{self, Source};
use kube::ResourceExt;
use operator::api::{CampaignClass, CouponCampaign, Phase};
use operator::ledger::repair::scan::ScanResult;
use operator::ledger::repair::take_turn;
use operator::reconcile::Cluster;
use operator::reconcile::memory::Memory;
use operator::reconcile::observe::{Observation, observe};
use operator::reconcile::plan::{Plan, Step, plan};
use operator::reconcile::steps::plan_counted;
use serde_json::json;

use super::missing_winners::held;
use crate::common::stage::Stage;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two passes.
const PAUSE: Duration = Duration::from_millis(300);
/// Long ago, and long from now, milliseconds since 1970.
pub(crate) const PAST: i64 = 1_577_836_800_000;
pub(crate) const FUTURE: i64 = 4_102_444_800_000;

/// The cluster that this operator is in.
pub(crate) const CLUSTER: &str = "here";

/// What one pass saw, decided and published.
pub(crate) struct Pass {
    pub(crate) seen: Observation,
    pub(crate) plan: Plan,
    pub(crate) looked: ScanResult,
}

impl Pass {
    pub(crate) fn stored(&self) -> u64 {
        self.seen.ledger.as_ref().unwrap().stored
    }
}

/// One process, which remembers from pass to pass.
pub(crate) struct Operator<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) memory: Memory,
    pub(crate) campaign: CouponCampaign,
    class: CampaignClass,
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

impl<'a> Operator<'a> {
    /// A campaign on these terms, whose first `rows` winners of `winners` are rows. The topic is recorded as the campaign's.
    pub(crate) async fn of(stage: &'a Stage, terms: Terms, winners: u64, rows: u64) -> Self {
        let (kafka, name) = (&stage.systems.kafka, stage.campaign.topic());
        let TopicState::Present(topic) = kafka.describe_topics(&[&name]).await.unwrap().remove(&name).unwrap().unwrap()
        else {
            panic!("the topic is there")
        };
        let cluster = kafka.describe_cluster().await.unwrap().cluster_id;
        database::set_topic(&stage.systems.sql, stage.row, &topic.topic_id, &cluster).await.unwrap();
        if terms.start_ms == PAST {
            let window = OpenedWindow { start_ms: PAST, end_ms: terms.end_ms, limit: terms.limit };
            database::set_opened(&stage.systems.sql, &stage.row().await, window, "User").await.unwrap();
        }
        let ledger = Ledger { winners: (1..=winners).map(held).collect(), free: Vec::new(), highest: winners };
        stage.fill_on(1, 1, terms, &ledger).await;
        let stored: Vec<_> = (1..=rows).map(|rank| stage.winner(rank, 1)).collect();
        store(&stage.systems.sql, stage.row, StoreMode::Direct(&stored)).await.unwrap();
        // As if a consumer had stored them: nobody waits for their records.
        let ranks: Vec<u64> = (1..=rows).collect();
        database::set_published(&stage.systems.sql, stage.row, stage.row().await.epoch, &ranks).await.unwrap();
        let campaign = campaign(stage, terms);
        let uid = campaign.uid().unwrap();
        assert!(
            database::claim(&stage.systems.sql, &stage.row().await, Heir { cluster: CLUSTER, uid: &uid }, false)
                .await
                .unwrap()
        );
        Self { stage, memory: Memory::default(), campaign, class: class() }
    }

    /// The same with nothing remembered.
    pub(crate) fn restarted(self) -> Self {
        Self { memory: Memory::default(), ..self }
    }

    /// One pass.
    pub(crate) async fn pass(&mut self) -> Pass {
        let (systems, id) = (&self.stage.systems, &self.stage.campaign);
        let mut known = self.memory.cache.clone();
        let here = Cluster::named(CLUSTER);
        known.totals.asked = u64::try_from(self.campaign.spec.total_quantity).unwrap();
        let mut seen = observe(systems, id, false, &mut known).await;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let decide = |seen: &Observation| plan(&self.campaign, &self.class, id, &here, seen, now_ms);
        let plan = plan_counted(systems, &mut seen, &mut known, decide).await;
        if let (Phase::Completed, Ok(kafka)) = (plan.phase, &seen.kafka) {
            known.drained.persist(systems, id, kafka, false).await;
        }
        self.memory.remember(known);
        let at_rest = !plan.hands_off && plan.steps.iter().all(Step::can_wait);
        let looked = take_turn(systems, id, &seen, plan.key_by, at_rest, &mut self.memory).await.unwrap();
        self.campaign.status.get_or_insert_default().phase = Some(plan.phase);
        Pass { seen, plan, looked }
    }

    /// Passes until one is as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Pass) -> bool) -> Pass {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pass = self.pass().await;
            if wanted(&pass) {
                return pass;
            }
            let (ledger, kafka) = (&pass.seen.ledger, &pass.seen.kafka);
            assert!(Instant::now() < deadline, "{what}: {:?} {ledger:?} {kafka:?}", pass.plan);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same, with a consumer at work.
    pub(crate) async fn until_stored(&mut self, rows: u64) -> Pass {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pass = self.pass().await;
            if pass.stored() == rows {
                return pass;
            }
            assert!(Instant::now() < deadline, "{} of {rows} rows; {:?}", pass.stored(), pass.plan);
            self.consume(&pass).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Stores what waits in the log, and commits.
    pub(crate) async fn consume(&self, pass: &Pass) {
        let Stage { systems, campaign, .. } = self.stage;
        let range = pass.seen.kafka.as_ref().unwrap().offsets.as_ref().unwrap().unread();
        let kafka = &systems.settings.operator.kafka;
        let source = Source { kafka, pool: &systems.sql, campaign, range: &range };
        let drained = drain::drain(source, PATIENCE, |_| {}).await.unwrap();
        systems.kafka.commit_offsets(&campaign.group(), &campaign.topic(), &drained.next).await.unwrap();
    }
}

fn campaign(stage: &Stage, terms: Terms) -> CouponCampaign {
    serde_json::from_value(json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CouponCampaign",
        "metadata": {"name": stage.campaign.coupon_id(), "namespace": "operator", "uid": "0001", "generation": 1},
        "spec": {
            "totalQuantity": terms.total,
            "perUserLimit": terms.limit,
            "partitions": 1,
            "suspend": terms.suspended,
            "window": {"start": time(terms.start_ms), "end": time(terms.end_ms)},
        },
        "status": {"phase": Phase::Draining, "epoch": 1},
    }))
    .unwrap()
}

fn class() -> CampaignClass {
    serde_json::from_value(json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CampaignClass",
        "metadata": {"name": "main"},
        "spec": {
            "realm": "test",
            "kafka": {
                "bootstrapServers": ["kafka:9092"], "security": {"protocol": "Plaintext"},
                "replicationFactor": 1, "minInSyncReplicas": 1, "allowLowerReplication": true,
            },
            "redis": {"url": "redis://redis:6379"},
            "database": {"host": "mysql", "name": "coupons"},
            "credentials": {"operator": {"secretName": "operator"}, "workload": {"secretName": "workload"}},
        },
    }))
    .unwrap()
}
