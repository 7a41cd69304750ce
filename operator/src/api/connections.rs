//! Where Kafka, Redis and the database of a class are, and which Secrets hold the logins.

use std::collections::BTreeMap;

pub use coupon_core::connections::{DatabaseTls, KafkaProtocol, SaslMechanism};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::KafkaNames;

/// Keys of the credential Secrets. A key may be absent where its service asks for no credentials.
pub mod secret_keys {
    /// User of Kafka, for SASL.
    pub const KAFKA_USERNAME: &str = "kafka-username";
    /// Password of Kafka, for SASL.
    pub const KAFKA_PASSWORD: &str = "kafka-password";
    /// User of Redis; absent for the default user.
    pub const REDIS_USERNAME: &str = "redis-username";
    /// Password of Redis.
    pub const REDIS_PASSWORD: &str = "redis-password";
    /// User of the Sentinels; absent for the default user.
    pub const SENTINEL_USERNAME: &str = "sentinel-username";
    /// Password of the Sentinels; absent where they ask for none.
    pub const SENTINEL_PASSWORD: &str = "sentinel-password";
    /// User of the database.
    pub const DATABASE_USERNAME: &str = "database-username";
    /// Password of the database.
    pub const DATABASE_PASSWORD: &str = "database-password";
}

/// The Kafka cluster and how topics are made in it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicationFactor == 1 ? self.minInSyncReplicas == 1 : self.minInSyncReplicas < self.replicationFactor")
        .message("kafka.minInSyncReplicas must be below kafka.replicationFactor, or no broker may ever be down; only with one replica both are 1"),
    validation = Rule::new("self.allowLowerReplication || (self.replicationFactor >= 3 && self.minInSyncReplicas >= 2)")
        .message("kafka.replicationFactor below 3 or kafka.minInSyncReplicas below 2 can lose issued coupons with one broker; raise them, or set kafka.allowLowerReplication: true to take that risk"),
    validation = Rule::new("!self.topicConfig.exists(key, key in ['cleanup.policy', 'min.insync.replicas', 'retention.bytes', 'retention.ms', 'unclean.leader.election.enable'])")
        .message("kafka.topicConfig must not set cleanup.policy, min.insync.replicas, retention.bytes, retention.ms or unclean.leader.election.enable: winners would be lost; use kafka.minInSyncReplicas, kafka.retentionHours and kafka.deadLetterRetentionHours")
)]
pub struct Kafka {
    /// Brokers to ask first, each `host:port`.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 259), regex(pattern = r"^[A-Za-z0-9.-]+:[0-9]{1,5}$|^\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}$"))
    )]
    pub bootstrap_servers: Vec<String>,
    /// Encryption and login.
    pub security: KafkaSecurity,
    /// Copies of each record.
    #[serde(default = "default_replication_factor")]
    #[schemars(range(min = 1, max = 9))]
    pub replication_factor: u16,
    /// Copies that must be written before a winner counts.
    #[serde(default = "default_min_in_sync_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub min_in_sync_replicas: u16,
    /// Takes fewer than 3 copies or fewer than 2 in sync, and with them the risk that one broken broker loses coupons that
    /// were issued. For demos.
    #[serde(default)]
    pub allow_lower_replication: bool,
    /// Whether the operator makes topics. If not, somebody else does: condition `TopicReady` of a campaign says which, and with what.
    #[serde(default = "default_create_topics")]
    pub create_topics: bool,
    /// How long the topic keeps records, in hours.
    #[serde(default = "default_retention_hours")]
    #[schemars(range(min = 1, max = 87_600))]
    pub retention_hours: u32,
    /// How long the dead-letter topic keeps records, in hours. Default: until they are dealt with. For brokers whose policy takes no
    /// topic without an end of retention; a dead letter that was not dealt with by then is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 87_600))]
    pub dead_letter_retention_hours: Option<u32>,
    /// How topics and consumer groups are called, for brokers whose owners prescribe names. Cannot change: records would stay behind.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("kafka.names cannot change: records would stay behind in topics of the old names; create another class instead"))]
    pub names: KafkaNames,
    /// More topic settings, as Kafka names them.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 200}))]
    pub topic_config: BTreeMap<String, String>,
}

/// Encryption and login at Kafka.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.protocol in ['SaslPlaintext', 'SaslTls']) == has(self.mechanism)")
    .message("kafka.security.mechanism must be set with the protocols SaslPlaintext and SaslTls, and only with them"))]
pub struct KafkaSecurity {
    /// The protocol of the listener.
    pub protocol: KafkaProtocol,
    /// How the login is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<SaslMechanism>,
    /// The authority that signed the brokers' certificates. Default: those that the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// The Redis server: either a URL or Sentinel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.sentinel)").message("redis needs exactly one of url and sentinel"),
    validation = Rule::new("!has(self.url) || !self.url.contains('@')")
        .message("redis.url must not hold a user or password; put them into the Secrets named in credentials")
)]
pub struct Redis {
    /// `redis://host:port` or, encrypted, `rediss://host:port`; `/n` at the end selects a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300), regex(pattern = r"^rediss?://[^/?#\s]+(/[0-9]{1,3})?$"))]
    pub url: Option<String>,
    /// Sentinels that know which server is the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// The authority that signed the servers' certificates. Default: those that the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// Redis Sentinel.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// The name under which the sentinels watch the master.
    #[schemars(length(min = 1, max = 100))]
    pub master_name: String,
    /// The sentinels, each `host:port`. Their own login, where they ask for one: `sentinel-username` and `sentinel-password` in the
    /// Secrets.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 259), regex(pattern = r"^[A-Za-z0-9.-]+:[0-9]{1,5}$|^\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}$"))
    )]
    pub nodes: Vec<String>,
    /// Encrypt the connections to sentinels and servers. Certificates must name what each is reached by: a sentinel as in `nodes`, a
    /// server as the sentinels tell it.
    #[serde(default)]
    pub tls: bool,
}

/// The SQL database (MySQL or MariaDB).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:-]+$"))]
    pub host: String,
    /// Port.
    #[serde(default = "default_database_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Name of the database (schema). It must exist; the operator makes the tables.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// Encryption. `VerifyIdentity`: the certificate must name the host, and be signed by an authority that is trusted. `Required`:
    /// encrypted, but who the server is goes unchecked: whoever can answer in its place gets the password. `Disabled`: none; users of
    /// MySQL's caching_sha2_password cannot log in.
    #[serde(default = "default_database_tls")]
    pub tls: DatabaseTls,
    /// The authority that signed the server's certificate; no other is trusted then. Default: those that the image trusts. Used with
    /// `VerifyIdentity` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// Users and passwords: two sets, as pods need fewer rights than the operator.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Where all Secrets named in this class are. Default: the operator's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// For the operator: makes topics and tables, reads and repairs.
    pub operator: SecretRef,
    /// For issuer and consumer pods: only what issuing and storing needs. The operator copies it beside the pods.
    pub workload: SecretRef,
}

/// A Secret with any of the keys `kafka-username`, `kafka-password`, `redis-username`, `redis-password`, `sentinel-username`,
/// `sentinel-password`, `database-username` and `database-password`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: String,
}

/// One key of a Secret that holds certificates in PEM form.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// Name of the Secret, in `credentials.namespace`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_replication_factor() -> u16 {
    3
}

fn default_min_in_sync_replicas() -> u16 {
    2
}

fn default_create_topics() -> bool {
    true
}

fn default_retention_hours() -> u32 {
    168
}

fn default_database_port() -> u16 {
    3306
}

fn default_database_tls() -> DatabaseTls {
    DatabaseTls::VerifyIdentity
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}
