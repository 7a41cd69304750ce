//! [`CampaignClass`]: what a platform team writes once, as it writes a StorageClass.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::KafkaNames;
use super::network::NetworkAccess;
use super::pods::{Rollout, RunAs};
use super::schema::kubernetes;
use super::status::CampaignClassStatus;
use super::{DEFAULT_CLASS_ANNOTATION, ENABLED_LABEL};

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

/// Where campaigns keep their ledger, and what they may use. Owned by the platform team.
#[allow(clippy::duplicated_attributes, reason = "every column has a type and a path")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "coupon-operator.io",
    version = "v1alpha1",
    kind = "CampaignClass",
    singular = "campaignclass",
    plural = "campaignclasses",
    shortname = "cpnclass",
    category = "coupons",
    status = "CampaignClassStatus",
    derive = "PartialEq",
    doc = "Where campaigns keep their ledger, and what they may use. Owned by the platform team.",
    printcolumn(name = "Realm", type_ = "string", json_path = ".spec.realm"),
    printcolumn(
        name = "Default",
        type_ = "string",
        json_path = r".metadata.annotations.coupon-operator\.io/is-default-class"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Campaigns", type_ = "integer", json_path = ".status.campaigns", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = kubernetes)]
pub struct CampaignClassSpec {
    /// Name of this installation, first part of every key, and of every topic and group unless `kafka.names` says otherwise: it keeps
    /// clusters that share Kafka, Redis or the database apart. Cannot change.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("realm cannot change: it is part of every name in the ledger; create another class instead"))]
    pub realm: String,
    /// Where winners become durable.
    pub kafka: Kafka,
    /// Where ranks are given.
    pub redis: Redis,
    /// Where winners are recorded.
    pub database: Database,
    /// The Secrets with users and passwords.
    pub credentials: Credentials,
    /// The image of the issuer and consumer pods.
    #[serde(default)]
    pub images: Images,
    /// What every pod gets.
    #[serde(default)]
    pub pods: PodDefaults,
    /// When pods are replaced by newer ones.
    #[serde(default)]
    pub rollout: Rollout,
    /// What campaigns may ask for at most.
    #[serde(default)]
    pub limits: Limits,
    /// How long before `window.start` the pods must be ready, in seconds.
    #[serde(default = "default_warm_up_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub warm_up_seconds: u32,
    /// Namespaces whose campaigns may use this class. Default: those labelled `coupon-operator.io/enabled: "true"`. An empty
    /// selector takes all.
    #[serde(default = "default_namespace_selector")]
    pub namespace_selector: LabelSelector,
    /// How users reach the issuers.
    #[serde(default)]
    pub routing: Routing,
    /// Who may connect to the pods: if it is there, each campaign with pods gets a NetworkPolicy. 8081 is for the operator alone, 9090 for
    /// the operator and `metricsFrom`. Default: no policy is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,
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
    pub protocol: SecurityProtocol,
    /// How the login is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<SaslMechanism>,
    /// The authority that signed the brokers' certificates. Default: those that the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// The protocol of a Kafka listener.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum SecurityProtocol {
    /// Neither encrypted nor logged in.
    Plaintext,
    /// Encrypted.
    Tls,
    /// Logged in, not encrypted.
    SaslPlaintext,
    /// Encrypted and logged in.
    SaslTls,
}

/// How a login at Kafka is proved.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum SaslMechanism {
    /// The password is sent as it is.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
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
    #[serde(default)]
    pub tls: DatabaseTls,
    /// The authority that signed the server's certificate; no other is trusted then. Default: those that the image trusts. Used with
    /// `VerifyIdentity` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// Encryption of database connections.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display)]
pub enum DatabaseTls {
    /// None.
    Disabled,
    /// Encrypted; who the server is goes unchecked.
    Required,
    /// Encrypted, and the certificate must name the host.
    #[default]
    VerifyIdentity,
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

/// The image of issuer and consumer pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// Image with all programs. Default: the operator's own image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 500),
        regex(
            pattern = r"^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[A-Fa-f0-9]{32,128})?$"
        )
    )]
    pub image: Option<String>,
    /// When the image is pulled. Default: as Kubernetes does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets for pulling, in the campaign's namespace.
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
}

/// When an image is pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// What issuer and consumer pods get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDefaults {
    /// Issuer pods only.
    pub issuer: IssuerPods,
    /// Consumer pods only.
    pub consumer: ComponentPods,
    /// Labels of the nodes to run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints to put up with.
    pub tolerations: Vec<Toleration>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// More labels. The operator's own win.
    pub labels: BTreeMap<String, String>,
    /// More annotations. The operator's own win.
    pub annotations: BTreeMap<String, String>,
    /// As which user they run. `Fixed`: 65532, the image's. `Assigned`: the platform decides, as OpenShift wants to.
    pub run_as: RunAs,
}

/// What the pods of one component get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentPods {
    /// Requests and limits of the container. Default: the operator's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// What issuer pods get.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct IssuerPods {
    /// Requests and limits of the container. Default: the operator's choice. The memory limit decides how many users may be connected
    /// to a pod at once: 5,132 with the default 256Mi, 12,812 with 512Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How long a pod that ends goes on serving, in seconds, so that load balancers learn of it. Cloud load balancers need 10 to 30.
    #[schemars(range(min = 0, max = 300))]
    pub shutdown_delay_seconds: u16,
    /// How long a connection may be kept between two requests, in seconds. More than the load balancer in front keeps its own (most 60,
    /// Google's 600), or it sends requests to connections that close at that moment.
    #[schemars(range(min = 1, max = 3600))]
    pub keep_alive_seconds: u16,
}

impl Default for IssuerPods {
    fn default() -> Self {
        Self { resources: None, shutdown_delay_seconds: 5, keep_alive_seconds: 75 }
    }
}

/// What campaigns may ask for at most, when they are new and whenever they ask for more. What is in force already stays when a
/// limit is lowered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Largest `totalQuantity`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_total_quantity: i64,
    /// Largest `perUserLimit`.
    #[schemars(range(min = 1, max = 100))]
    pub max_per_user_limit: u16,
    /// Largest `partitions`.
    #[schemars(range(min = 1, max = 256))]
    pub max_partitions: u16,
    /// Largest `minReplicas` and `maxReplicas`, of issuers and of consumers. A `maxReplicas` that is left out stays within it. Each
    /// issuer holds up to 3 connections to the database, each consumer up to 2.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u16,
    /// Longest window, in days.
    #[schemars(range(min = 1, max = 73_050))]
    pub max_window_days: u32,
    /// Most campaigns of one namespace in this class that are not `Completed`.
    #[schemars(range(min = 1, max = 100_000))]
    pub campaigns_per_namespace: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_total_quantity: 1_000_000,
            max_per_user_limit: 10,
            max_partitions: 24,
            max_replicas: 24,
            max_window_days: 366,
            campaigns_per_namespace: 100,
        }
    }
}

/// How users reach the issuers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// Where users find a campaign, for `status.url`: `{namespace}`, `{name}` and `{couponId}` are filled in. Default: the
    /// address of the campaign's Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = r"^https?://[^\s]+$"))]
    pub url_template: Option<String>,
}

impl Routing {
    /// The template filled in, if there is one.
    pub fn url(&self, namespace: &str, name: &str, coupon_id: &str) -> Option<String> {
        let template = self.url_template.as_ref()?;
        Some(template.replace("{namespace}", namespace).replace("{name}", name).replace("{couponId}", coupon_id))
    }
}

impl CampaignClass {
    /// Whether campaigns without `className` take this class.
    pub fn is_default(&self) -> bool {
        self.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true")
    }
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

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

fn default_warm_up_seconds() -> u32 {
    300
}

fn default_namespace_selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(ENABLED_LABEL.to_owned(), "true".to_owned())])),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_template_is_filled_in() {
        let routing = Routing { url_template: Some("https://c.example/{namespace}/{name}/{couponId}".to_owned()) };
        assert_eq!(routing.url("shop", "sale", "sale-2027").as_deref(), Some("https://c.example/shop/sale/sale-2027"));
        assert_eq!(Routing::default().url("shop", "sale", "sale"), None);
    }
}
