//! Everything that can stop a pass, and what each means: which condition it concerns, a stable reason, and when to try again.

pub(crate) mod bounded;
pub(crate) mod retry;
pub(crate) mod words;

use std::time::Duration;

use coupon_kafka_admin::AdminError;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::redis::RedisError;

use crate::api::ConditionType;
use crate::class::ClassError;
pub use crate::error::retry::Retry;
pub use crate::error::words::{database_advice, redis_advice, redis_reason, table_reason};
pub(crate) use crate::error::words::{kubernetes_words, tls_advice};
use crate::ledger::epoch::EpochError;
use crate::workloads::ownership::NotOurs;

/// Why a pass stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The class, its Secrets or its rules.
    #[error(transparent)]
    Class(#[from] ClassError),
    /// The Kubernetes API.
    #[error("{}", kubernetes_words(.0))]
    Kubernetes(#[from] kube::Error),
    /// What the pods connect to could not be written into their Secret.
    #[error("the connections of the pods cannot be written: {0}; this is a fault of the operator, please report it")]
    Connections(#[from] coupon_core::yaml::YamlError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The brokers let this client make no topics, or none such as these.
    #[error(
        "{error}; or set kafka.createTopics: false in the CampaignClass, and have {wanted} made by somebody who may, and left empty: then \
         they are used"
    )]
    TopicNotMade {
        /// What the brokers say.
        error: AdminError,
        /// The topics with all that matters about them, in words.
        wanted: String,
    },
    /// Somebody else makes the topics, and has not yet.
    #[error(
        "kafka.createTopics of the CampaignClass is false: have {wanted} made by somebody who may, and left empty: then they are used"
    )]
    TopicAwaited {
        /// The topics with all that matters about them, in words.
        wanted: String,
    },
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The database.
    #[error(transparent)]
    Table(#[from] DatabaseError),
    /// Opening a new epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// Storing what is left in the log.
    #[error("draining: {0}")]
    Drain(Box<coupon_sink::drain::DrainError>),
    /// Publishing missing winners again.
    #[error("missing winners cannot be published: {0}")]
    Repair(String),
    /// A campaign that is being deleted has winners that are neither rows nor dead letters.
    #[error(
        "{0} winners whom Redis knows are neither rows nor dead letters, so nothing is removed; trying again, or set the \
         annotation coupon-operator.io/release to leave all as it is"
    )]
    WinnersNotStored(u64),
    /// The campaign has had a ledger, which is not in this database.
    #[error(
        "the campaign has a ledger, but not in this database; point the class back to where it was (database, realm), or restore the database; \
         winners may be in Redis \
         and Kafka only, so nothing is removed"
    )]
    LedgerMoved,
    /// The ledger is another cluster's.
    #[error("{0}")]
    LedgerOwnedElsewhere(String),
    /// The ledger is this object's, under another name of this cluster.
    #[error("{0}")]
    ClusterNameChanged(String),
    /// It is not known which cluster this is.
    #[error(
        "the namespace kube-system, whose UID names this cluster in the ledger, is not there: give the operator a name for the cluster \
         (clusterId of the chart) that no other cluster of the realm has"
    )]
    ClusterUnknown,
    /// An object that is not ours stands where one of ours belongs.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The watches have not shown what there is.
    #[error("the operator has just started and has not seen all objects yet; waiting for the Kubernetes API")]
    WatchesNotFilled,
    /// The pass took too long.
    #[error("the pass took too long and was given up; some system accepts connections but does not answer")]
    PassTimeout,
    /// A pass panicked.
    #[error(
        "a fault of the operator itself stopped this pass: {0}; other campaigns go on, and this one is tried again; please report it"
    )]
    Panic(String),
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] coupon_core::identity::NameError),
}

impl From<coupon_sink::drain::DrainError> for ReconcileError {
    fn from(error: coupon_sink::drain::DrainError) -> Self {
        Self::Drain(Box::new(error))
    }
}

impl ReconcileError {
    /// The condition that the failure concerns.
    pub fn condition(&self) -> ConditionType {
        match self {
            Self::Class(error) => error.condition(),
            Self::Kubernetes(_) | Self::Connections(_) | Self::NotOurs(_) => ConditionType::WorkloadsReady,
            Self::Kafka(AdminError::Unreachable { .. } | AdminError::AuthenticationFailed { .. }) => {
                ConditionType::KafkaReady
            }
            Self::Kafka(_) | Self::TopicNotMade { .. } | Self::TopicAwaited { .. } => ConditionType::TopicReady,
            Self::Redis(_) => ConditionType::RedisReady,
            Self::Table(_) => ConditionType::DatabaseReady,
            Self::Epoch(error) => error.condition(),
            Self::Drain(_) | Self::Repair(_) | Self::WinnersNotStored(_) | Self::LedgerMoved => {
                ConditionType::LedgerConsistent
            }
            Self::PassTimeout | Self::Panic(_) | Self::WatchesNotFilled => ConditionType::Reconciling,
            Self::Name(_) | Self::LedgerOwnedElsewhere(_) | Self::ClusterNameChanged(_) | Self::ClusterUnknown => {
                ConditionType::Stalled
            }
        }
    }

    /// A stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Class(error) => error.reason(),
            Self::Kubernetes(_) => "KubernetesError",
            Self::Kafka(error) | Self::TopicNotMade { error, .. } => error.reason(),
            Self::TopicAwaited { .. } => "TopicAwaited",
            Self::Redis(error) => redis_reason(error),
            Self::Table(error) => table_reason(error),
            Self::Epoch(error) => error.reason(),
            Self::Drain(_) => "DrainFailed",
            Self::Repair(_) => "RepublishFailed",
            Self::WinnersNotStored(_) => "WinnersNotStored",
            Self::LedgerMoved => "LedgerMoved",
            Self::LedgerOwnedElsewhere(_) => "LedgerOwnedElsewhere",
            Self::ClusterNameChanged(_) => "ClusterNameChanged",
            Self::ClusterUnknown => "ClusterUnknown",
            Self::NotOurs(NotOurs::Foreign { .. }) => "ResourceConflict",
            Self::NotOurs(NotOurs::Leaving { .. }) => "PredecessorLeaving",
            Self::WatchesNotFilled => "WatchesNotFilled",
            Self::PassTimeout => "PassTimeout",
            Self::Panic(_) | Self::Connections(_) => "InternalError",
            Self::Name(_) => "InvalidName",
        }
    }

    /// Whether somebody else wrote an object at the same time, or is deleting its namespace: no fault of anybody's, and the next
    /// pass sees it.
    pub fn is_overtaken(&self) -> bool {
        let Self::Kubernetes(kube::Error::Api(status)) = self else { return false };
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        // An apply that names the UID it was meant for, where another object bears the name by now, is refused as a change of
        // that field.
        let is_another = |cause: &kube::core::response::StatusCause| cause.field == "metadata.uid";
        status.is_conflict() || causes.iter().any(|cause| cause.reason == "NamespaceTerminating" || is_another(cause))
    }

    /// Whether it ends without a change of the campaign or of its class: something arrives, or answers again.
    pub fn is_waited_for(&self) -> bool {
        match self {
            Self::Class(error) => error.is_waited_for(),
            Self::Name(_) | Self::NotOurs(NotOurs::Foreign { .. }) => false,
            // People decide whose it is.
            Self::LedgerOwnedElsewhere(_) | Self::ClusterNameChanged(_) | Self::ClusterUnknown => false,
            _ => true,
        }
    }

    /// Whether it most likely passes by itself within a moment: Kafka elects leaders and coordinators for a topic that was just made.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Kafka(error) | Self::Epoch(EpochError::Kafka(error)) => error.is_settling(),
            _ => false,
        }
    }

    /// When to try again. A cause outside the object is always tried again: it goes away without telling us.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Class(error) => error.retry(),
            Self::Name(_) => Retry::OnChange,
            Self::Epoch(error) => error.retry(),
            // Its owner may rename it, and no watch of ours shows that.
            Self::NotOurs(NotOurs::Foreign { .. }) => Retry::After(Duration::from_secs(5)),
            Self::NotOurs(NotOurs::Leaving { .. }) => Retry::After(Duration::from_millis(500)),
            // The owner may release it, and no watch of ours shows that.
            Self::LedgerOwnedElsewhere(_) | Self::ClusterNameChanged(_) => Retry::After(Duration::from_secs(5)),
            _ => Retry::Backoff,
        }
    }
}

/// A sentence for people: what failed and what to look at.
pub fn advice(error: &ReconcileError) -> String {
    match error {
        ReconcileError::Redis(error) | ReconcileError::Epoch(EpochError::Redis(error)) => redis_advice(error),
        ReconcileError::Table(error) | ReconcileError::Epoch(EpochError::Table(error)) => database_advice(error),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_of_newer_programs_are_not_taken_for_a_missing_database() {
        let error = DatabaseError::SchemaTooNew { known: 4, minimum: 7 };
        assert_eq!(table_reason(&error), "DatabaseSchemaTooNew");
        let advice = database_advice(&error);
        assert!(advice.contains("upgrade the operator to a version that knows schema 7"), "{advice}");
        assert!(!advice.contains("exists"), "{advice}");
    }

    /// Wrong: a server that answers is called unavailable, and people look for it on the network.
    #[test]
    fn a_refusal_of_redis_keeps_its_own_reason_and_says_what_to_change() {
        for (line, reason, says) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", "RedisOutOfMemory", "raise maxmemory"),
            ("MISCONF Redis is configured to save RDB snapshots", "RedisCannotPersist", "look at its disk"),
            ("NOREPLICAS Not enough good replicas to write.", "RedisTooFewReplicas", "min-replicas-to-write"),
            ("READONLY You can't write against a read only replica.", "RedisReadOnly", "lead to the primary"),
            ("MOVED 10075 10.0.0.2:7092", "RedisClusterUnsupported", "a cluster is not supported"),
            ("NOPERM User w has no permissions to run the 'info' command", "RedisRightMissing", "'info'"),
            ("ERR Unknown Redis command called from script script: b64", "RedisRightMissing", "grant"),
            ("ERR no upstream host", "RedisRefused", "no upstream host"),
            ("WRONGPASS invalid username-password pair", "RedisAuthenticationFailed", "redis-password"),
        ] {
            let parsed = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            let Ok(redis::Value::ServerError(error)) = parsed else { panic!("{line}") };
            let error = RedisError::from(redis::RedisError::from(error));
            assert_eq!(redis_reason(&error), reason, "{line}");
            let advice = redis_advice(&error);
            assert!(advice.contains(says), "{advice}");
        }
    }

    /// Wrong: where TLS fails people are told to look whether the server runs, which it does.
    #[test]
    fn where_tls_fails_the_field_to_change_is_named() {
        for (said, expected) in [
            ("server does not support TLS", Some("set database.tls: Disabled")),
            ("invalid peer certificate: UnknownIssuer", Some("database.caSecretRef")),
            ("invalid peer certificate: BadSignature", Some("database.caSecretRef")),
            (
                "error:0A000086:SSL routines::certificate verify failed: broker certificate",
                Some("database.caSecretRef"),
            ),
            (
                "invalid peer certificate: certificate not valid for name \"10.0.0.2\"; certificate is only valid for DnsName(\"db\")",
                Some("by a name that its certificate has"),
            ),
            ("received fatal alert: CertificateRequired", Some("certificates of its clients, which are not supported")),
            ("ssl/tls alert bad certificate: SSL alert number 42", Some("certificates of its clients")),
            ("Connection refused (os error 111)", None),
        ] {
            let advice = tls_advice(said, "database");
            assert_eq!(advice.is_some(), expected.is_some(), "{said}: {advice:?}");
            assert!(advice.is_none_or(|advice| advice.contains(expected.unwrap_or_default())), "{said}");
        }
        let tls = sqlx::Error::Tls("server does not support TLS".into());
        let advice = database_advice(&DatabaseError::from(tls));
        assert!(advice.contains("database.tls: Disabled") && !advice.contains("that the server runs"), "{advice}");
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
        let advice = redis_advice(&RedisError::from(redis::RedisError::from(io)));
        assert!(advice.contains("redis.caSecretRef") && !advice.contains("that the server runs"), "{advice}");
    }

    /// Wrong: a page of Rust's own notation in a condition.
    #[test]
    fn kubernetes_is_quoted_and_not_dumped() {
        let status = json!({"status": "Failure", "message": "deployments.apps \"a\" is forbidden: no", "reason": "Forbidden", "code": 403});
        let refused = ReconcileError::Kubernetes(kube::Error::Api(serde_json::from_value(status).unwrap()));
        assert_eq!(refused.to_string(), "the Kubernetes API refuses: deployments.apps \"a\" is forbidden: no");
        let cause = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused by 10.0.0.1");
        let away = ReconcileError::Kubernetes(kube::Error::Service(Box::new(cause))).to_string();
        assert!(away.contains("connection refused by 10.0.0.1") && !away.contains('{'), "{away}");
    }

    #[test]
    fn a_write_that_was_overtaken_is_no_failure() {
        let answer = |code: u16, reason: &str, causes: serde_json::Value| {
            let status = json!({"status": "Failure", "message": "no", "reason": reason, "code": code, "details": {"causes": causes}});
            ReconcileError::Kubernetes(kube::Error::Api(serde_json::from_value(status).unwrap()))
        };
        assert!(answer(409, "Conflict", json!([])).is_overtaken());
        assert!(
            answer(403, "Forbidden", json!([{"reason": "NamespaceTerminating", "message": "gone"}])).is_overtaken()
        );
        let immutable =
            json!([{"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"}]);
        assert!(answer(422, "Invalid", immutable).is_overtaken(), "another object has the name");
        let selector =
            json!([{"reason": "FieldValueInvalid", "message": "field is immutable", "field": "spec.selector"}]);
        assert!(!answer(422, "Invalid", selector).is_overtaken());
        assert!(!answer(403, "Forbidden", json!([])).is_overtaken(), "a right that is missing is said");
        assert!(!answer(500, "InternalError", json!([])).is_overtaken());
        assert!(!ReconcileError::PassTimeout.is_overtaken());
    }
}
