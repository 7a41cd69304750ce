//! Where Redis, Kafka and the database are, and with which rights: one typed file (`connections.yaml`), written by the
//! operator into a Secret beside the pods, read once by every process.
//!
//! A pod of an older version may start with what a newer operator wrote, as pods are not replaced while coupons can be had: fields that
//! it does not know are left out of account, and a newer version only adds fields that may be missing. What it would misunderstand without
//! a field has the next version, and only that ([`crate::format`]).

mod login;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::login::Login;
use crate::format::{self, Newer};
use crate::identity::{CampaignId, Identity};
use crate::names::KafkaNames;
use crate::{later, yaml};

/// The three systems a campaign lives in, and how campaigns are called in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Where winners become durable.
    pub kafka: Kafka,
    /// Where ranks are given.
    pub redis: Redis,
    /// Where winners are rows.
    pub database: Database,
    /// How topics and consumer groups are called. A file with other names than the usual is of the second version: who does not know this
    /// field would use other topics, and find them empty.
    #[serde(default, skip_serializing_if = "KafkaNames::are_default")]
    pub kafka_names: KafkaNames,
}

/// The first version in which names are said.
const WITH_NAMES: u32 = 2;
/// Pods of the release before read it, as long as nothing is said that they do not know.
const WITHOUT: u32 = 1;

/// A file that says nothing is of the first.
fn first() -> u32 {
    1
}

/// Kafka brokers and how to speak to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// `host:port` of at least one broker.
    pub bootstrap_servers: Vec<String>,
    /// Wire security.
    #[serde(default)]
    pub protocol: KafkaProtocol,
    /// SASL mechanism; used with the Sasl protocols only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<SaslMechanism>,
    /// SASL user; used with the Sasl protocols only.
    #[serde(default)]
    pub login: Login,
    /// PEM certificates of the authority to trust; empty means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// librdkafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KafkaProtocol {
    /// No TLS, no login.
    #[default]
    Plaintext,
    /// TLS, no login.
    Tls,
    /// Login, no TLS.
    SaslPlaintext,
    /// Login over TLS.
    SaslTls,
}

/// SASL mechanisms that need no further library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// PLAIN
    Plain,
    /// SCRAM-SHA-256
    ScramSha256,
    /// SCRAM-SHA-512
    ScramSha512,
}

impl Kafka {
    /// librdkafka properties that every client of these brokers needs.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([("bootstrap.servers".to_owned(), self.bootstrap_servers.join(","))]);
        let mut set = |key: &str, value: &str| all.insert(key.to_owned(), value.to_owned());
        set(
            "security.protocol",
            match self.protocol {
                KafkaProtocol::Plaintext => "plaintext",
                KafkaProtocol::Tls => "ssl",
                KafkaProtocol::SaslPlaintext => "sasl_plaintext",
                KafkaProtocol::SaslTls => "sasl_ssl",
            },
        );
        if matches!(self.protocol, KafkaProtocol::SaslPlaintext | KafkaProtocol::SaslTls) {
            set(
                "sasl.mechanism",
                match self.mechanism.unwrap_or(SaslMechanism::ScramSha512) {
                    SaslMechanism::Plain => "PLAIN",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                },
            );
            set("sasl.username", &self.login.username);
            set("sasl.password", &self.login.password);
        }
        if let Some(pem) = &self.ca_pem {
            set("ssl.ca.pem", pem);
        }
        all
    }
}

/// One Redis, by address or through Sentinels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// How to find the primary.
    pub server: RedisServer,
    /// ACL user; an empty user name means `default`.
    #[serde(default)]
    pub login: Login,
    /// Whether to speak TLS.
    #[serde(default)]
    pub tls: bool,
    /// Database number.
    #[serde(default)]
    pub database: i64,
    /// PEM certificates of the authority to trust; empty means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// How to find the Redis primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedisServer {
    /// `host:port`.
    Address(String),
    /// Ask the Sentinels.
    Sentinel {
        /// The name they watch the primary under.
        #[serde(rename = "masterName")]
        master_name: String,
        /// `host:port` of each Sentinel.
        nodes: Vec<String>,
        /// The login that the Sentinels themselves ask for; empty where they ask for none. The servers' is [`Redis::login`].
        #[serde(default)]
        login: Login,
    },
}

/// A MySQL or MariaDB database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Name of the schema that holds the tables.
    pub name: String,
    /// Database user.
    #[serde(default)]
    pub login: Login,
    /// Encryption.
    #[serde(default)]
    pub tls: DatabaseTls,
    /// PEM certificates of the authority to trust; empty means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// Encryption of database connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DatabaseTls {
    /// None.
    #[default]
    Disabled,
    /// Encrypted; who the server is goes unchecked.
    Required,
    /// Encrypted, and the certificate must name the host.
    VerifyIdentity,
}

/// What is read before anything else.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default = "first")]
    version: u32,
}

/// What is written.
#[derive(Serialize)]
struct File<'a> {
    version: u32,
    #[serde(flatten)]
    connections: &'a Connections,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<&'static str>,
}

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was written by a newer program.
    #[error("{path}: {newer}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        newer: Newer,
    },
    /// The file does not say what is needed.
    #[error("{path} is not a valid connections file: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: yaml::YamlError,
    },
}

impl Connections {
    /// The text of a `connections.yaml`.
    ///
    /// # Errors
    /// It cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String, yaml::YamlError> {
        let version = if self.kafka_names.are_default() { WITHOUT } else { WITH_NAMES };
        yaml::to_string(&File { version, connections: self, later: later::field() })
    }

    /// The campaign of this identity, with the names that it has here.
    pub fn campaign(&self, identity: Identity) -> CampaignId {
        identity.named(&self.kafka_names)
    }

    /// Reads and checks a `connections.yaml`.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let parse = |source| SettingsError::Parse { path: path.to_owned(), source };
        // The version first: what else a newer one says may not be readable.
        let Versioned { version } = yaml::from_str(&text).map_err(parse)?;
        format::check("the connections file", version, format::CONNECTIONS)
            .map_err(|newer| SettingsError::Newer { path: path.to_owned(), newer })?;
        yaml::from_str(&text).map_err(parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Templates;

    fn sample() -> Connections {
        Connections {
            kafka: Kafka {
                bootstrap_servers: vec!["kafka-0:9092".into(), "kafka-1:9092".into()],
                protocol: KafkaProtocol::SaslTls,
                mechanism: Some(SaslMechanism::ScramSha256),
                login: Login { username: "u".into(), password: "p: #1".into() },
                ca_pem: Some("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n".into()),
            },
            redis: Redis {
                server: RedisServer::Sentinel {
                    master_name: "coupons".into(),
                    nodes: vec!["s:26379".into()],
                    login: Login { username: String::new(), password: "guard: 1".into() },
                },
                login: Login::default(),
                tls: false,
                database: 0,
                ca_pem: None,
            },
            database: Database {
                host: "db".into(),
                port: 3306,
                name: "coupons".into(),
                login: Login { username: "w".into(), password: "'\"".into() },
                tls: DatabaseTls::VerifyIdentity,
                ca_pem: None,
            },
            kafka_names: KafkaNames::default(),
        }
    }

    /// Wrong: a pod of the release before does not know of names, and writes to, or stores from, topics that are not the campaign's; or one
    /// does not start although there is nothing that it would have to know.
    #[test]
    fn names_are_said_to_those_who_know_them() {
        let usual = sample().to_yaml().unwrap();
        assert!(usual.starts_with("version: 1\n") && !usual.contains("kafkaNames"), "{usual}");
        let templates = Templates { topic: "x.{namespace}.{couponId}".to_owned(), ..Templates::default() };
        let own = Connections { kafka_names: KafkaNames::new(templates).unwrap(), ..sample() };
        let text = own.to_yaml().unwrap();
        assert!(text.starts_with("version: 2\n"), "{text}");
        let read = yaml::from_str::<Connections>(&text).unwrap();
        assert_eq!(read, own);
        let campaign = read.campaign("prod/shop/spring".parse().unwrap());
        assert_eq!((campaign.topic().as_str(), campaign.to_string().as_str()), ("x.shop.spring", "prod/shop/spring"));
        let error = yaml::from_str::<Connections>(&text.replace("x.{namespace}", "x")).unwrap_err().to_string();
        assert!(error.contains("topic needs {namespace}"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = sample().to_yaml().unwrap();
        assert_eq!(yaml::from_str::<Connections>(&text).unwrap(), sample(), "{text}");
    }

    /// A file of an older version says nothing of a login at Sentinels.
    #[test]
    fn sentinels_without_a_login_are_asked_without() {
        let server: RedisServer = yaml::from_str("sentinel: {masterName: m, nodes: ['s:1']}").unwrap();
        let RedisServer::Sentinel { login, .. } = server else { panic!("{server:?}") };
        assert_eq!(login, Login::default());
    }

    #[test]
    fn passwords_are_not_printed() {
        let printed = format!("{:?}", sample());
        assert!(!printed.contains("p: #1") && !printed.contains("guard: 1"), "{printed}");
    }

    #[test]
    fn sasl_over_tls_reaches_librdkafka() {
        let properties = sample().kafka.properties();
        for (key, value) in [
            ("bootstrap.servers", "kafka-0:9092,kafka-1:9092"),
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "u"),
        ] {
            assert_eq!(properties.get(key).map(String::as_str), Some(value), "{key}");
        }
    }

    /// Wrong: a pod works with what it has half understood, or one of an older version does not start.
    #[test]
    fn a_file_of_a_newer_version_is_refused_and_one_of_an_older_is_read() {
        let path = std::env::temp_dir().join(format!("coupon-connections-{}.yaml", std::process::id()));
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Connections::load(&path)
        };
        let text = sample().to_yaml().unwrap();
        let without = text.replace("version: 1\n", "");
        assert_ne!(text, without);
        assert_eq!(load(&without).unwrap(), sample());
        assert_eq!(load(&format!("next: thing\n{text}")).unwrap(), sample(), "a field that a newer one may have");
        let error = load("version: 3\nstores: [elsewhere]\n").unwrap_err();
        assert!(matches!(&error, SettingsError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("is of version 3, and this program knows versions up to 2"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_missing_part_is_named() {
        let error = yaml::from_str::<Connections>("kafka: {bootstrapServers: [a:1]}").unwrap_err().to_string();
        assert!(error.contains("redis"), "{error}");
    }
}
