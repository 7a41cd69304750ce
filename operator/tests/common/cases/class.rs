//! Classes: what is taken and what is refused.

use serde_json::{Value, json};

use crate::common::{Kind, REMOVE};

use super::case::{Case, Expect, create, spec, update};

pub(crate) fn class_creates() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, value, expect| create(Kind::Class, name, spec(value), expect);
    let kafka = |name, value, expect| create(Kind::Class, name, spec(json!({ "kafka": value })), expect);
    let redis = |name, value, expect| create(Kind::Class, name, spec(json!({ "redis": value })), expect);
    let mechanism = Cel("kafka.security.mechanism must be set with the protocols SaslPlaintext and SaslTls");
    let lower = Cel("kafka.replicationFactor below 3 or kafka.minInSyncReplicas below 2");
    let in_sync = Cel("kafka.minInSyncReplicas must be below kafka.replicationFactor");
    let reserved = Cel("kafka.topicConfig must not set");
    let origin = |text: &str| json!({"routing": {"cors": {"allowedOrigins": [text]}}});
    let not_an_origin = Cel("routing.cors.allowedOrigins: write * or scheme://host as a browser does");
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
                "routing": {
                    "urlTemplate": "https://coupons.example/{namespace}/{couponId}",
                    "cors": {"allowedOrigins": ["https://shop.example", "http://[::1]:8000"], "maxAgeSeconds": 7200},
                },
                "authentication": {"type": "Jwt", "jwt": {
                    "issuer": "https://login.example/realms/shop", "audiences": ["coupons"], "claim": "customer_id",
                    "algorithms": ["RS256", "PS512", "ES384", "EdDSA"], "leewaySeconds": 0,
                    "keys": {"url": "https://login.example:8443/keys?use=sig", "caSecretRef": {"name": "ca"}},
                }},
                "rateLimits": {
                    "perUser": {"requests": 1, "perSeconds": 2, "burst": 10}, "perAddress": {"requests": 50, "burst": 500},
                    "perPod": {"requests": 5_000, "perSeconds": 1, "burst": 5_000},
                    "trustedProxies": ["10.0.0.0/8", "fd00::/8"],
                    "requiredHeader": {"name": "X-Bot-Check", "valueSecretRef": {"name": "gateway", "key": "proof"}},
                },
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
        case("pages of every origin", json!({"routing": {"cors": {"allowedOrigins": ["*"]}}}), Taken),
        case(
            "pages of no origin",
            json!({"routing": {"cors": {"allowedOrigins": []}}}),
            Schema("spec.routing.cors.allowedOrigins"),
        ),
        case("an origin with a path", origin("https://shop.example/"), not_an_origin),
        case("an origin without a scheme", origin("shop.example"), not_an_origin),
        case("an origin with a wildcard within", origin("https://*.shop.example"), not_an_origin),
        case("an origin with the scheme's own port", origin("https://shop.example:443"), not_an_origin),
        case("an origin in capitals", origin("https://Shop.example"), not_an_origin),
        case("the origin null", origin("null"), not_an_origin),
        case(
            "every origin and one of them",
            json!({"routing": {"cors": {"allowedOrigins": ["https://shop.example", "*"]}}}),
            Cel("routing.cors.allowedOrigins: * is every origin"),
        ),
        case(
            "an answer to a preflight for two days",
            json!({"routing": {"cors": {"allowedOrigins": ["*"], "maxAgeSeconds": 172_800}}}),
            Schema("spec.routing.cors.maxAgeSeconds"),
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

pub(crate) fn class_names() -> Vec<Case> {
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

pub(crate) fn class_updates() -> Vec<Case> {
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
