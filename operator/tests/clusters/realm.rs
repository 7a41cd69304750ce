//! A realm: the servers that its clusters share, and one campaign.

use std::collections::BTreeMap;

use coupon_core::connections::{Connections, Login, RedisServer};
use coupon_core::event::{EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
use coupon_core::identity::{CampaignId, Identity};
use coupon_core::names::KafkaNames;
use coupon_core::position::{Position, RecordPlace};
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self, CampaignRow};
use coupon_ledger::kafka::client_config;
use coupon_ledger::redis::RedisKeys;
use coupon_testing::servers::connections;
use k8s_openapi::ByteString;
use operator::class::ClassConnections;
use operator::class::pools::Systems;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use super::api::Api;
use super::cluster::{Cluster, run};
use super::wait::{NAME, NAMESPACE, PATIENCE};

/// A realm of the test's own.
pub(crate) struct Realm {
    name: String,
    /// Since 1970: the same terms in each cluster.
    hour: i64,
    pub(crate) campaign: CampaignId,
    pub(crate) systems: Systems,
    /// With which login pods are at Redis.
    pods: Login,
}

impl Realm {
    /// In which the pods have a login of their own at Redis.
    pub(crate) async fn with_pods_of_its_own() -> Self {
        let mut realm = Self::new();
        realm.pods = Login { username: format!("{}-pods", realm.name), password: "secret".to_owned() };
        realm.acl(&["on", ">secret", "~coupon:*", "+@all"]).await;
        realm
    }

    async fn acl(&self, rules: &[&str]) {
        let mut redis = self.systems.redis().await.unwrap();
        let mut set = redis::cmd("ACL");
        set.arg("SETUSER").arg(&self.pods.username).arg(rules);
        set.query_async::<()>(&mut redis).await.unwrap();
    }

    /// Gives the pods a right at Redis, or takes it away.
    pub(crate) async fn pods_may(&self, rule: &str) {
        self.acl(&[rule]).await;
    }

    /// A letter that only a newer program can read.
    pub(crate) async fn dead_letter_of_a_later_version(&self) {
        self.record_of_a_later_version(&self.campaign.dead_letter_topic()).await;
    }

    /// The same in any topic. Where it lies.
    pub(crate) async fn record_of_a_later_version(&self, topic: &str) -> Position {
        let kafka = &self.systems.settings.operator.kafka;
        let producer: FutureProducer = client_config(kafka, "test", &[("acks", "all")]).create().unwrap();
        let campaign = self.campaign.to_string();
        let headers = [(HEADER_VERSION, "2"), (HEADER_EVENT_TYPE, EVENT_TYPE), (HEADER_CAMPAIGN, campaign.as_str())]
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let record = FutureRecord::<[u8], [u8]>::to(topic).payload(b"of a later day").headers(headers);
        let at = producer.send(record, PATIENCE).await.unwrap();
        Position { partition: at.partition, offset: at.offset }
    }

    /// As whoever discards it does.
    pub(crate) async fn is_given_up(&self, topic: &str, at: Position) {
        let found = self.systems.kafka.describe_topics(&[topic]).await.unwrap().remove(topic).unwrap().unwrap();
        let TopicState::Present(described) = found else { panic!("{topic} is not there") };
        let place = RecordPlace { topic_id: described.topic_id, at };
        database::discard_record(&self.systems.sql, self.row().await.id, &place, "NewerRecord").await.unwrap();
    }

    /// As whoever has looked into them does.
    pub(crate) async fn dead_letters_are_removed(&self) {
        let (kafka, topic) = (&self.systems.kafka, self.campaign.dead_letter_topic());
        let count = operator::ledger::epoch::partitions(&self.systems, &topic).await.unwrap();
        let partitions: Vec<(&str, i32)> = (0..count).map(|partition| (topic.as_str(), partition)).collect();
        let ends = kafka.end_offsets(&partitions).await.unwrap();
        let ends = ends.into_iter().map(|((_, partition), end)| (partition, end.unwrap())).collect();
        kafka.delete_records(&topic, &ends).await.unwrap().into_values().for_each(|removed| {
            removed.unwrap();
        });
    }

    pub(crate) fn new() -> Self {
        Self::named(&KafkaNames::default())
    }

    /// In which topics and groups are called so.
    pub(crate) fn named(names: &KafkaNames) -> Self {
        let name = format!("r{:012x}", rand::random::<u32>());
        let settings = Connections { kafka_names: names.clone(), ..connections() };
        let campaign = settings.campaign(Identity::new(&name, NAMESPACE, NAME).unwrap());
        let (operator, workload) = (settings.clone(), settings);
        let hour = jiff::Timestamp::now().as_second() / 3600;
        let pods = workload.redis.login.clone();
        let systems = Systems::new(ClassConnections { operator, workload }).unwrap();
        Self { name, hour, campaign, systems, pods }
    }

    /// A cluster in which the class and the campaign were applied, and its operator at work.
    pub(crate) fn cluster(&self, uid: &'static str) -> Cluster {
        let api = Api::new();
        let Connections { kafka, redis, database, .. } = connections();
        let RedisServer::Address(redis_address) = redis.server else { panic!("a Redis by its address") };
        api.apply("namespaces", "", &json!({"metadata": {"name": "kube-system", "uid": uid}}));
        let labels = json!({"coupon-operator.io/enabled": "true"});
        api.apply("namespaces", "", &json!({"metadata": {"name": NAMESPACE, "labels": labels}}));
        for (name, at_redis) in [("login", &redis.login), ("pods-login", &self.pods)] {
            let keys = [
                ("redis-username", &at_redis.username),
                ("redis-password", &at_redis.password),
                ("database-username", &database.login.username),
                ("database-password", &database.login.password),
            ];
            let data: BTreeMap<&str, ByteString> = keys
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key, ByteString(value.clone().into())))
                .collect();
            let secret = json!({"metadata": {"name": name, "namespace": "coupon-system"}, "data": data});
            api.apply("secrets", "coupon-system", &secret);
        }
        let (login, pods) = (json!({"secretName": "login"}), json!({"secretName": "pods-login"}));
        api.apply("campaignclasses", "", &json!({
            "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CampaignClass",
            "metadata": {"name": "main", "annotations": {"coupon-operator.io/is-default-class": "true"}},
            "spec": {
                "realm": self.name,
                "kafka": {
                    "bootstrapServers": kafka.bootstrap_servers, "security": {"protocol": "Plaintext"},
                    "replicationFactor": 1, "minInSyncReplicas": 1, "allowLowerReplication": true,
                    "names": self.systems.settings.operator.kafka_names,
                },
                "redis": {"url": format!("redis://{redis_address}/{}", redis.database)},
                "database": {"host": database.host, "port": database.port, "name": database.name, "tls": "Disabled"},
                "credentials": {"operator": login, "workload": pods},
            },
        }));
        let mut cluster = Cluster { uid, api, realm: self.campaign.clone(), pods: self.pods.clone(), operator: None };
        self.is_applied_in(&cluster);
        cluster.operator = Some(run(&cluster.api, None));
        cluster
    }

    /// Somebody applies the campaign.
    pub(crate) fn is_applied_in(&self, cluster: &Cluster) {
        let time = |hour: i64| jiff::Timestamp::from_second(hour * 3600).unwrap().to_string();
        cluster.api.apply(
            "couponcampaigns",
            NAMESPACE,
            &json!({
                "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CouponCampaign",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": {
                    "totalQuantity": 500_000, "partitions": 2, "deletionPolicy": "Delete",
                    "window": {"start": time(self.hour - 1), "end": time(self.hour + 3)},
                },
            }),
        );
    }

    pub(crate) async fn row(&self) -> CampaignRow {
        database::find(&self.systems.sql, &self.campaign).await.unwrap().unwrap()
    }

    /// So many seconds after the window begins.
    pub(crate) fn start_and(&self, seconds: i64) -> String {
        jiff::Timestamp::from_second((self.hour - 1) * 3600 + seconds).unwrap().to_string()
    }

    /// Keys of the campaign in Redis.
    pub(crate) async fn keys_in_redis(&self) -> usize {
        let mut redis = self.systems.redis().await.unwrap();
        let pattern = format!("*{{{}}}*", self.campaign);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
        keys.len()
    }

    /// The group has read the topic to its end, as consumers say when they have stored it.
    pub(crate) async fn commits(&self) {
        let (kafka, topic) = (&self.systems.kafka, self.campaign.topic());
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1)]).await.unwrap();
        let next = ends.into_iter().map(|((_, partition), end)| (partition, end.unwrap())).collect();
        kafka.commit_offsets(&self.campaign.group(), &topic, &next).await.unwrap();
    }

    /// As after a failover of which nobody here knows more: the keys were written by another server.
    pub(crate) async fn redis_is_another_one(&self) {
        let (mut redis, keys) = (self.systems.redis().await.unwrap(), RedisKeys::of(&self.campaign));
        let mut set = redis::cmd("HSET");
        set.arg(&keys.meta).arg("history").arg("another/one");
        set.query_async::<()>(&mut redis).await.unwrap();
    }
}
