//! One table of what is taken and what is refused. Both tests run all of it: without a server, and against a real one.

use serde_json::{Value, json};

use super::{Kind, REMOVE};

/// Who refuses an object, and what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is taken.
    Taken,
    /// A bound, pattern or enum at this path.
    Schema(&'static str),
    /// The CEL rule whose message begins so.
    Cel(&'static str),
}

/// One case: the minimal object with `new` put in, created, or put over one with `old` put in.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    pub old: Option<Value>,
    pub new: Value,
    pub expect: Expect,
}

impl Case {
    /// The object to write.
    pub fn object(&self) -> Value {
        self.kind.patched(&self.new)
    }

    /// The object before, if this is an update.
    pub fn before(&self) -> Option<Value> {
        self.old.as_ref().map(|old| self.kind.patched(old))
    }
}

fn create(kind: Kind, name: &'static str, new: Value, expect: Expect) -> Case {
    Case { name, kind, old: None, new, expect }
}

fn update(kind: Kind, name: &'static str, old: Value, new: Value, expect: Expect) -> Case {
    Case { name, kind, old: Some(old), new, expect }
}

fn spec(value: Value) -> Value {
    json!({ "spec": value })
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = campaign_creates();
    cases.extend(campaign_updates());
    cases.extend(class_creates());
    cases.extend(class_names());
    cases.extend(class_updates());
    cases
}

fn campaign_creates() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, new, expect| create(Kind::Campaign, name, new, expect);
    let sized = |name, field: &str, value, expect| create(Kind::Campaign, name, spec(json!({ field: value })), expect);
    let named = |name: &str| json!({"metadata": {"name": name}});
    let window = |start: &str, end: &str| spec(json!({"window": {"start": start, "end": end}}));
    let name_rule = Cel("metadata.name must start with a letter");
    vec![
        case("the minimal campaign", json!({}), Taken),
        case(
            "every field set",
            spec(json!({
                "totalQuantity": 10_000_000, "couponId": "sale-2026", "perUserLimit": 100, "partitions": 256,
                "className": "main", "suspend": true, "acknowledge": "Fast", "keyBy": "Campaign", "expectedPeakRps": 30_000,
                "issuer": {"minReplicas": 2, "maxReplicas": 2}, "deletionPolicy": "Delete",
                "consumer": {"minReplicas": 256, "maxReplicas": 256, "drainTargetSeconds": 3600},
            })),
            Taken,
        ),
        case("a name of 40 characters", named(&"a".repeat(40)), Taken),
        case("a name of 41 characters", named(&"a".repeat(41)), name_rule),
        case("a name that starts with a digit", named("1-sale"), name_rule),
        case("a name with a dot", named("sale.2026"), name_rule),
        case(
            "a window that ends before it starts",
            window("2026-12-01T10:00:00Z", "2026-12-01T09:00:00Z"),
            Cel("window.start must be before window.end"),
        ),
        case(
            "a window of no length",
            window("2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
            Cel("window.start must be before window.end"),
        ),
        // As text the start is greater than the end; as times it is an hour earlier.
        case("a window across offsets", window("2026-12-01T18:00:00+09:00", "2026-12-01T10:00:00Z"), Taken),
        case(
            "a window across offsets, the wrong way",
            window("2026-12-01T10:00:00Z", "2026-12-01T18:00:00+09:00"),
            Cel("window.start must be before window.end"),
        ),
        case(
            "a window that ends when nobody asks any more",
            window("2026-12-01T10:00:00Z", "9999-12-30T00:00:00Z"),
            Cel("window.start and window.end must lie between 2000-01-01 and 2200-01-01"),
        ),
        case(
            "a window that starts before there were computers",
            window("0001-01-01T00:00:00Z", "2026-12-01T10:00:00Z"),
            Cel("window.start and window.end must lie between 2000-01-01 and 2200-01-01"),
        ),
        case("a window until 2199", window("2026-12-01T10:00:00Z", "2199-12-31T23:59:59Z"), Taken),
        case(
            "a window start with a fraction",
            window("2026-12-01T10:00:00.5Z", "2026-12-01T11:00:00Z"),
            Cel("window.start and window.end must be whole seconds"),
        ),
        case(
            "a window end with a fraction",
            window("2026-12-01T10:00:00Z", "2026-12-01T11:00:00.001Z"),
            Cel("window.start and window.end must be whole seconds"),
        ),
        sized("no quantity", "totalQuantity", json!(REMOVE), Schema("spec.totalQuantity")),
        sized("a quantity of 0", "totalQuantity", json!(0), Schema("spec.totalQuantity")),
        sized(
            "a quantity above 10 million",
            "totalQuantity",
            json!(10_000_001),
            Cel("totalQuantity must not be above 10,000,000"),
        ),
        sized("a limit of 0 per user", "perUserLimit", json!(0), Schema("spec.perUserLimit")),
        sized("a limit of 101 per user", "perUserLimit", json!(101), Schema("spec.perUserLimit")),
        sized("no partitions", "partitions", json!(0), Schema("spec.partitions")),
        sized("257 partitions", "partitions", json!(257), Schema("spec.partitions")),
        sized("a peak of 0", "expectedPeakRps", json!(0), Schema("spec.expectedPeakRps")),
        sized("a coupon id of 40 characters", "couponId", json!("c".repeat(40)), Taken),
        sized("a coupon id of 41 characters", "couponId", json!("c".repeat(41)), Schema("spec.couponId")),
        sized("a coupon id in capitals", "couponId", json!("Sale"), Schema("spec.couponId")),
        sized("a coupon id that is null", "couponId", json!(null), Taken),
        sized("a quantity that is null", "totalQuantity", json!(null), Schema("spec.totalQuantity")),
        sized("an unknown way to acknowledge", "acknowledge", json!("Maybe"), Schema("spec.acknowledge")),
        sized("an unknown key", "keyBy", json!("Coupon"), Schema("spec.keyBy")),
        sized("an unknown deletion policy", "deletionPolicy", json!("Forget"), Schema("spec.deletionPolicy")),
        sized("one issuer", "issuer", json!({"minReplicas": 1}), Taken),
        sized("one issuer at most", "issuer", json!({"maxReplicas": 1}), Taken),
        sized("no issuer at all", "issuer", json!({"minReplicas": 0}), Schema("spec.issuer.minReplicas")),
        sized(
            "no time to drain",
            "consumer",
            json!({"drainTargetSeconds": 0}),
            Schema("spec.consumer.drainTargetSeconds"),
        ),
        sized(
            "more issuers at least than at most",
            "issuer",
            json!({"minReplicas": 3, "maxReplicas": 2}),
            Cel("issuer.minReplicas must not be above issuer.maxReplicas"),
        ),
        sized("more issuers at least than there are at most by default", "issuer", json!({"minReplicas": 5}), Taken),
        sized(
            "more consumers at least than at most",
            "consumer",
            json!({"minReplicas": 2, "maxReplicas": 1}),
            Cel("consumer.minReplicas must not be above consumer.maxReplicas"),
        ),
        sized(
            "more consumers than the default partitions",
            "consumer",
            json!({"maxReplicas": 4}),
            Cel("consumer.minReplicas and consumer.maxReplicas must not be above partitions"),
        ),
        sized("as many consumers as partitions", "consumer", json!({"minReplicas": 3, "maxReplicas": 3}), Taken),
        sized(
            "more consumers at least than partitions",
            "consumer",
            json!({"minReplicas": 4}),
            Cel("consumer.minReplicas and consumer.maxReplicas must not be above partitions"),
        ),
    ]
}

fn campaign_updates() -> Vec<Case> {
    use Expect::{Cel, Taken};
    let fixed = |name, old, new, expect| update(Kind::Campaign, name, spec(old), spec(new), expect);
    let coupon = Cel("couponId cannot be set, changed or removed later");
    let class = Cel("className cannot be set, changed or removed later");
    vec![
        fixed(
            "nothing changed",
            json!({"couponId": "a", "className": "b"}),
            json!({"couponId": "a", "className": "b"}),
            Taken,
        ),
        fixed("the coupon id set later", json!({}), json!({"couponId": "a"}), coupon),
        fixed("the coupon id removed", json!({"couponId": "a"}), json!({}), coupon),
        fixed("the coupon id set to null", json!({"couponId": "a"}), json!({"couponId": null}), coupon),
        // Were a null taken for a value, an object applied with one could never be changed again.
        fixed("a null coupon id left out", json!({"couponId": null}), json!({}), Taken),
        fixed("the coupon id changed", json!({"couponId": "a"}), json!({"couponId": "b"}), coupon),
        fixed("the class set later", json!({}), json!({"className": "a"}), class),
        fixed("the class removed", json!({"className": "a"}), json!({}), class),
        fixed("the class changed", json!({"className": "a"}), json!({"className": "b"}), class),
        fixed("more partitions", json!({"partitions": 3}), json!({"partitions": 12}), Taken),
        fixed(
            "fewer partitions",
            json!({"partitions": 12}),
            json!({"partitions": 11}),
            Cel("partitions cannot shrink"),
        ),
        fixed(
            "partitions left out after being raised",
            json!({"partitions": 4}),
            json!({}),
            Cel("partitions cannot shrink"),
        ),
        fixed("a higher limit per user", json!({}), json!({"perUserLimit": 2}), Taken),
        fixed(
            "a lower limit per user",
            json!({"perUserLimit": 2}),
            json!({"perUserLimit": 1}),
            Cel("perUserLimit cannot shrink"),
        ),
        fixed("a larger quantity", json!({"totalQuantity": 100}), json!({"totalQuantity": 200}), Taken),
        // What can be repaired in time, and is tried, is ten million.
        fixed(
            "a quantity raised to 10 million",
            json!({"totalQuantity": 100}),
            json!({"totalQuantity": 10_000_000}),
            Taken,
        ),
        fixed(
            "a quantity raised above 10 million",
            json!({"totalQuantity": 100}),
            json!({"totalQuantity": 10_000_001}),
            Cel("totalQuantity must not be above 10,000,000"),
        ),
        // Only the ledger knows whether this is too small: the operator decides, not the API server.
        fixed("a smaller quantity", json!({"totalQuantity": 100}), json!({"totalQuantity": 50}), Taken),
        fixed("suspended", json!({}), json!({"suspend": true}), Taken),
        fixed("another end", json!({}), json!({"window": {"end": "2026-12-02T12:00:00+09:00"}}), Taken),
    ]
}

fn class_creates() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, value, expect| create(Kind::Class, name, spec(value), expect);
    let kafka = |name, value, expect| create(Kind::Class, name, spec(json!({ "kafka": value })), expect);
    let redis = |name, value, expect| create(Kind::Class, name, spec(json!({ "redis": value })), expect);
    let mechanism = Cel("kafka.security.mechanism must be set with the protocols SaslPlaintext and SaslTls");
    let lower = Cel("kafka.replicationFactor below 3 or kafka.minInSyncReplicas below 2");
    let in_sync = Cel("kafka.minInSyncReplicas must be below kafka.replicationFactor");
    let reserved = Cel("kafka.topicConfig must not set");
    vec![
        case("the minimal class", json!({}), Taken),
        case(
            "every field set",
            json!({
                "kafka": {
                    "bootstrapServers": ["a:9092", "[2001:db8::1]:9092"],
                    "security": {"protocol": "SaslTls", "mechanism": "ScramSha512", "caSecretRef": {"name": "ca"}},
                    "replicationFactor": 5, "minInSyncReplicas": 3, "createTopics": false, "retentionHours": 24,
                    "deadLetterRetentionHours": 8760, "topicConfig": {"segment.ms": "3600000"},
                    "names": {
                        "topic": "acme.{realm}.{namespace}.{couponId}", "deadLetterTopic": "{topic}.dlq",
                        "consumerGroup": "acme_{realm}_{namespace}_{couponId}",
                    },
                },
                "redis": {"caSecretRef": {"name": "ca", "key": "redis.crt"}},
                "database": {"port": 3307, "tls": "Required", "caSecretRef": {"name": "ca"}},
                "credentials": {"namespace": "coupon-system"},
                "images": {"image": "registry.example/coupon-operator:1", "pullPolicy": "IfNotPresent", "pullSecrets": ["pull"]},
                "pods": {
                    "issuer": {"resources": {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"cpu": 2}}},
                    "nodeSelector": {"pool": "coupons"}, "tolerations": [{"key": "coupons", "operator": "Exists"}],
                    "priorityClassName": "high", "labels": {"team": "growth"}, "annotations": {"note": "x"},
                    "runAs": "Assigned",
                },
                "rollout": {"duringWindow": "Now"},
                "limits": {
                    "maxTotalQuantity": 1_000_000, "maxPerUserLimit": 3, "maxPartitions": 12, "maxReplicas": 10,
                    "maxWindowDays": 30, "campaignsPerNamespace": 50,
                },
                "warmUpSeconds": 0, "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["growth"]}]},
                "routing": {"urlTemplate": "https://coupons.example/{namespace}/{couponId}"},
            }),
            Taken,
        ),
        case("a realm of 20 characters", json!({"realm": "r".repeat(20)}), Taken),
        case("a realm of 21 characters", json!({"realm": "r".repeat(21)}), Schema("spec.realm")),
        case("a realm with a dot", json!({"realm": "a.b"}), Schema("spec.realm")),
        case("a warm-up above a day", json!({"warmUpSeconds": 86_401}), Schema("spec.warmUpSeconds")),
        case("a database port of 0", json!({"database": {"port": 0}}), Schema("spec.database.port")),
        case("an unknown way to encrypt", json!({"database": {"tls": "Preferred"}}), Schema("spec.database.tls")),
        case(
            "a URL template without a scheme",
            json!({"routing": {"urlTemplate": "coupons.example"}}),
            Schema("spec.routing.urlTemplate"),
        ),
        case("an unknown user", json!({"pods": {"runAs": "Root"}}), Schema("spec.pods.runAs")),
        case(
            "an unknown time to roll",
            json!({"rollout": {"duringWindow": "Later"}}),
            Schema("spec.rollout.duringWindow"),
        ),
        case(
            "a limit of no campaigns",
            json!({"limits": {"campaignsPerNamespace": 0}}),
            Schema("spec.limits.campaignsPerNamespace"),
        ),
        case("a limit of no partitions", json!({"limits": {"maxPartitions": 0}}), Schema("spec.limits.maxPartitions")),
        kafka("no brokers", json!({"bootstrapServers": []}), Schema("spec.kafka.bootstrapServers")),
        kafka(
            "a broker without a port",
            json!({"bootstrapServers": ["kafka"]}),
            Schema("spec.kafka.bootstrapServers[0]"),
        ),
        kafka("an unknown protocol", json!({"security": {"protocol": "Ssl"}}), Schema("spec.kafka.security.protocol")),
        kafka("no retention", json!({"retentionHours": 0}), Schema("spec.kafka.retentionHours")),
        kafka(
            "no retention of dead letters",
            json!({"deadLetterRetentionHours": 0}),
            Schema("spec.kafka.deadLetterRetentionHours"),
        ),
        kafka("a login without mechanism", json!({"security": {"protocol": "SaslTls"}}), mechanism),
        kafka("a login in plain text without mechanism", json!({"security": {"protocol": "SaslPlaintext"}}), mechanism),
        kafka("a mechanism without login", json!({"security": {"protocol": "Tls", "mechanism": "Plain"}}), mechanism),
        kafka(
            "a login with mechanism",
            json!({"security": {"protocol": "SaslPlaintext", "mechanism": "ScramSha256"}}),
            Taken,
        ),
        kafka("as many in sync as replicas", json!({"minInSyncReplicas": 3}), in_sync),
        kafka(
            "more in sync than replicas",
            json!({"minInSyncReplicas": 2, "replicationFactor": 1, "allowLowerReplication": true}),
            in_sync,
        ),
        kafka("one replica", json!({"minInSyncReplicas": 1, "replicationFactor": 1}), lower),
        kafka("two replicas", json!({"minInSyncReplicas": 1, "replicationFactor": 2}), lower),
        kafka("one in sync", json!({"minInSyncReplicas": 1}), lower),
        kafka(
            "one replica, the risk taken",
            json!({"minInSyncReplicas": 1, "replicationFactor": 1, "allowLowerReplication": true}),
            Taken,
        ),
        kafka("a topic setting that loses winners", json!({"topicConfig": {"cleanup.policy": "compact"}}), reserved),
        kafka(
            "the topic's retention set past retentionHours",
            json!({"topicConfig": {"retention.ms": "1000"}}),
            reserved,
        ),
        kafka("the topic's retention by size", json!({"topicConfig": {"retention.bytes": "1000"}}), reserved),
        kafka("unclean elections", json!({"topicConfig": {"unclean.leader.election.enable": "true"}}), reserved),
        kafka(
            "in-sync replicas set past minInSyncReplicas",
            json!({"topicConfig": {"min.insync.replicas": "1"}}),
            reserved,
        ),
        redis(
            "a password in the URL",
            json!({"url": "redis://user:secret@redis:6379"}),
            Cel("redis.url must not hold a user or password"),
        ),
        redis("a URL of something else", json!({"url": "http://redis:6379"}), Schema("spec.redis.url")),
        redis(
            "a URL with settings, which nobody reads",
            json!({"url": "redis://redis:6379?protocol=resp3"}),
            Schema("spec.redis.url"),
        ),
        redis(
            "both URL and Sentinel",
            json!({"sentinel": {"masterName": "m", "nodes": ["s:26379"]}}),
            Cel("redis needs exactly one of url and sentinel"),
        ),
        redis("neither URL nor Sentinel", json!({"url": REMOVE}), Cel("redis needs exactly one of url and sentinel")),
        redis(
            "Sentinel",
            json!({"url": REMOVE, "sentinel": {"masterName": "m", "nodes": ["s:26379"], "tls": true}}),
            Taken,
        ),
    ]
}

fn class_names() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let names =
        |name, value: Value, expect| create(Kind::Class, name, spec(json!({"kafka": {"names": value}})), expect);
    let plain = "x.{namespace}.{couponId}";
    let of = |topic: &str| json!({"topic": topic, "deadLetterTopic": "{topic}.dlq", "consumerGroup": plain});
    let needed = Cel("kafka.names: topic, deadLetterTopic and consumerGroup need {namespace} and {couponId}");
    let once = Cel("kafka.names: topic, deadLetterTopic (with {topic} filled in) and consumerGroup may hold");
    let separated = Cel("kafka.names: put . or _ between two placeholders");
    let realm = Cel("kafka.names: deadLetterTopic and consumerGroup need {realm} where topic has it");
    let internal = Cel("kafka.names: no name may begin with __");
    let length = Cel("kafka.names: a name could get more than the 249 characters");
    // 144 of these make a name of 249.
    let long = |len: usize| format!("{}.{{namespace}}.{{couponId}}", "x".repeat(len));
    let apart = |topic: String| json!({"topic": topic, "deadLetterTopic": "d.e.{namespace}.{couponId}", "consumerGroup": plain});
    vec![
        names("no name of its own", json!({}), Taken),
        names("another end of dead letters", json!({"deadLetterTopic": "{topic}.dlq"}), Taken),
        names("names without a realm", of(plain), Taken),
        names("an underscore between placeholders", of("X_{namespace}_{couponId}"), Taken),
        names("a name that begins with one underscore", of("_x.{namespace}.{couponId}"), Taken),
        names("the longest name", apart(long(144)), Taken),
        names("an empty name", json!({"topic": ""}), Schema("spec.kafka.names.topic")),
        names("a space", of("a b.{namespace}.{couponId}"), Schema("spec.kafka.names.topic")),
        names(
            "a slash",
            json!({"consumerGroup": "a/{namespace}.{couponId}"}),
            Schema("spec.kafka.names.consumerGroup"),
        ),
        names("another placeholder", of("{name}.{namespace}.{couponId}"), Schema("spec.kafka.names.topic")),
        names("half a placeholder", of("{namespace}.{couponId}.{"), Schema("spec.kafka.names.topic")),
        names("a topic within itself", of("{topic}.{namespace}.{couponId}"), Schema("spec.kafka.names.topic")),
        names("no couponId", of("x.{namespace}"), needed),
        names("no namespace", of("x.{couponId}"), needed),
        names(
            "one dead-letter topic for all",
            json!({"topic": plain, "deadLetterTopic": "dlq", "consumerGroup": plain}),
            needed,
        ),
        names("one group for all", json!({"topic": plain, "consumerGroup": "readers"}), needed),
        names("a namespace twice", of("{namespace}.{namespace}.{couponId}"), once),
        names("a couponId twice", json!({"deadLetterTopic": "{topic}.{couponId}"}), once),
        names("placeholders with a dash between them", of("x.{namespace}-{couponId}"), separated),
        names("placeholders with nothing between them", of("x.{namespace}{couponId}"), separated),
        names("a group with a dash", json!({"consumerGroup": "{realm}.{namespace}-{couponId}"}), separated),
        names("a group that all realms share", json!({"consumerGroup": plain}), realm),
        names(
            "a dead-letter topic that all realms share",
            json!({"deadLetterTopic": "dlq.{namespace}.{couponId}"}),
            realm,
        ),
        names("a name of Kafka's own", of("__x.{namespace}.{couponId}"), internal),
        names("a text that is too long", apart(long(145)), Schema("spec.kafka.names.topic")),
        names(
            "a name that may be too long",
            json!({"topic": format!("{{realm}}.{}", long(124)), "deadLetterTopic": "d.{realm}.{namespace}.{couponId}.d"}),
            length,
        ),
        names("a dead-letter topic that may be too long", of(&long(143)), length),
        names(
            "one topic for both",
            json!({"deadLetterTopic": "{topic}"}),
            Cel("kafka.names: topic and deadLetterTopic must differ"),
        ),
    ]
}

fn class_updates() -> Vec<Case> {
    use Expect::{Cel, Taken};
    let fixed = Cel("kafka.names cannot change");
    let own = || json!({"kafka": {"names": {"deadLetterTopic": "{topic}.dlq"}}});
    let change = |name, old, new, expect| update(Kind::Class, name, spec(old), spec(new), expect);
    vec![
        change("another realm", json!({"realm": "a"}), json!({"realm": "b"}), Cel("realm cannot change")),
        change("other brokers", json!({}), json!({"kafka": {"bootstrapServers": ["b:9092"]}}), Taken),
        change("other names", own(), json!({"kafka": {"names": {"deadLetterTopic": "{topic}.dead"}}}), fixed),
        change("own names where there were none", json!({}), own(), fixed),
        change("no own names any more", own(), json!({}), fixed),
        change(
            "the usual names, now written out",
            json!({}),
            json!({"kafka": {"names": {"deadLetterTopic": "{topic}.DLT"}}}),
            Taken,
        ),
        change("another warm-up", json!({}), json!({"warmUpSeconds": 60}), Taken),
    ]
}
