//! What can be wrong with a class's servers or logins: a stable reason, the server's own words, and what to change.

use coupon_kafka_admin::AdminError;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::redis::RedisError;

use super::System;
use crate::error::{database_advice, redis_advice, redis_reason, table_reason};

/// Whose login was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The operator's.
    Operator,
    /// The issuers' and consumers'.
    Pods,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Operator => "the operator's",
            Self::Pods => "the pods'",
        })
    }
}

/// Something that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Redis failed.
    #[error("{}", redis_advice(.0))]
    Redis(RedisError),
    /// Its scripting is too old.
    #[error("this is Redis {found}, and the scripts need Redis 7: upgrade the server")]
    RedisTooOld {
        /// Its version.
        found: String,
    },
    /// A lost history could not be noticed.
    #[error(
        "INFO of this server lacks run_id or master_replid, by which lost data is noticed: use a server, or an endpoint, that shows both"
    )]
    RedisNoIdentity,
    /// It takes no writes.
    #[error("this server is a replica: let redis in the CampaignClass lead to the primary, or use Sentinel")]
    RedisReplica,
    /// One of several that share the keys.
    #[error(
        "this is one node of a Redis Cluster of several, which is not supported: campaigns whose keys lie on other nodes could not be \
         sold; let redis in the CampaignClass name a single primary"
    )]
    RedisCluster,
    /// It forgets winners when memory is full.
    #[error(
        "maxmemory-policy is {policy}: Redis would remove winners when memory is full, and users would get second coupons; set \
         maxmemory-policy to noeviction"
    )]
    RedisEvicts {
        /// The policy.
        policy: String,
    },
    /// A command may not be used.
    #[error(
        "Redis does not let user `{user}` run {}: {said}; grant it (README, Install, lists what each login needs)", .commands.join(", ")
    )]
    RedisRight {
        /// Redis' user.
        user: String,
        /// What it may not run.
        commands: Vec<String>,
        /// Redis' words for the first.
        said: String,
    },
    /// The database failed.
    #[error("{}", database_advice(.0))]
    Database(DatabaseError),
    /// It takes no writes.
    #[error(
        "the database takes no writes ({setting} is on): {said}; let database in the CampaignClass name the primary, or make this server \
         writable again"
    )]
    DatabaseReadOnly {
        /// What forbids them.
        setting: &'static str,
        /// Its words.
        said: String,
    },
    /// Unique keys are missing.
    #[error(
        "tables lack unique keys: {}; nothing but them keeps a rank, or a user's coupon, from being stored twice: make them anew as \
         migrations/0001_ledger.sql has them",
        .missing.join(", ")
    )]
    DatabaseKeys {
        /// Table and columns of each.
        missing: Vec<String>,
    },
    /// Rights on tables are missing.
    #[error("{}; grant user `{user}` this right (README, Install, lists what each login needs)", .said.join("; "))]
    DatabaseRight {
        /// The database's user.
        user: String,
        /// The server's words, one per right.
        said: Vec<String>,
    },
    /// Tables are to be made or changed, and the right to is missing.
    #[error(
        "{said}; grant user `{user}` this right, or have the tables made by somebody who may, with what `coupon-operator migrations print` \
         prints (README, Install)"
    )]
    DatabaseTables {
        /// The database's user.
        user: String,
        /// The server's words.
        said: String,
    },
    /// Kafka failed.
    #[error("{0}")]
    Kafka(AdminError),
    /// A right at Kafka is missing.
    #[error("Kafka does not let user `{user}` {operation} {resource}: {said}; add an ACL that allows it")]
    KafkaRight {
        /// Kafka's user.
        user: String,
        /// Kafka's name of what it may not do.
        operation: &'static str,
        /// To what.
        resource: String,
        /// The broker's words.
        said: String,
    },
    /// What is tried was not done in time, and nobody refused it.
    #[error(
        "{operation} of {resource} as Kafka's user `{user}` was not done within {seconds} s: {said}; look at the brokers' load, at quotas of \
         this user, and whether enough replicas are in sync"
    )]
    KafkaLate {
        /// Kafka's user.
        user: String,
        /// Kafka's name of what took so long.
        operation: &'static str,
        /// With what.
        resource: String,
        /// How long it had.
        seconds: u64,
        /// What the client said last.
        said: String,
    },
    /// The topic of looks is somebody else's.
    #[error(
        "topic {topic} exists and was not made by this operator, which writes and reads a record there to try the logins: delete it, or give \
         the class another realm"
    )]
    KafkaTopicNotOurs {
        /// The topic.
        topic: String,
    },
    /// Too few brokers for the copies that are asked for.
    #[error(
        "{live} Kafka brokers are alive, and kafka.replicationFactor is {asked}: bring up more, or lower it (kafka.allowLowerReplication \
         takes what is there)"
    )]
    KafkaTooFewBrokers {
        /// Brokers that are there.
        live: usize,
        /// Copies that are asked for.
        asked: u16,
    },
    /// A client cannot be made of the class.
    #[error("{0}")]
    Settings(String),
    /// Somebody answers too slowly, or not at all.
    #[error("{system} did not answer within {seconds} s: look at the server and at the way to it")]
    Silent {
        /// Who.
        system: System,
        /// How long it had.
        seconds: u64,
    },
}

impl Fault {
    /// A stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Redis(error) => redis_reason(error),
            Self::RedisTooOld { .. } => "RedisTooOld",
            Self::RedisNoIdentity => "RedisIdentityMissing",
            Self::RedisReplica => "RedisReadOnly",
            Self::RedisCluster => "RedisClusterUnsupported",
            Self::RedisEvicts { .. } => "RedisEvictionPolicy",
            Self::RedisRight { .. } => "RedisRightMissing",
            Self::Database(error) => table_reason(error),
            Self::DatabaseReadOnly { .. } => "DatabaseReadOnly",
            Self::DatabaseKeys { .. } => "DatabaseKeyMissing",
            Self::DatabaseRight { .. } | Self::DatabaseTables { .. } => "DatabaseAccessDenied",
            Self::Kafka(error) => error.reason(),
            Self::KafkaRight { .. } => "KafkaNotAuthorized",
            Self::KafkaLate { .. } => "KafkaTimeout",
            Self::KafkaTopicNotOurs { .. } => "TopicNotOurs",
            Self::KafkaTooFewBrokers { .. } => "InvalidReplication",
            Self::Settings(_) => "SettingsInvalid",
            Self::Silent { system: System::Redis, .. } => "RedisUnavailable",
            Self::Silent { system: System::Database, .. } => "DatabaseUnavailable",
            Self::Silent { system: System::Kafka, .. } => "KafkaUnreachable",
        }
    }

    /// Whether nobody there spoke to us as that system would: then it is worth to see who listens at all.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self.reason(), "RedisUnavailable" | "DatabaseUnavailable" | "KafkaUnreachable" | "RedisNoPrimary")
    }
}

/// A fault, and with whose login it was met.
#[derive(Debug)]
pub struct Finding {
    /// Where.
    pub system: System,
    /// With whose login; with both if it is the server's.
    pub who: Vec<Who>,
    /// What.
    pub fault: Fault,
    /// What was found to listen there, if that explains it.
    pub hint: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.who.as_slice() {
            [Who::Pods] => write!(f, "with {} login: ", Who::Pods)?,
            [Who::Operator] => write!(f, "with {} login: ", Who::Operator)?,
            _ => {}
        }
        write!(f, "{}", self.fault)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Puts the findings of both logins together: what is the same with both is said once.
pub(super) fn together(system: System, operator: Vec<Fault>, pods: Vec<Fault>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let both = [(Who::Operator, operator), (Who::Pods, pods)];
    for (who, fault) in both.into_iter().flat_map(|(who, faults)| faults.into_iter().map(move |fault| (who, fault))) {
        let text = fault.to_string();
        match found.iter_mut().find(|each| each.fault.to_string() == text) {
            Some(same) if !same.who.contains(&who) => same.who.push(who),
            Some(_) => {}
            None => found.push(Finding { system, who: vec![who], fault, hint: None }),
        }
    }
    found
}
