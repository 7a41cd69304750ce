//! Which class a campaign uses, and where that class says Kafka, Redis and the database are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use campaign::identity::{CampaignId, Identity, NameError};
use campaign::names::NamesError;
use campaign::settings::{self, CaPem};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, Time};
use kube::{Api, Client, ResourceExt};

use crate::api::{self, CampaignClass, ConditionType, CouponCampaign, Phase, secret_keys};
use crate::error::{Retry, kubernetes_words};
use crate::limits::{self, Exceeded, InForce};

/// Why a campaign has no usable class.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// No such class.
    #[error("CampaignClass `{0}` does not exist; ask the platform team for the right name")]
    NotFound(String),
    /// The class in which a campaign has its ledger is gone.
    #[error(
        "CampaignClass `{0}`, in which this campaign has its ledger, does not exist any more; apply it again as it was, with the same realm and servers; a campaign that is being deleted is let go without it by the annotation coupon-operator.io/release: \"true\""
    )]
    Gone(String),
    /// The class is being deleted.
    #[error(
        "CampaignClass `{0}` is being deleted and takes no new campaigns; take another class, or wait until it is applied again"
    )]
    Leaving(String),
    /// No name given, and no default.
    #[error(
        "no className is set and no CampaignClass is the default; set spec.className, or have the platform team annotate \
         one class with coupon-operator.io/is-default-class: \"true\""
    )]
    NoDefault,
    /// Several defaults.
    #[error(
        "several CampaignClasses are the default ({0}); leave the annotation on one of them, or set spec.className"
    )]
    SeveralDefaults(String),
    /// The class does not let this namespace take part.
    #[error(
        "namespace `{namespace}` may not use CampaignClass `{class}`; have the platform team label the namespace ({selector})"
    )]
    NamespaceNotSelected {
        /// The campaign's namespace.
        namespace: String,
        /// The class.
        class: String,
        /// What its selector asks for.
        selector: String,
    },
    /// The campaign asks for more than the class allows.
    #[error(
        "more than CampaignClass `{class}` allows: {}; lower it, or ask the platform team for a higher limit",
        limits::sentence(.exceeded)
    )]
    LimitExceeded {
        /// All that is too much.
        exceeded: Vec<Exceeded>,
        /// The class.
        class: String,
    },
    /// A Secret is not there.
    #[error("Secret `{namespace}/{name}`, named in CampaignClass `{class}`, does not exist; create it")]
    SecretMissing {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The class.
        class: String,
    },
    /// A Secret lacks a key, or its value is no text.
    #[error("Secret `{namespace}/{name}` has no usable key `{key}`; add it")]
    SecretKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A user or a password begins or ends with white space.
    #[error(
        "key `{key}` of Secret `{namespace}/{name}` begins or ends with white space, most likely a line break that came in with it \
         (`echo -n`, or `kubectl create secret --from-literal`, adds none); take it out"
    )]
    SecretWhitespace {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// What should be an authority's certificates is none, or more than that.
    #[error("key `{key}` of Secret `{namespace}/{name}` {fault}")]
    SecretCertificate {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: settings::CaPemError,
    },
    /// The Redis URL cannot be read.
    #[error("redis.url `{0}` is not redis://host:port or rediss://host:port; correct it in the CampaignClass")]
    RedisUrl(String),
    /// Names of topics and groups that could do harm.
    #[error(
        "kafka.names of the CampaignClass cannot be used: {0}; the names of a class cannot change, so delete it, and apply it with others"
    )]
    KafkaNames(#[from] NamesError),
    /// The campaign's topics have other names than its class gives them.
    #[error(
        "the campaign's topics are {recorded}, but by kafka.names and realm of CampaignClass `{class}` they would be {wanted}, and nothing is          touched: winners may be in the old ones; delete this CampaignClass, and apply it again with the names and the realm that it had"
    )]
    KafkaNamesDiffer {
        /// The class.
        class: String,
        /// As status says.
        recorded: String,
        /// As the class says.
        wanted: String,
    },
    /// An older campaign of the namespace has the same coupon id.
    #[error("campaign `{0}` of this namespace, which is older, has the same couponId; choose another couponId")]
    CouponIdTaken(String),
    /// The API could not be asked.
    #[error("{}", kubernetes_words(.0))]
    Api(#[from] kube::Error),
}

impl ClassError {
    pub(crate) fn condition(&self) -> ConditionType {
        match self {
            Self::SecretMissing { .. }
            | Self::SecretKey { .. }
            | Self::SecretWhitespace { .. }
            | Self::SecretCertificate { .. } => ConditionType::CredentialsReady,
            Self::CouponIdTaken(_) => ConditionType::ResourceConflict,
            _ => ConditionType::ClassResolved,
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::Gone(_) => "ClassNotFound",
            Self::Leaving(_) => "ClassBeingDeleted",
            Self::NoDefault => "NoDefaultClass",
            Self::SeveralDefaults(_) => "SeveralDefaultClasses",
            Self::NamespaceNotSelected { .. } => "NamespaceNotSelected",
            Self::LimitExceeded { .. } => limits::LIMIT_EXCEEDED,
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKey { .. } => "SecretKeyMissing",
            Self::SecretWhitespace { .. } => "SecretWhitespace",
            Self::SecretCertificate { .. } => "SecretCertificateInvalid",
            Self::RedisUrl(_) => "RedisUrlInvalid",
            Self::KafkaNames(_) => "KafkaNamesInvalid",
            Self::KafkaNamesDiffer { .. } => "KafkaNamesDiffer",
            Self::CouponIdTaken(_) => "CouponIdTaken",
            Self::Api(_) => "KubernetesError",
        }
    }

    /// Whether it ends without a change of the campaign or of its class: a class or a Secret that is applied together with the campaign
    /// comes some moments later.
    pub(crate) fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Gone(_)
                | Self::Leaving(_)
                | Self::NoDefault
                | Self::SecretMissing { .. }
                | Self::SecretKey { .. }
                | Self::SecretWhitespace { .. }
                | Self::SecretCertificate { .. }
                | Self::Api(_)
        )
    }

    pub(crate) fn retry(&self) -> Retry {
        match self {
            // Secrets are not watched: their memory would follow every Secret of the cluster.
            Self::SecretMissing { .. }
            | Self::SecretKey { .. }
            | Self::SecretWhitespace { .. }
            | Self::SecretCertificate { .. } => Retry::After(Duration::from_secs(5)),
            Self::Api(_) => Retry::Backoff,
            // Others may be deleted, or end, which is no event of ours.
            Self::CouponIdTaken(_) | Self::LimitExceeded { .. } => Retry::After(Duration::from_secs(5)),
            // A class that is made again is the first generation again, as the wrong one was: what was read of that counts for some seconds.
            Self::KafkaNamesDiffer { .. } => Retry::After(Duration::from_secs(5)),
            _ => Retry::OnChange,
        }
    }
}

/// The class of a campaign: the one it resolved to before, else the one it names, else the default.
pub fn resolve<'a>(campaign: &CouponCampaign, classes: &'a [CampaignClass]) -> Result<&'a CampaignClass, ClassError> {
    let sticky = campaign.status.as_ref().and_then(|status| status.class_name.as_ref());
    if let Some(name) = campaign.spec.class_name.as_ref().or(sticky) {
        return classes
            .iter()
            .find(|class| class.name_any() == *name)
            .ok_or_else(|| ClassError::NotFound(name.clone()));
    }
    let defaults: Vec<&CampaignClass> = classes.iter().filter(|class| class.is_default()).collect();
    match defaults.as_slice() {
        [] => Err(ClassError::NoDefault),
        [class] => Ok(class),
        several => {
            Err(ClassError::SeveralDefaults(several.iter().map(|c| c.name_any()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Whether the class lets the namespace take part, and the campaign asks for no more than it allows; all that is too much is
/// said at once.
pub fn admit(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    namespace: &Namespace,
    all: &[Arc<CouponCampaign>],
) -> Result<(), ClassError> {
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    if !selects(&class.spec.namespace_selector, &labels) {
        return Err(ClassError::NamespaceNotSelected {
            namespace: namespace.name_any(),
            class: class.name_any(),
            selector: describe(&class.spec.namespace_selector),
        });
    }
    let (_, mut exceeded) = limits::hold(campaign, &class.spec.limits, &InForce::default());
    let (before, most) = (before(campaign, class, all), i64::from(class.spec.limits.campaigns_per_namespace));
    if before >= most {
        let field = "the number of campaigns of this namespace that are not Completed, with this one,";
        exceeded.push(Exceeded { field, asked: before.saturating_add(1), limit: most, granted: before });
    }
    match exceeded.is_empty() {
        true => Ok(()),
        false => Err(ClassError::LimitExceeded { exceeded, class: class.name_any() }),
    }
}

/// Campaigns of the namespace in this class that count before this one: those that run, and those that are older and may.
fn before(campaign: &CouponCampaign, class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> i64 {
    let own = &campaign.metadata;
    let counts = |other: &&Arc<CouponCampaign>| {
        let status = other.status.as_ref();
        let runs = status.is_some_and(|status| status.epoch.is_some());
        other.metadata.namespace == own.namespace
            && other.metadata.uid != own.uid
            && uses(other, class)
            && status.and_then(|status| status.phase) != Some(Phase::Completed)
            && (runs || age(other) < age(campaign))
    };
    i64::try_from(all.iter().filter(counts).count()).unwrap_or(i64::MAX)
}

/// Whether a campaign uses this class, or would.
pub fn uses(campaign: &CouponCampaign, class: &CampaignClass) -> bool {
    let resolved = campaign.status.as_ref().and_then(|status| status.class_name.as_deref());
    let named = campaign.spec.class_name.as_deref().or(resolved);
    named.map_or_else(|| class.is_default(), |name| class.metadata.name.as_deref() == Some(name))
}

/// By what campaigns are older than others.
fn age(campaign: &CouponCampaign) -> (Option<Time>, String) {
    (campaign.creation_timestamp(), campaign.name_any())
}

/// Whether no older campaign of the namespace has the same coupon id: they would share one ledger.
pub fn alone(campaign: &CouponCampaign, all: &[Arc<CouponCampaign>]) -> Result<(), ClassError> {
    let (id, own) = (campaign.coupon_id(), &campaign.metadata);
    let older = all.iter().find(|other| {
        let meta = &other.metadata;
        // Every pass looks at every campaign here, so nothing is copied before the id matches.
        other.spec.coupon_id.as_ref().or(meta.name.as_ref()) == Some(&id)
            && meta.namespace == own.namespace
            && meta.uid != own.uid
            && age(other) < age(campaign)
    });
    older.map_or(Ok(()), |older| Err(ClassError::CouponIdTaken(older.name_any())))
}

/// The campaign, with the names that its class gives it in Kafka.
pub fn identified(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    connections: &settings::Connections,
) -> Result<CampaignId, NameError> {
    let namespace = campaign.namespace().unwrap_or_default();
    Ok(connections.campaign(Identity::new(&class.spec.realm, &namespace, &campaign.coupon_id())?))
}

/// Whether the campaign's topics, if it has had any, are those that its class gives it: a class that was deleted and made again may say
/// something else, and what is looked for under other names is not there.
pub fn keeps_names(campaign: &CouponCampaign, class: &CampaignClass, id: &CampaignId) -> Result<(), ClassError> {
    let Some(topic) = campaign.status.as_ref().and_then(|status| status.topic.as_ref()) else { return Ok(()) };
    // A status of the version before names no group.
    let group = topic.consumer_group.clone().unwrap_or_else(|| id.group());
    let recorded = [topic.name.clone(), topic.dead_letter_topic.clone(), group];
    let wanted = [id.topic(), id.dead_letter_topic(), id.group()];
    if recorded == wanted {
        return Ok(());
    }
    let words = |[topic, dead, group]: [String; 3]| format!("`{topic}` and `{dead}` (group `{group}`)");
    Err(ClassError::KafkaNamesDiffer { class: class.name_any(), recorded: words(recorded), wanted: words(wanted) })
}

/// A label selector, as Kubernetes evaluates it.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expression = |e: &LabelSelectorRequirement| {
        let value = labels.get(&e.key);
        let listed = value.is_some_and(|value| e.values.iter().flatten().any(|each| each == value));
        match e.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    equal && selector.match_expressions.iter().flatten().all(expression)
}

fn describe(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|e| format!("{} {} {}", e.key, e.operator, e.values.clone().unwrap_or_default().join(",")));
    labels.chain(expressions).collect::<Vec<_>>().join(" and ")
}

/// The two sets of connections of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassConnections {
    /// For the operator itself.
    pub operator: settings::Connections,
    /// For issuer and consumer pods.
    pub workload: settings::Connections,
}

/// Reads the Secrets of a class and puts its connections together.
pub async fn connections(
    client: &Client,
    class: &CampaignClass,
    own_namespace: &str,
) -> Result<ClassConnections, ClassError> {
    let namespace = class.spec.credentials.namespace.as_deref().unwrap_or(own_namespace);
    let secrets = Secrets { api: Api::namespaced(client.clone(), namespace), namespace, class };
    let kafka_ca = secrets.ca(class.spec.kafka.security.ca_secret_ref.as_ref()).await?;
    let redis_ca = secrets.ca(class.spec.redis.ca_secret_ref.as_ref()).await?;
    let database_ca = secrets.ca(class.spec.database.ca_secret_ref.as_ref()).await?;
    let kafka_names = class.spec.kafka.names.checked()?;
    let mut both = Vec::with_capacity(2);
    for reference in [&class.spec.credentials.operator, &class.spec.credentials.workload] {
        let logins = secrets.logins(&reference.secret_name).await?;
        both.push(settings::Connections {
            kafka: kafka(&class.spec.kafka, logins.kafka, kafka_ca.clone()),
            redis: redis(&class.spec.redis, logins.redis, logins.sentinel, redis_ca.clone())?,
            database: settings::Database {
                host: class.spec.database.host.clone(),
                port: class.spec.database.port,
                name: class.spec.database.name.clone(),
                login: logins.database,
                tls: match class.spec.database.tls {
                    api::DatabaseTls::Disabled => settings::DatabaseTls::Disabled,
                    api::DatabaseTls::Required => settings::DatabaseTls::Required,
                    api::DatabaseTls::VerifyIdentity => settings::DatabaseTls::VerifyIdentity,
                },
                ca_pem: database_ca.clone(),
            },
            kafka_names: kafka_names.clone(),
        });
    }
    let workload = both.remove(1);
    Ok(ClassConnections { operator: both.remove(0), workload })
}

struct Logins {
    kafka: settings::Login,
    redis: settings::Login,
    sentinel: settings::Login,
    database: settings::Login,
}

struct Secrets<'a> {
    api: Api<Secret>,
    namespace: &'a str,
    class: &'a CampaignClass,
}

impl Secrets<'_> {
    async fn read(&self, name: &str) -> Result<BTreeMap<String, String>, ClassError> {
        let secret = self.api.get_opt(name).await?.ok_or_else(|| ClassError::SecretMissing {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            class: self.class.name_any(),
        })?;
        let text = |(key, value): (String, k8s_openapi::ByteString)| match String::from_utf8(value.0) {
            Ok(text) => Ok((key, text)),
            Err(_) => Err(self.unusable(name, &key)),
        };
        secret.data.unwrap_or_default().into_iter().map(text).collect()
    }

    fn unusable(&self, name: &str, key: &str) -> ClassError {
        ClassError::SecretKey { namespace: self.namespace.to_owned(), name: name.to_owned(), key: key.to_owned() }
    }

    async fn ca(&self, reference: Option<&api::CaSecretRef>) -> Result<Option<CaPem>, ClassError> {
        let Some(reference) = reference else { return Ok(None) };
        let mut values = self.read(&reference.name).await?;
        let (name, key) = (&reference.name, &reference.key);
        let text = values.remove(key).ok_or_else(|| self.unusable(name, key))?;
        // Clients take what is no certificate for none at all, and say later that the issuer is unknown; or repeat it.
        let pem = CaPem::new(text).map_err(|fault| ClassError::SecretCertificate {
            namespace: self.namespace.to_owned(),
            name: name.clone(),
            key: key.clone(),
            fault,
        })?;
        Ok(Some(pem))
    }

    async fn logins(&self, name: &str) -> Result<Logins, ClassError> {
        let mut values = self.read(name).await?;
        let mut value = |key: &str| match values.remove(key).unwrap_or_default() {
            value if value.trim() == value => Ok(value),
            _ => Err(ClassError::SecretWhitespace {
                namespace: self.namespace.to_owned(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
        };
        let mut login = |username: &str, password: &str| {
            Ok::<_, ClassError>(settings::Login { username: value(username)?, password: value(password)? })
        };
        let kafka = login(secret_keys::KAFKA_USERNAME, secret_keys::KAFKA_PASSWORD)?;
        let redis = login(secret_keys::REDIS_USERNAME, secret_keys::REDIS_PASSWORD)?;
        let sentinel = login(secret_keys::SENTINEL_USERNAME, secret_keys::SENTINEL_PASSWORD)?;
        let database = login(secret_keys::DATABASE_USERNAME, secret_keys::DATABASE_PASSWORD)?;
        if database.username.is_empty() {
            return Err(self.unusable(name, secret_keys::DATABASE_USERNAME));
        }
        if self.class.spec.kafka.security.mechanism.is_some() && kafka.username.is_empty() {
            return Err(self.unusable(name, secret_keys::KAFKA_USERNAME));
        }
        Ok(Logins { kafka, redis, sentinel, database })
    }
}

fn kafka(spec: &api::Kafka, login: settings::Login, ca_pem: Option<CaPem>) -> settings::Kafka {
    settings::Kafka {
        bootstrap_servers: spec.bootstrap_servers.clone(),
        protocol: match spec.security.protocol {
            api::SecurityProtocol::Plaintext => settings::KafkaProtocol::Plaintext,
            api::SecurityProtocol::Tls => settings::KafkaProtocol::Tls,
            api::SecurityProtocol::SaslPlaintext => settings::KafkaProtocol::SaslPlaintext,
            api::SecurityProtocol::SaslTls => settings::KafkaProtocol::SaslTls,
        },
        mechanism: spec.security.mechanism.map(|mechanism| match mechanism {
            api::SaslMechanism::Plain => settings::SaslMechanism::Plain,
            api::SaslMechanism::ScramSha256 => settings::SaslMechanism::ScramSha256,
            api::SaslMechanism::ScramSha512 => settings::SaslMechanism::ScramSha512,
        }),
        login,
        ca_pem,
    }
}

fn redis(
    spec: &api::Redis,
    login: settings::Login,
    sentinels: settings::Login,
    ca_pem: Option<CaPem>,
) -> Result<settings::Redis, ClassError> {
    if let Some(sentinel) = &spec.sentinel {
        let server = settings::RedisServer::Sentinel {
            master_name: sentinel.master_name.clone(),
            nodes: sentinel.nodes.clone(),
            login: sentinels,
        };
        return Ok(settings::Redis { server, login, tls: sentinel.tls, database: 0, ca_pem });
    }
    let url = spec.url.clone().unwrap_or_default();
    let bad = || ClassError::RedisUrl(url.clone());
    let (tls, rest) = match url.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        _ => return Err(bad()),
    };
    let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| bad())? };
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { address.to_owned() } else { format!("{address}:6379") };
    Ok(settings::Redis { server: settings::RedisServer::Address(address), login, tls, database, ca_pem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_urls() {
        let read = |url: &str| {
            let spec = api::Redis { url: Some(url.to_owned()), sentinel: None, ca_secret_ref: None };
            redis(&spec, settings::Login::default(), settings::Login::default(), None)
        };
        for (url, address, tls, database) in [
            ("redis://r:6380", "r:6380", false, 0),
            ("redis://r", "r:6379", false, 0),
            ("rediss://r:6379/2", "r:6379", true, 2),
            ("redis://r/", "r:6379", false, 0),
        ] {
            let found = read(url).unwrap();
            assert_eq!(found.server, settings::RedisServer::Address(address.to_owned()), "{url}");
            assert_eq!((found.tls, found.database), (tls, database), "{url}");
        }
        assert!(read("http://r").is_err());
    }

    /// Wrong: Sentinels that ask for a login of their own get none, or that of the servers.
    #[tokio::test]
    async fn sentinels_have_a_login_of_their_own() {
        let mut class = crate::fixtures::class();
        let sentinel = api::Sentinel { master_name: "m".to_owned(), nodes: vec!["s:26379".to_owned()], tls: true };
        class.spec.redis = api::Redis { url: None, sentinel: Some(sentinel), ca_secret_ref: None };
        let guard = [("sentinel-username", "watch"), ("sentinel-password", "guard")];
        for (more, expected) in [(&guard[..], ("watch", "guard")), (&guard[1..], ("", "guard")), (&[], ("", ""))] {
            let all = [&[("database-username", "op"), ("redis-password", "servers")], more].concat();
            let read = connections(&with_secret(&all), &class, "coupon-system").await.unwrap();
            for redis in [read.operator.redis, read.workload.redis] {
                let settings::RedisServer::Sentinel { login, .. } = &redis.server else { panic!("{redis:?}") };
                assert_eq!((login.username.as_str(), login.password.as_str()), expected);
                assert_eq!((redis.login.password.as_str(), redis.tls), ("servers", true));
            }
        }
    }

    /// Wrong: any number of campaigns, or all of a namespace refused because one too many was applied.
    #[test]
    fn the_oldest_campaigns_of_a_namespace_come_first() {
        use crate::fixtures;
        let made = |name: &str, second: &str, change: &dyn Fn(&mut CouponCampaign)| {
            let mut campaign = fixtures::campaign();
            let meta = &mut campaign.metadata;
            (meta.name, meta.uid) = (Some(name.to_owned()), Some(format!("uid-{name}")));
            meta.creation_timestamp = Some(Time(format!("2026-12-01T09:00:{second}Z").parse().unwrap()));
            campaign.spec.class_name = Some("main".to_owned());
            change(&mut campaign);
            Arc::new(campaign)
        };
        let all = [
            made("ended", "01", &|c| c.status.get_or_insert_default().phase = Some(Phase::Completed)),
            made("elsewhere", "02", &|c| c.metadata.namespace = Some("web".to_owned())),
            made("other-class", "03", &|c| c.spec.class_name = Some("other".to_owned())),
            made("first", "04", &|_| {}),
            made("second", "05", &|_| {}),
            made("third", "06", &|_| {}),
            made("runs", "07", &|c| c.status.get_or_insert_default().epoch = Some(1)),
        ];
        let mut class = fixtures::class();
        class.spec.limits.campaigns_per_namespace = 3;
        let namespace = |labels: serde_json::Value| -> Namespace {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "shop", "labels": labels}})).unwrap()
        };
        let labelled = namespace(serde_json::json!({"coupon-operator.io/enabled": "true"}));
        for (name, expected) in [("first", true), ("second", true), ("third", false), ("elsewhere", true)] {
            let campaign = all.iter().find(|each| each.name_any() == name).unwrap();
            let admitted = admit(campaign, &class, &labelled, &all);
            assert_eq!(admitted.is_ok(), expected, "{name}: {admitted:?}");
            if let Err(error) = admitted {
                let text = error.to_string();
                assert!(text.contains("with this one, is 4, at most 3"), "{text}");
            }
        }
    }

    /// An API server that has one Secret, under every name.
    fn with_secret(data: &[(&str, &str)]) -> Client {
        with_bytes(&data.iter().map(|(key, value)| (*key, value.as_bytes().to_vec())).collect::<Vec<_>>())
    }

    fn with_bytes(data: &[(&str, Vec<u8>)]) -> Client {
        use http::{Request, Response};
        use kube::client::Body;
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let data: BTreeMap<String, k8s_openapi::ByteString> =
            data.iter().map(|(key, value)| ((*key).to_owned(), k8s_openapi::ByteString(value.clone()))).collect();
        let secret = serde_json::json!({"metadata": {"name": "login"}, "data": data});
        tokio::spawn(async move {
            while let Some((_, answer)) = handle.next_request().await {
                answer.send_response(Response::new(Body::from(serde_json::to_vec(&secret).unwrap())));
            }
        });
        Client::new(service, "coupon-system")
    }

    /// Wrong: what is in a Secret and cannot be right is tried, and the servers say something else about it.
    #[tokio::test]
    async fn what_a_secret_holds_and_cannot_be_right_is_named() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let both = format!("{pem}-----BEGIN EC PRIVATE KEY-----\nc2VzYW1l\n-----END EC PRIVATE KEY-----\n");
        let one_line = pem.replace('\n', " ");
        let login = ("database-username", "op");
        for (data, with_ca, reason, says) in [
            (vec![login], false, None, ""),
            (vec![login, ("ca.crt", pem)], true, None, ""),
            (vec![login, ("ca.crt", "MII")], true, Some("SecretCertificateInvalid"), "key `ca.crt` of Secret `ns/ca`"),
            (vec![login, ("ca.crt", "")], true, Some("SecretCertificateInvalid"), "-----BEGIN CERTIFICATE-----"),
            (vec![login, ("ca.crt", &both)], true, Some("SecretCertificateInvalid"), "holds a private key"),
            (vec![login, ("ca.crt", &one_line)], true, Some("SecretCertificateInvalid"), "a PEM that cannot be read"),
            (vec![login], true, Some("SecretKeyMissing"), "`ca.crt`"),
            (vec![login, ("redis-password", "x\n")], false, Some("SecretWhitespace"), "key `redis-password`"),
            (vec![], false, Some("SecretKeyMissing"), "`database-username`"),
        ] {
            for system in ["kafka", "redis", "database"] {
                let mut class = crate::fixtures::class();
                class.spec.credentials.namespace = Some("ns".to_owned());
                let ca = with_ca.then(|| api::CaSecretRef { name: "ca".to_owned(), key: "ca.crt".to_owned() });
                match system {
                    "kafka" => class.spec.kafka.security.ca_secret_ref = ca,
                    "redis" => class.spec.redis.ca_secret_ref = ca,
                    _ => class.spec.database.ca_secret_ref = ca,
                }
                let read = connections(&with_secret(&data), &class, "coupon-system").await;
                assert_eq!(read.as_ref().err().map(ClassError::reason), reason, "{system}, {data:?}");
                if let Err(error) = read {
                    assert!(error.to_string().contains(says), "{error}");
                    assert!(error.is_waited_for() && error.condition() == ConditionType::CredentialsReady, "{error}");
                }
            }
        }
    }

    /// Wrong: what a Secret holds stands in a condition, an event or a log, where more people read than may read the Secret.
    #[tokio::test]
    async fn nothing_of_a_secret_is_repeated_whatever_is_wrong_with_it() {
        use secret_keys as keys;
        let logins = [
            keys::KAFKA_USERNAME,
            keys::KAFKA_PASSWORD,
            keys::REDIS_USERNAME,
            keys::REDIS_PASSWORD,
            keys::SENTINEL_USERNAME,
            keys::SENTINEL_PASSWORD,
            keys::DATABASE_USERNAME,
            keys::DATABASE_PASSWORD,
        ];
        let begin = "-----BEGIN CERTIFICATE-----";
        let good = format!("{begin}\nc2VzYW1l\n-----END CERTIFICATE-----\n");
        let mut refused = 0;
        let values = [
            b"sesame\n".to_vec(),
            b" sesame".to_vec(),
            b"sesame\xff".to_vec(),
            format!("{begin} sesame -----END CERTIFICATE-----").into_bytes(),
            format!("{begin}\nopen sesame!\n-----END CERTIFICATE-----\n").into_bytes(),
            b"-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----\n".to_vec(),
        ];
        for (wrong, value) in
            logins.into_iter().chain(["ca.crt"]).flat_map(|key| values.iter().map(move |value| (key, value)))
        {
            let right = |key: &str| if key == "ca.crt" { good.as_bytes() } else { b"sesame" }.to_vec();
            let of = |key: &'static str| (key, if key == wrong { value.clone() } else { right(key) });
            let data: Vec<(&str, Vec<u8>)> = logins.into_iter().chain(["ca.crt"]).map(of).collect();
            let mut class = crate::fixtures::class();
            class.spec.redis.ca_secret_ref = Some(api::CaSecretRef { name: "ca".to_owned(), key: "ca.crt".to_owned() });
            // A password may look like anything.
            if let Err(error) = connections(&with_bytes(&data), &class, "coupon-system").await {
                let text = format!("{error} {error:?}");
                assert!(text.contains(wrong) && !text.contains("sesame") && !text.contains("c2Vz"), "{wrong}: {text}");
                refused += 1;
            }
        }
        // White space around it, or no text, for each; and for certificates whatever else is none.
        assert_eq!(refused, logins.len() * 5 + values.len());
    }

    /// Wrong: the API server cannot see that one campaign's dead letters would be another's winners, and nobody else looks; or the names that
    /// a class gives do not reach the pods.
    #[tokio::test]
    async fn names_of_a_class_reach_both_logins_unless_they_could_do_harm() {
        let with = async |dead_letter_topic: &str| {
            let mut class = crate::fixtures::class();
            class.spec.kafka.names.dead_letter_topic = dead_letter_topic.to_owned();
            connections(&with_secret(&[("database-username", "op")]), &class, "coupon-system").await
        };
        let read = with("{topic}.dlq").await.unwrap();
        for each in [read.operator, read.workload] {
            let campaign = each.campaign("prod/shop/spring".parse().unwrap());
            assert_eq!(campaign.dead_letter_topic(), "prod.shop.spring.coupon-events.dlq");
        }
        let error = with("{realm}.{namespace}.{couponId}.coupon-events-dlq").await.map(drop);
        assert!(error.is_ok(), "it cannot be a topic's name: {error:?}");
        let error = with("{realm}.{couponId}.{namespace}.coupon-events").await.unwrap_err();
        assert_eq!((error.reason(), error.is_waited_for()), ("KafkaNamesInvalid", false));
        let text = error.to_string();
        assert!(text.contains("topic and deadLetterTopic can be the same") && text.contains("delete it"), "{text}");
    }

    /// Wrong: a class that was made again with other names gives its campaigns new, empty topics.
    #[test]
    fn campaigns_keep_the_names_that_their_topics_have() {
        let (class, id) = (crate::fixtures::class(), crate::fixtures::id());
        let topic = || api::TopicStatus {
            name: id.topic(),
            dead_letter_topic: id.dead_letter_topic(),
            consumer_group: Some(id.group()),
            topic_id: None,
            partitions: 3,
            replication_factor: 3,
            min_in_sync_replicas: 2,
        };
        let old = || "old.shop.spring".to_owned();
        for (what, topic, kept) in [
            ("none yet", None, true),
            ("its own", Some(topic()), true),
            ("as the version before wrote it", Some(api::TopicStatus { consumer_group: None, ..topic() }), true),
            ("another topic", Some(api::TopicStatus { name: old(), ..topic() }), false),
            ("other dead letters", Some(api::TopicStatus { dead_letter_topic: old(), ..topic() }), false),
            ("another group", Some(api::TopicStatus { consumer_group: Some(old()), ..topic() }), false),
        ] {
            let mut campaign = crate::fixtures::campaign();
            campaign.status.get_or_insert_default().topic = topic;
            let found = keeps_names(&campaign, &class, &id);
            assert_eq!(found.is_ok(), kept, "{what}: {found:?}");
            if let Err(error) = found {
                let text = error.to_string();
                assert!(text.contains("`old.shop.spring`") && text.contains(&id.topic()), "{text}");
                assert_eq!((error.reason(), error.is_waited_for()), ("KafkaNamesDiffer", false), "{what}");
            }
        }
    }

    #[test]
    fn selectors_as_kubernetes_evaluates_them() {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let expression = |operator: &str, values: &[&str]| LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "team".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
        };
        assert!(selects(&LabelSelector::default(), &labels), "an empty selector takes all");
        assert!(selects(&expression("In", &["shop", "web"]), &labels));
        assert!(!selects(&expression("NotIn", &["shop"]), &labels));
        assert!(selects(&expression("Exists", &[]), &labels));
        assert!(!selects(&expression("DoesNotExist", &[]), &labels));
        assert!(!selects(&expression("Nonsense", &[]), &labels), "an unknown operator selects nothing");
    }
}
