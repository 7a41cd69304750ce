//! A realm, its clusters, their issuers, and the people who ask them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use campaign::event::{EVENT_TYPE, HEADER_CAMPAIGN, HEADER_EVENT_TYPE, HEADER_VERSION};
use campaign::identity::{CampaignId, Identity};
use campaign::log::admin::TopicState;
use campaign::log::client_config;
use campaign::names::KafkaNames;
use campaign::settings::{Connections, Login, RedisServer};
use campaign::stock::StockKeys;
use campaign::table::{self, CampaignRow, Position, RecordPlace};
use campaign::telemetry;
use clap::Parser;
use consumer::drain::{self, Source};
use k8s_openapi::ByteString;
use operator::class::ClassConnections;
use operator::config::{Cli, Command};
use operator::connections::Systems;
use operator::controller;
use operator::metrics::Metrics;
use operator::progress::Progress;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::servers::connections;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
pub const NAMESPACE: &str = "shop";
pub const NAME: &str = "spring";
/// People who ask at the same time, and how often each does.
const PEOPLE: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A realm of the test's own.
pub struct Realm {
    name: String,
    /// Since 1970: the same terms in each cluster.
    hour: i64,
    pub campaign: CampaignId,
    pub systems: Systems,
    /// With which login pods are at Redis.
    pods: Login,
}

impl Realm {
    /// In which the pods have a login of their own at Redis.
    pub async fn with_pods_of_its_own() -> Self {
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
    pub async fn pods_may(&self, rule: &str) {
        self.acl(&[rule]).await;
    }

    /// A letter that only a newer program can read.
    pub async fn dead_letter_of_a_later_version(&self) {
        self.record_of_a_later_version(&self.campaign.dead_letter_topic()).await;
    }

    /// The same in any topic. Where it lies.
    pub async fn record_of_a_later_version(&self, topic: &str) -> Position {
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
    pub async fn is_given_up(&self, topic: &str, at: Position) {
        let found = self.systems.kafka.describe_topics(&[topic]).await.unwrap().remove(topic).unwrap().unwrap();
        let TopicState::Present(described) = found else { panic!("{topic} is not there") };
        let place = RecordPlace { topic_id: described.topic_id, at };
        table::discard_record(&self.systems.sql, self.row().await.id, &place, "NewerRecord").await.unwrap();
    }

    /// As whoever has looked into them does.
    pub async fn dead_letters_are_removed(&self) {
        let (kafka, topic) = (&self.systems.kafka, self.campaign.dead_letter_topic());
        let count = operator::epoch::partitions(&self.systems, &topic).await.unwrap();
        let partitions: Vec<(&str, i32)> = (0..count).map(|partition| (topic.as_str(), partition)).collect();
        let ends = kafka.end_offsets(&partitions).await.unwrap();
        let ends = ends.into_iter().map(|((_, partition), end)| (partition, end.unwrap())).collect();
        kafka.delete_records(&topic, &ends).await.unwrap().into_values().for_each(|removed| {
            removed.unwrap();
        });
    }

    /// Somebody changes two scores by hand, and all counts fit.
    pub async fn two_holders_swap_ranks_in_redis(&self, crowd: &Crowd) {
        let two: Vec<(String, u64)> =
            crowd.told.lock().unwrap().iter().take(2).map(|told| (told.user.clone(), told.rank)).collect();
        let [(one, first), (other, second)] = two.as_slice() else { panic!("two people") };
        let (mut redis, keys) = (self.systems.redis().await.unwrap(), StockKeys::of(&self.campaign));
        let mut swap = redis::cmd("ZADD");
        swap.arg(&keys.issued).arg(second).arg(format!("1:{one}")).arg(first).arg(format!("1:{other}"));
        swap.query_async::<()>(&mut redis).await.unwrap();
    }

    pub fn new() -> Self {
        Self::named(&KafkaNames::default())
    }

    /// In which topics and groups are called so.
    pub fn named(names: &KafkaNames) -> Self {
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
    pub fn cluster(&self, uid: &'static str) -> Cluster {
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
    pub fn is_applied_in(&self, cluster: &Cluster) {
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

    pub async fn row(&self) -> CampaignRow {
        table::find(&self.systems.sql, &self.campaign).await.unwrap().unwrap()
    }

    /// All that there is of the campaign outside of Kubernetes, in words.
    pub async fn everything(&self) -> Vec<String> {
        let mut all = vec![format!("{:?}", self.row().await)];
        let sql = "SELECT CAST(CONCAT_WS(' ', updated_at, (SELECT COUNT(*) FROM issued_coupon WHERE campaign_id = id), \
                   (SELECT COUNT(*) FROM epoch_barrier WHERE campaign_id = id), (SELECT COUNT(*) FROM drained WHERE campaign_id = id)) AS CHAR) \
                   FROM campaign WHERE id = ?";
        let counts: String =
            sqlx::query_scalar(sql).bind(self.row().await.id.0).fetch_one(&self.systems.sql).await.unwrap();
        all.push(counts);
        let mut redis = self.systems.redis().await.unwrap();
        let pattern = format!("*{{{}}}*", self.campaign);
        let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
        keys.sort();
        assert!(!keys.is_empty());
        for key in keys {
            let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
            let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
            all.push(format!("{key} {left} {dump:?}"));
        }
        let (topic, dead) = (self.campaign.topic(), self.campaign.dead_letter_topic());
        let kafka = &self.systems.kafka;
        all.push(format!(
            "{:?}",
            kafka
                .describe_topics(&[&topic, &dead])
                .await
                .unwrap()
                .into_iter()
                .collect::<BTreeMap<_, _>>()
                .values()
                .map(|state| format!("{state:?}"))
                .collect::<Vec<_>>()
        ));
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1), (dead.as_str(), 0)]).await.unwrap();
        all.push(format!("{:?}", ends.into_iter().map(|(at, end)| (at, end.unwrap())).collect::<BTreeMap<_, _>>()));
        all.push(format!("{:?}", kafka.committed_offsets(&self.campaign.group(), &topic, 2).await.unwrap()));
        all
    }

    /// So many seconds after the window begins.
    pub fn start_and(&self, seconds: i64) -> String {
        jiff::Timestamp::from_second((self.hour - 1) * 3600 + seconds).unwrap().to_string()
    }

    /// Keys of the campaign in Redis.
    pub async fn keys_in_redis(&self) -> usize {
        let mut redis = self.systems.redis().await.unwrap();
        let pattern = format!("*{{{}}}*", self.campaign);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
        keys.len()
    }

    /// The group has read the topic to its end, as consumers say when they have stored it.
    pub async fn commits(&self) {
        let (kafka, topic) = (&self.systems.kafka, self.campaign.topic());
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1)]).await.unwrap();
        let next = ends.into_iter().map(|((_, partition), end)| (partition, end.unwrap())).collect();
        kafka.commit_offsets(&self.campaign.group(), &topic, &next).await.unwrap();
    }

    /// Whoever was told a rank asks again, and hears the same one.
    pub async fn nobody_gets_a_second(&self, crowd: &Crowd, issuer: SocketAddr) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        let url = format!("http://{issuer}/api/coupons/{}/issue", self.campaign.coupon_id());
        let told: Vec<(String, u64)> =
            crowd.told.lock().unwrap().iter().map(|told| (told.user.clone(), told.rank)).collect();
        for (user, rank) in told {
            let answer: Value = until("an answer", async || {
                let asked = client.post(&url).json(&json!({"userId": user})).send().await.ok()?;
                let answered = asked.status().is_success();
                asked.json().await.ok().filter(|_| answered)
            })
            .await;
            assert_eq!(answer["rank"].as_u64(), Some(rank), "{user}: {answer}");
        }
    }

    /// As after a failover of which nobody here knows more: the keys were written by another server.
    pub async fn redis_is_another_one(&self) {
        let (mut redis, keys) = (self.systems.redis().await.unwrap(), StockKeys::of(&self.campaign));
        let mut set = redis::cmd("HSET");
        set.arg(&keys.meta).arg("history").arg("another/one");
        set.query_async::<()>(&mut redis).await.unwrap();
    }

    /// Stores what is in the topic, as consumers would, and holds the rows against what people were told.
    pub async fn everybody_has_what_they_were_told(&self, crowd: &Crowd) {
        let (kafka, sql) = (&self.systems.kafka, &self.systems.sql);
        let topic = self.campaign.topic();
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1)]).await.unwrap();
        let range = ends.into_iter().map(|((_, partition), end)| (partition, (0, end.unwrap()))).collect();
        let settings = &self.systems.settings.operator.kafka;
        let source = Source { kafka: settings, pool: sql, campaign: &self.campaign, range: &range };
        let drained = drain::drain(source, PATIENCE, |_| {}).await.unwrap();
        let (row, mut rows, mut above) = (self.row().await.id, BTreeMap::new(), 0);
        loop {
            let page = table::read_rows(sql, &self.campaign, row, above, 2_000).await.unwrap();
            let Some(last) = page.last() else { break };
            above = last.rank;
            rows.extend(page.into_iter().map(|event| (event.rank, event.user_id.as_str().to_owned())));
        }
        let told = crowd.told.lock().unwrap();
        assert!(!told.is_empty());
        let mut holders = BTreeMap::new();
        for Told { user, rank, .. } in told.iter() {
            assert_eq!(rows.get(rank), Some(user), "rank {rank} of {}; {drained:?}", told.len());
            assert_eq!(holders.insert(*rank, user.clone()), None, "rank {rank} was told twice");
        }
    }
}

fn run(api: &Api, name: Option<&str>) -> JoinHandle<()> {
    let mut arguments = vec!["coupon-operator", "run", "--image", "example.com/coupon:0"];
    arguments.extend(name.into_iter().flat_map(|name| ["--cluster-id", name]));
    let Command::Run(config) = Cli::parse_from(arguments).command else { panic!("it runs") };
    let metrics = Metrics::new(&telemetry::registry("coupon"));
    let run =
        controller::run(api.client(), config, metrics, Arc::new(Progress::default()), std::future::pending::<()>());
    tokio::spawn(run)
}

/// One cluster.
pub struct Cluster {
    pub uid: &'static str,
    pub api: Api,
    pub realm: CampaignId,
    /// With which login pods are at Redis.
    pub pods: Login,
    operator: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Its operator is gone; its pods are not.
    pub async fn stop(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.abort();
            drop(operator.await);
        }
    }

    /// An operator is at work again.
    pub fn starts(&mut self) {
        self.operator = Some(run(&self.api, None));
    }

    /// The class is made again, with these names.
    pub fn names_topics(&self, names: &KafkaNames) {
        let patch = json!({"metadata": {"name": "main"}, "spec": {"kafka": {"names": names}}});
        self.api.apply("campaignclasses", "", &patch);
    }

    /// The class is made again, in this realm.
    pub fn is_in_realm(&self, realm: &str) {
        self.api.apply("campaignclasses", "", &json!({"metadata": {"name": "main"}, "spec": {"realm": realm}}));
    }

    /// The class wants these settings of topics.
    pub fn wants_of_topics(&self, settings: &Value) {
        let patch = json!({"metadata": {"name": "main"}, "spec": {"kafka": {"topicConfig": settings}}});
        self.api.apply("campaignclasses", "", &patch);
    }

    /// Its operator starts anew, with this `clusterId`.
    pub async fn is_called(&mut self, name: Option<&str>) {
        self.stop().await;
        self.operator = Some(run(&self.api, name));
    }

    pub fn object(&self) -> Option<Value> {
        self.api.get("couponcampaigns", NAMESPACE, NAME)
    }

    pub fn class(&self) -> Option<Value> {
        self.api.get("campaignclasses", "", "main")
    }

    /// The reasons of all events.
    pub fn events(&self) -> Vec<String> {
        self.api.all("events", "").iter().filter_map(|event| Some(event["reason"].as_str()?.to_owned())).collect()
    }

    /// What the events of this reason say.
    pub fn said(&self, reason: &str) -> Vec<String> {
        let all = self.api.all("events", "");
        let of_reason = all.iter().filter(|event| event["reason"] == json!(reason));
        of_reason.filter_map(|event| Some(event["note"].as_str()?.to_owned())).collect()
    }

    pub fn change(&self, patch: &Value) {
        let mut patch = patch.clone();
        patch["metadata"]["name"] = json!(NAME);
        self.api.apply("couponcampaigns", NAMESPACE, &patch);
    }

    pub fn delete(&self) {
        self.api.delete("couponcampaigns", NAMESPACE, NAME);
    }

    fn condition(&self, type_: &str) -> Option<Value> {
        let object = self.object()?;
        object["status"]["conditions"].as_array()?.iter().find(|each| each["type"] == json!(type_)).cloned()
    }

    /// Waits until a condition says this; what else it says.
    pub async fn says(&self, type_: &str, status: &str, reason: &str) -> String {
        let what = format!("{}: {type_} {status} {reason}", self.uid);
        until(&what, async || {
            let found = self.condition(type_)?;
            let is_so = found["status"] == json!(status) && found["reason"] == json!(reason);
            is_so.then(|| found["message"].as_str().unwrap().to_owned())
        })
        .await
    }

    pub async fn is_stalled(&self, reason: &str) -> String {
        self.says("Stalled", "True", reason).await
    }

    pub async fn waits_for(&self, type_: &str, reason: &str) -> String {
        self.says(type_, "False", reason).await
    }

    /// Waits until the campaign is in this phase here, by status.
    pub async fn is(&self, phase: &str) {
        let what = format!("{}: phase {phase}", self.uid);
        let is_so = async || (self.object()?["status"]["phase"] == json!(phase)).then_some(());
        until(&what, is_so).await;
    }

    /// Waits until the campaign's window is open here, by status.
    pub async fn is_open(&self) {
        self.is("Open").await;
    }

    /// Its pods end, as those of a Deployment that has none any more.
    pub async fn loses_its_pods(&self) {
        for pod in self.api.all("pods", NAMESPACE) {
            self.api.delete("pods", NAMESPACE, pod["metadata"]["name"].as_str().unwrap());
        }
        until("its pods go", async || self.has_no_pods().then_some(())).await;
    }

    pub async fn has_seen_its_spec(&self) {
        let seen = async || {
            let object = self.object()?;
            (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
        };
        until("a pass over what was changed", seen).await;
    }

    /// Annotates the campaign as its condition says.
    pub async fn takes_over(&self) {
        let text = self.is_stalled("LedgerOwnedElsewhere").await;
        let value = text.split(&format!("{}=", operator::reconcile::TAKE_OVER_ANNOTATION)).nth(1).unwrap();
        self.change(&json!({"metadata": {"annotations": {operator::reconcile::TAKE_OVER_ANNOTATION: value}}}));
    }

    pub fn made_nothing(&self) -> bool {
        ["deployments", "services", "secrets", "poddisruptionbudgets"]
            .iter()
            .all(|kind| self.api.all(kind, NAMESPACE).is_empty())
    }

    pub fn has_no_pods(&self) -> bool {
        self.api.all("pods", NAMESPACE).is_empty()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(operator) = &self.operator {
            operator.abort();
        }
    }
}

/// What somebody heard.
pub struct Told {
    user: String,
    rank: u64,
    by: SocketAddr,
    at: Instant,
}

/// People who ask without a pause, each for a user of their own every time.
pub struct Crowd {
    pub told: Arc<Mutex<Vec<Told>>>,
    issuers: Arc<Mutex<Vec<SocketAddr>>>,
    people: Mutex<JoinSet<()>>,
    leaving: CancellationToken,
}

impl Crowd {
    pub fn at(realm: &Realm, issuers: &[SocketAddr]) -> Self {
        let crowd = Self {
            told: Arc::default(),
            issuers: Arc::new(Mutex::new(issuers.to_vec())),
            people: Mutex::default(),
            leaving: CancellationToken::new(),
        };
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        let path = format!("api/coupons/{}/issue", realm.campaign.coupon_id());
        for person in 0..PEOPLE {
            let (told, issuers, client, path) =
                (Arc::clone(&crowd.told), Arc::clone(&crowd.issuers), client.clone(), path.clone());
            let leaving = crowd.leaving.clone();
            crowd.people.lock().unwrap().spawn(async move {
                let mut turn = tokio::time::interval(PAUSE);
                for number in 0_usize.. {
                    if leaving.run_until_cancelled(turn.tick()).await.is_none() {
                        return;
                    }
                    let by = {
                        let issuers = issuers.lock().unwrap();
                        issuers[(person + number) % issuers.len()]
                    };
                    let user = format!("u{person}-{number}");
                    let asked = client.post(format!("http://{by}/{path}")).json(&json!({"userId": user})).send().await;
                    let Ok(response) = asked else { continue };
                    let Ok(answer) = response.json::<Value>().await else { continue };
                    if answer["success"] == json!(true) {
                        let (rank, at) = (answer["rank"].as_u64().unwrap(), Instant::now());
                        told.lock().unwrap().push(Told { user, rank, by, at });
                    }
                }
            });
        }
        crowd
    }

    pub fn goes_to(&self, issuers: &[SocketAddr]) {
        *self.issuers.lock().unwrap() = issuers.to_vec();
    }

    /// Waits until so many more have won.
    pub async fn has_won(&self, more: usize) {
        let before = self.told.lock().unwrap().len();
        let have = async || (self.told.lock().unwrap().len() >= before + more).then_some(());
        until("people win", have).await;
    }

    /// Nobody asks any more, and who has asked was answered: a wish that is dropped is granted all the same, some time later.
    pub async fn leaves(&self) {
        self.leaving.cancel();
        let people = std::mem::take(&mut *self.people.lock().unwrap());
        people.join_all().await;
    }

    /// Whether one of these told somebody after that moment.
    pub fn was_told_by(&self, issuers: &[SocketAddr], after: Instant) -> bool {
        self.told.lock().unwrap().iter().any(|told| issuers.contains(&told.by) && told.at > after)
    }
}
