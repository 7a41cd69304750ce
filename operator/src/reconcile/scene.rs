//! A campaign and what the three systems say of it, for tests: begins at one point of a campaign's life, and is changed from
//! there in words that read aloud.

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_kafka_admin::{AdminError, ConfigEntry, ConfigSource, Partition, Topic, TopicState};
use coupon_ledger::database::{CampaignRow, DatabaseError};
use coupon_ledger::redis::{OpenInRedis, RedisError, RedisState, Terms};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rdkafka::types::RDKafkaErrorCode;

use super::cluster::Cluster;
use super::observe::{LedgerView, Observation};
use super::plan::{self, Plan};
use super::replicas::{Policies, ReplicaCount, ScalingDecision, ScalingInputs};
use crate::api::{CampaignClass, CouponCampaign, Phase};
use crate::class::measure::clocks::Witnesses;
use crate::fixtures::{self, END, HOUR, START};
use crate::kafka::topics::{self, TopicView};
use crate::kafka::view::{DeadUnread, KafkaView, Offsets};

/// What a campaign and the systems are like. `None`: that system is away.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub campaign: CouponCampaign,
    pub class: CampaignClass,
    pub ledger: Option<LedgerView>,
    pub redis: Option<RedisState>,
    pub kafka: Option<KafkaView>,
    /// The operator's own clock.
    pub clock_ms: i64,
    /// What is heard beside Redis.
    pub heard: Option<Witnesses>,
}

/// The terms of [`fixtures::campaign`].
pub(crate) fn terms() -> Terms {
    Terms { total: 100, limit: 1, start_ms: START, end_ms: END, suspended: false }
}

/// A topic with that many partitions, three copies each.
pub(crate) fn topic(id: &str, partitions: i32) -> TopicState {
    let partition = |id| Partition { id, leader: Some(1), replicas: vec![1, 2, 3], isr: vec![1, 2, 3] };
    TopicState::Present(Topic { topic_id: id.to_owned(), partitions: (0..partitions).map(partition).collect() })
}

fn configured(dead_letters: bool) -> BTreeMap<String, ConfigEntry> {
    let entry = |value| ConfigEntry { value: Some(value), source: ConfigSource::Topic, read_only: false };
    let all = topics::config(&fixtures::class().spec.kafka, 2, dead_letters);
    all.into_iter().map(|(key, value)| (key, entry(value))).collect()
}

impl Scene {
    /// Applied a moment ago, a day before the window: no row, no topics, nothing in Redis.
    pub(crate) fn new_campaign() -> Self {
        let now_ms = START - 24 * HOUR;
        let kafka = KafkaView {
            topic: TopicView {
                cluster_id: "c1".to_owned(),
                brokers: 3,
                events: TopicState::Absent,
                dead_letters: TopicState::Absent,
                events_config: BTreeMap::new(),
                dead_letters_config: BTreeMap::new(),
                used: None,
                dead_letters_used: None,
            },
            lag: Some(0),
            offsets: None,
            unread: None,
            group: None,
            dead_letters: Some(0),
            dead_ranks: Some(0),
            stranded: Some(0),
            contradicted: Some(0),
            above_total: Some(0),
            dead_unread: None,
        };
        Self {
            campaign: fixtures::campaign(),
            class: fixtures::class(),
            ledger: Some(LedgerView::unregistered()),
            redis: Some(RedisState { clock_ms: now_ms, now_ms, history: "h1".to_owned(), issued: 0, open: None }),
            kafka: Some(kafka),
            clock_ms: now_ms,
            heard: None,
        }
    }

    /// It has its row.
    pub(crate) fn registered() -> Self {
        let mut scene = Self::new_campaign();
        scene.ledger.as_mut().unwrap().row = Some(fixtures::row());
        scene
    }

    /// Its topics are there, and recorded as ours.
    pub(crate) fn with_topics() -> Self {
        let mut scene = Self::registered();
        scene.row().topic_id = Some("t1".to_owned());
        scene.row().kafka_cluster_id = Some("c1".to_owned());
        let view = &mut scene.kafka().topic;
        (view.events, view.dead_letters, view.used) = (topic("t1", 3), topic("d1", 3), Some(false));
        (view.events_config, view.dead_letters_config) = (configured(false), configured(true));
        scene.lag(0)
    }

    /// Epoch 1 is open, and Redis is filled: all is prepared, and there is nothing left to do before the window.
    pub(crate) fn prepared() -> Self {
        let mut scene = Self::with_topics();
        (scene.row().epoch, scene.row().open_epoch) = (1, Some(1));
        let open =
            OpenInRedis { epoch: 1, history: "h1".to_owned(), terms: terms(), number: 1, highest: 0, misfit: None };
        scene.redis().open = Some(open);
        scene.was(Phase::Scheduled)
    }

    /// An hour into the window, which is on record; nothing was issued yet.
    pub(crate) fn open() -> Self {
        let mut scene = Self::prepared();
        scene.row().opened_start_ms = Some(START);
        (scene.row().opened_end_ms, scene.row().opened_user_limit) = (Some(END), Some(1));
        scene.row().opened_key_by = Some("User".to_owned());
        scene.at(START + HOUR).was(Phase::Open)
    }

    /// All 100 coupons were issued and stored, and the window is over.
    pub(crate) fn completed() -> Self {
        Self::open().issued(100).stored(100).at(END + HOUR).was(Phase::Completed)
    }

    pub(crate) fn row(&mut self) -> &mut CampaignRow {
        self.ledger.as_mut().unwrap().row.as_mut().unwrap()
    }

    pub(crate) fn redis(&mut self) -> &mut RedisState {
        self.redis.as_mut().unwrap()
    }

    pub(crate) fn in_redis(&mut self) -> &mut OpenInRedis {
        self.redis().open.as_mut().unwrap()
    }

    /// The database has a row of this rank, above every one that there may have been.
    pub(crate) fn foreign_row(&mut self, rank: u64) {
        self.ledger.as_mut().unwrap().foreign = Some(rank);
    }

    pub(crate) fn kafka(&mut self) -> &mut KafkaView {
        self.kafka.as_mut().unwrap()
    }

    /// Whatever has no word of its own.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// It is `now_ms`, by all clocks.
    pub(crate) fn at(mut self, now_ms: i64) -> Self {
        self.clock_ms = now_ms;
        if let Some(redis) = &mut self.redis {
            (redis.clock_ms, redis.now_ms) = (now_ms, now_ms);
        }
        self
    }

    /// The phase that status had before.
    pub(crate) fn was(mut self, phase: Phase) -> Self {
        self.campaign.status.get_or_insert_default().phase = Some(phase);
        self
    }

    /// So many are winners, in ranks without a gap.
    pub(crate) fn issued(mut self, count: u64) -> Self {
        self.redis().issued = count;
        self.in_redis().highest = count;
        self.kafka().topic.used = Some(count > 0);
        self
    }

    /// So many are rows.
    pub(crate) fn stored(mut self, count: u64) -> Self {
        let ledger = self.ledger.as_mut().unwrap();
        (ledger.stored, ledger.highest, ledger.had) = (count, count, count);
        self
    }

    /// The rows were counted so long ago, and not all of them in this pass.
    pub(crate) fn counted_before(mut self, age_ms: i64) -> Self {
        let ledger = self.ledger.as_mut().unwrap();
        (ledger.counted_whole, ledger.count_age_ms) = (false, age_ms);
        self
    }

    /// There were so many rows once.
    pub(crate) fn had(mut self, rows: u64) -> Self {
        self.ledger.as_mut().unwrap().had = rows;
        self
    }

    /// So many records wait to be stored, in each of the three partitions about as many.
    pub(crate) fn lag(mut self, lag: u64) -> Self {
        let ends = (0..3).map(|id| (id, i64::try_from((lag + 2 - u64::try_from(id).unwrap()) / 3).unwrap()));
        let zeros = (0..3).map(|id| (id, 0)).collect();
        let committed = (0..3).map(|id| (id, Some(0))).collect();
        self.kafka().offsets =
            Some(Offsets { starts: zeros, ends: ends.collect(), committed, drained: BTreeMap::new() });
        self.kafka().lag = Some(lag);
        self
    }

    /// So many records are dead letters, of winners that are no rows.
    pub(crate) fn dead_letters(mut self, count: u64) -> Self {
        (self.kafka().dead_letters, self.kafka().dead_ranks, self.kafka().stranded) =
            (Some(count), Some(count), Some(count));
        self
    }

    /// Which ranks dead letters hold cannot be told.
    pub(crate) fn dead_letters_unread(mut self, why: DeadUnread) -> Self {
        let kafka = self.kafka();
        (kafka.dead_letters, kafka.dead_ranks, kafka.stranded, kafka.contradicted) = (Some(1), None, None, None);
        kafka.dead_unread = Some(why);
        self
    }

    /// So many of the winners of dead letters are given up, or are rows meanwhile.
    pub(crate) fn given_up(mut self, count: u64) -> Self {
        let stranded = self.kafka().stranded.map(|stranded| stranded - count);
        self.kafka().stranded = stranded;
        self
    }

    /// The spec says another quantity.
    pub(crate) fn quantity(mut self, total: i64) -> Self {
        self.campaign.spec.total_quantity = total;
        self
    }

    /// The spec says another start of the window.
    pub(crate) fn starting(mut self, start_ms: i64) -> Self {
        self.campaign.spec.window.start = Time(Timestamp::from_millisecond(start_ms).unwrap());
        self
    }

    /// The spec says another end of the window.
    pub(crate) fn ending(mut self, end_ms: i64) -> Self {
        self.campaign.spec.window.end = Time(Timestamp::from_millisecond(end_ms).unwrap());
        self
    }

    /// What the spec asks for has reached Redis.
    pub(crate) fn in_force(mut self) -> Self {
        self.in_redis().terms = self.plan().terms;
        self
    }

    /// And the total the database.
    pub(crate) fn in_row(mut self) -> Self {
        self.row().total = self.in_redis().terms.total;
        self
    }

    pub(crate) fn database_away(mut self) -> Self {
        self.ledger = None;
        self
    }

    pub(crate) fn redis_away(mut self) -> Self {
        self.redis = None;
        self
    }

    pub(crate) fn kafka_away(mut self) -> Self {
        self.kafka = None;
        self
    }

    /// The group's coordinator does not answer for it; everything else does.
    pub(crate) fn offsets_unread(mut self) -> Self {
        let kafka = self.kafka();
        (kafka.lag, kafka.offsets) = (None, None);
        kafka.unread = Some(AdminError::Other {
            resource: "group g".to_owned(),
            code: RDKafkaErrorCode::NotCoordinator,
            message: "Broker: Not coordinator".to_owned(),
        });
        self
    }

    /// Redis lost all it held.
    pub(crate) fn redis_emptied(mut self) -> Self {
        (self.redis().open, self.redis().issued) = (None, 0);
        self
    }

    /// So many hours after the end Redis need not hold it any more.
    pub(crate) fn retained_for(mut self, hours: u32) -> Self {
        self.campaign.spec.retain_for_hours = Some(hours);
        self
    }

    /// Its keys were removed from Redis, under the next epoch.
    pub(crate) fn keys_removed(mut self) -> Self {
        let (issued, now_ms) = (self.redis().issued, self.clock_ms);
        let row = self.row();
        (row.epoch, row.open_epoch) = (row.epoch + 1, None);
        (row.keys_removed_ms, row.issued_count) = (Some(now_ms), issued);
        self.redis_emptied()
    }

    /// Redis is another process, or another server, than the one that was filled.
    pub(crate) fn redis_history_changed(mut self) -> Self {
        self.redis().history = "h2".to_owned();
        self
    }

    /// Redis' clock is so far ahead of the operator's, and the database's, if it is heard, so far.
    pub(crate) fn clocks_off(mut self, redis_ms: i64, database_ms: Option<i64>) -> Self {
        let own_ms = self.redis().now_ms;
        self.redis().clock_ms += redis_ms;
        self.redis().now_ms += redis_ms;
        self.heard = Some(Witnesses { own_ms, database_ms: database_ms.map(|offset| own_ms + offset), redis_ms: None });
        self
    }

    /// The latest grant bears a time so far ahead of Redis' clock, which is right.
    pub(crate) fn time_left_ahead(mut self, ahead_ms: i64) -> Self {
        self = self.clocks_off(0, Some(0));
        self.redis().now_ms += ahead_ms;
        self
    }

    /// What a pass would have read.
    pub(crate) fn observation(&self) -> Observation {
        Observation {
            ledger: self.ledger.clone().ok_or(DatabaseError::Timeout(5)),
            redis: self.redis.clone().ok_or(RedisError::Timeout(2000)),
            kafka: self.kafka.clone().ok_or_else(|| AdminError::Unreachable {
                bootstrap: "kafka:9092".to_owned(),
                deadline: Duration::from_secs(5),
                cause: "Connection refused".to_owned(),
            }),
            heard: self.heard,
        }
    }

    /// The numbers of pods, with so many there.
    pub(crate) fn numbers(&self, issuer: ReplicaCount, consumer: ReplicaCount) -> ScalingDecision {
        let (plan, seen) = (self.plan(), self.observation());
        let reading = seen.kafka.as_ref().ok().and_then(|kafka| kafka.reading(0));
        let sight =
            ScalingInputs { issuer, consumer, ..ScalingInputs::new(&self.campaign, &plan, &seen, reading.as_ref(), 0) };
        Policies::default().find(&sight)
    }

    /// What is decided.
    pub(crate) fn plan(&self) -> Plan {
        self.plan_of(&Cluster::named(fixtures::CLUSTER))
    }

    /// The same in this cluster.
    pub(crate) fn plan_of(&self, cluster: &Cluster) -> Plan {
        plan::plan(&self.campaign, &self.class, &fixtures::id(), cluster, &self.observation(), self.clock_ms)
    }
}
