//! What can go wrong, sorted by what the caller can do about it.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::lacks_a_right;

/// Why an administrative call failed. [`AdminError::reason`] is stable and fit for a condition; the message says what to
/// change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No answer in time: brokers down, a wrong address, a wrong protocol, or a network in between.
    #[error(
        "Kafka at {bootstrap} did not answer within {} ms: {cause}; check the bootstrap address and security protocol, \
         that the brokers run, and that the network lets this process reach them",
        .deadline.as_millis()
    )]
    Unreachable {
        /// `bootstrap.servers` as configured.
        bootstrap: String,
        /// How long the call was allowed to take.
        deadline: Duration,
        /// The last thing that librdkafka said about its connections.
        cause: String,
    },
    /// The brokers refused the login.
    #[error("Kafka at {bootstrap} refused the login: {cause}; check user, password and SASL mechanism")]
    AuthenticationFailed {
        /// `bootstrap.servers` as configured.
        bootstrap: String,
        /// The broker's words.
        cause: String,
    },
    /// The login is good, but its user lacks an ACL.
    #[error("Kafka does not let this client use {resource}: {cause}; grant its user the missing ACL")]
    NotAuthorized {
        /// What was asked for, such as `topic x`.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// More replicas asked for than brokers are alive.
    #[error(
        "replication factor {asked} is not possible with {live} live Kafka brokers; bring up more, or lower kafka.replicationFactor of \
         the CampaignClass (its allowLowerReplication takes what is there)"
    )]
    InvalidReplication {
        /// Replication factor asked for.
        asked: i32,
        /// Brokers alive a moment later.
        live: usize,
    },
    /// The topic does not exist, or this client may not see it.
    #[error("topic {topic} does not exist; create it, or let the operator create it")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// The cluster's create or alter policy refuses the request.
    #[error("a policy of the Kafka cluster refuses {resource}: {cause}; change the settings or the policy")]
    PolicyViolation {
        /// What was asked for.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// A configuration key or value that the broker refuses.
    #[error("Kafka refuses the configuration of {resource}: {cause}; correct that key")]
    InvalidConfig {
        /// What was asked for.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// A partition count that the broker refuses; partitions never shrink.
    #[error("Kafka refuses the partition count of {resource}: {cause}; ask for more partitions than there are")]
    InvalidPartitions {
        /// What was asked for.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// The consumer group still has members, so that nobody else may change it.
    #[error("{resource} still has members: {cause}; stop its consumers first")]
    GroupActive {
        /// Which group.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// The brokers, or librdkafka, do not know this request.
    #[error("Kafka does not support this request for {resource}: {cause}; the brokers are too old, or forbid it")]
    Unsupported {
        /// What was asked for.
        resource: String,
        /// The broker's words.
        cause: String,
    },
    /// librdkafka refuses a client property, or the client could not be made.
    #[error("the Kafka client cannot be made: {cause}; correct the client properties")]
    InvalidClient {
        /// librdkafka's words; never the value of a property.
        cause: String,
    },
    /// The task that asks Kafka for many callers at once has ended, as it panicked. Nobody was asked.
    #[error("{task} has ended by a fault of this program; restart it, and please report it")]
    TaskEnded {
        /// Which task.
        task: &'static str,
    },
    /// Anything else.
    #[error("Kafka failed for {resource}: {message}")]
    Other {
        /// What was asked for.
        resource: String,
        /// Kafka's or librdkafka's code.
        code: Code,
        /// The broker's words.
        message: String,
    },
}

impl AdminError {
    /// A stable name in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "KafkaUnreachable",
            Self::AuthenticationFailed { .. } => "KafkaAuthenticationFailed",
            Self::NotAuthorized { .. } => "KafkaNotAuthorized",
            Self::InvalidReplication { .. } => "InvalidReplication",
            Self::UnknownTopic { .. } => "UnknownTopic",
            Self::PolicyViolation { .. } => "KafkaPolicyViolation",
            Self::InvalidConfig { .. } => "InvalidTopicConfig",
            Self::InvalidPartitions { .. } => "InvalidPartitions",
            Self::GroupActive { .. } => "GroupActive",
            Self::Unsupported { .. } => "KafkaUnsupported",
            Self::InvalidClient { .. } => "InvalidKafkaClient",
            Self::TaskEnded { .. } => "InternalError",
            Self::Other { .. } if self.is_settling() => "KafkaSettling",
            Self::Other { .. } => "KafkaError",
        }
    }

    /// Whether a leader or coordinator is just being elected, or is not known everywhere yet: it passes in a moment, most likely.
    pub fn is_settling(&self) -> bool {
        matches!(self, Self::Other { code, .. } if is_passing(*code))
    }

    /// Whether that is what brokers say that delete no topics at all (`delete.topic.enable=false`), to whoever deletes one: by a code of its
    /// own, which older clients hear as a wrong request.
    pub fn forbids_deletion(&self) -> bool {
        match self {
            Self::Unsupported { .. } => true,
            Self::Other { code, .. } => matches!(code, Code::InvalidRequest | Code::TopicDeletionDisabled),
            _ => false,
        }
    }

    /// Whether the same call may succeed later although nobody changes anything on purpose.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::GroupActive { .. } => true,
            Self::Other { code, .. } => is_passing(*code),
            _ => false,
        }
    }
}

/// What a broker or librdkafka said, before it is known what it means for the caller.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub code: Code,
    pub message: String,
}

/// What a call is about; part of its error messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Cluster,
    Topic(&'a str),
    Group(&'a str),
}

impl std::fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster => write!(f, "the cluster"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "consumer group {name}"),
        }
    }
}

/// Where a call went and how its connections do: all that a timeout can be explained with.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    pub bootstrap: String,
    pub deadline: Duration,
    /// The last connection error since a call last succeeded.
    pub trouble: Option<Failure>,
}

/// Sorts a failure. Pure.
pub(super) fn classify(failure: Failure, subject: Subject<'_>, around: Circumstances) -> AdminError {
    let Failure { code, message: cause } = failure;
    let resource = subject.to_string();
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => AdminError::AuthenticationFailed { bootstrap: around.bootstrap, cause },
        code if is_silence(code) => match around.trouble {
            // librdkafka hides a refused login behind the timeout of the call that waited for the connection.
            Some(trouble) if trouble.code == Code::Authentication => {
                AdminError::AuthenticationFailed { bootstrap: around.bootstrap, cause: trouble.message }
            }
            trouble => AdminError::Unreachable {
                bootstrap: around.bootstrap,
                deadline: around.deadline,
                cause: trouble.map_or(cause, |trouble| trouble.message),
            },
        },
        code if lacks_a_right(code) => AdminError::NotAuthorized { resource, cause },
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId => {
            match subject {
                Subject::Topic(topic) => AdminError::UnknownTopic { topic: topic.to_owned() },
                _ => AdminError::Other { resource, code, message: cause },
            }
        }
        Code::PolicyViolation => AdminError::PolicyViolation { resource, cause },
        Code::InvalidConfig => AdminError::InvalidConfig { resource, cause },
        Code::InvalidPartitions => AdminError::InvalidPartitions { resource, cause },
        Code::NonEmptyGroup
        | Code::GroupSubscribedToTopic
        | Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::StaleMemberEpoch
        | Code::RebalanceInProgress => AdminError::GroupActive { resource, cause },
        Code::UnsupportedFeature | Code::UnsupportedVersion | Code::NotImplemented | Code::TopicDeletionDisabled => {
            AdminError::Unsupported { resource, cause }
        }
        code => AdminError::Other { resource, code, message: cause },
    }
}

/// Nobody answered; the code says only at which step librdkafka gave up.
pub(super) fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::SSL
            | Code::WaitingForCoordinator
            | Code::DestroyBroker
            | Code::UnknownBroker
    )
}

/// A broker answered, but a leader, controller or coordinator is just moving or overloaded.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
            | Code::NotEnoughReplicas
            | Code::WaitCache
            | Code::Retry
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(trouble: Option<(Code, &str)>) -> Circumstances {
        Circumstances {
            bootstrap: "kafka:9092".into(),
            deadline: Duration::from_secs(2),
            trouble: trouble.map(|(code, message)| Failure { code, message: message.into() }),
        }
    }

    fn sorted(code: Code, subject: Subject<'_>, trouble: Option<(Code, &str)>) -> AdminError {
        classify(Failure { code, message: "said the broker".into() }, subject, around(trouble))
    }

    #[test]
    fn a_timeout_is_explained_by_the_connection_error_behind_it() {
        let error = sorted(
            Code::OperationTimedOut,
            Subject::Cluster,
            Some((Code::BrokerTransportFailure, "Connection refused")),
        );
        assert!(error.is_retryable());
        let sentence = error.to_string();
        assert!(sentence.contains("kafka:9092") && sentence.contains("Connection refused"), "{sentence}");
        assert!(sentence.contains("2000 ms") && sentence.contains("check the bootstrap address"), "{sentence}");
    }

    #[test]
    fn a_refused_login_hides_behind_a_timeout_and_is_found() {
        let error = sorted(Code::OperationTimedOut, Subject::Cluster, Some((Code::Authentication, "bad password")));
        assert_eq!(error.reason(), "KafkaAuthenticationFailed");
        assert!(!error.is_retryable());
    }

    #[test]
    fn an_unknown_topic_is_named_but_only_where_a_topic_was_asked_for() {
        let error = sorted(Code::UnknownTopicOrPartition, Subject::Topic("t"), None);
        assert_eq!(error, AdminError::UnknownTopic { topic: "t".into() });
        assert_eq!(sorted(Code::UnknownTopicOrPartition, Subject::Group("g"), None).reason(), "KafkaError");
    }

    /// Wrong: a campaign whose brokers delete no topics is deleted for ever, and its log read again each time.
    #[test]
    fn brokers_that_delete_no_topics_are_not_waited_for() {
        for (code, expected) in [
            (Code::InvalidRequest, true),
            (Code::TopicDeletionDisabled, true),
            (Code::NotController, false),
            (Code::TopicAuthorizationFailed, false),
        ] {
            assert_eq!(sorted(code, Subject::Topic("t"), None).forbids_deletion(), expected, "{code:?}");
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retried() {
        for (code, retryable) in [
            (Code::NotController, true),
            (Code::CoordinatorLoadInProgress, true),
            // A leader that was elected a moment ago.
            (Code::OffsetNotAvailable, true),
            (Code::NonEmptyGroup, true),
            (Code::TopicAuthorizationFailed, false),
            (Code::PolicyViolation, false),
            (Code::InvalidConfig, false),
            (Code::InvalidPartitions, false),
            (Code::UnsupportedVersion, false),
            (Code::InvalidTopic, false),
        ] {
            assert_eq!(sorted(code, Subject::Topic("t"), None).is_retryable(), retryable, "{code:?}");
        }
    }
}
