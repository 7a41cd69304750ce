//! Where Redis, Kafka and the database are, and with which rights: one typed file (`connections.yaml`), written by the
//! operator into a Secret beside the pods, read once by every process.
//!
//! A pod of an older version may start with what a newer operator wrote, as pods are not replaced while coupons can be had: fields that
//! it does not know are left out of account, and a newer version only adds fields that may be missing. What it would misunderstand without
//! a field has the next version, and only that ([`crate::format`]).

mod ca_pem;
mod fields;
mod login;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::ca_pem::{CaPem, CaPemError};
pub use self::login::Login;
use crate::format::{self, Newer};
use crate::identity::{CampaignId, Identity};
use crate::later;
use crate::names::KafkaNames;
use crate::yaml;

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
    #[serde(deserialize_with = "fields::addresses")]
    pub bootstrap_servers: Vec<String>,
    /// Wire security.
    #[serde(default)]
    pub protocol: KafkaProtocol,
    /// SASL mechanism; used with the Sasl protocols only.
    #[serde(default, deserialize_with = "fields::some", skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<SaslMechanism>,
    /// SASL user; used with the Sasl protocols only.
    #[serde(default)]
    pub login: Login,
    /// The authorities to trust; none means the system's.
    #[serde(default, deserialize_with = "fields::some", skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<CaPem>,
}

/// The protocol of a Kafka listener. A value of classes, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum KafkaProtocol {
    /// Neither encrypted nor logged in.
    #[default]
    Plaintext,
    /// Encrypted.
    Tls,
    /// Logged in, not encrypted.
    SaslPlaintext,
    /// Encrypted and logged in.
    SaslTls,
}

/// How a login at Kafka is proved: the SASL mechanisms that need no further library. A value of classes, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum SaslMechanism {
    /// The password is sent as it is.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
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
            set("ssl.ca.pem", pem.as_str());
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
    #[serde(default, deserialize_with = "fields::flag")]
    pub tls: bool,
    /// Database number.
    #[serde(default, deserialize_with = "fields::database")]
    pub database: i64,
    /// The authorities to trust; none means the system's.
    #[serde(default, deserialize_with = "fields::some", skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<CaPem>,
}

/// How to find the Redis primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedisServer {
    /// `host:port`.
    Address(#[serde(deserialize_with = "fields::address")] String),
    /// Ask the Sentinels.
    Sentinel {
        /// The name they watch the primary under.
        #[serde(rename = "masterName", deserialize_with = "fields::filled")]
        master_name: String,
        /// `host:port` of each Sentinel.
        #[serde(deserialize_with = "fields::addresses")]
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
    #[serde(deserialize_with = "fields::host")]
    pub host: String,
    /// TCP port.
    #[serde(deserialize_with = "fields::port")]
    pub port: u16,
    /// Name of the schema that holds the tables.
    #[serde(deserialize_with = "fields::filled")]
    pub name: String,
    /// Database user.
    #[serde(default)]
    pub login: Login,
    /// Encryption.
    #[serde(default)]
    pub tls: DatabaseTls,
    /// The authorities to trust; none means the system's.
    #[serde(default, deserialize_with = "fields::some", skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<CaPem>,
}

/// Encryption of database connections. A value of classes, too, which have another default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    #[serde(default = "first", deserialize_with = "fields::version")]
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
pub enum ConnectionsError {
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
    pub fn load(path: &Path) -> Result<Self, ConnectionsError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConnectionsError::Read { path: path.to_owned(), source })?;
        let parse = |source| ConnectionsError::Parse { path: path.to_owned(), source };
        // The version first: what else a newer one says may not be readable.
        let Versioned { version } = yaml::from_str(&text).map_err(parse)?;
        format::check("the connections file", version, format::CONNECTIONS)
            .map_err(|newer| ConnectionsError::Newer { path: path.to_owned(), newer })?;
        yaml::from_str(&text).map_err(parse)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong_tests;
