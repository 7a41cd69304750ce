//! Looks whether a login may do what a rare command needs, before anything is changed: such a right is no part of a sale, so it would
//! show in the middle. Redis' commands are tried on keys of no campaign, SQL's on no row; Kafka is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use coupon_kafka_admin::{AdminError, Operation};
use coupon_ledger::database::DatabaseError;
use coupon_ledger::database::probe::Probe;
use coupon_ledger::redis::{self, RedisError};
use serde_json::{Value, json};

use crate::replay::{ReplayError, ReplayService};

/// How long one step may take.
const CALL: Duration = Duration::from_secs(5);

/// Rights that a login lacks at one system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{system} does not let user `{user}` {what}: {said}")]
pub(crate) struct Missing {
    system: &'static str,
    user: String,
    /// What it may not do, as an administrator would look for it.
    what: String,
    /// The server's own words.
    said: String,
}

impl Missing {
    /// For programs.
    pub(crate) fn as_json(&self) -> Value {
        json!({"system": self.system, "user": self.user, "right": self.what, "text": self.to_string()})
    }
}

/// All that is missing, for people, or for programs in JSON.
pub(crate) fn refusal(missing: &BTreeSet<Missing>) -> String {
    let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
    format!("nothing was done, as rights are missing: {}; grant them and run it again", all.join("; "))
}

impl ReplayService {
    /// Commands of Redis that are missing.
    ///
    /// # Errors
    /// Redis fails for another reason.
    pub(crate) async fn lacks_in_redis(&self, role: redis::probe::Role) -> Result<Option<Missing>, ReplayError> {
        let login = &self.connections.redis.login;
        let user = if login.username.is_empty() { "default" } else { &login.username };
        let missing = |commands: &str, said: String| {
            let (user, what) = (user.to_owned(), format!("run {commands}"));
            Some(Missing { system: "Redis", user, what, said })
        };
        let trying = async {
            let mut redis = redis::connect::connect(&self.connections.redis, CALL).await?;
            redis::probe::probe(&mut redis, self.campaign.realm(), role).await
        };
        match trying.await {
            Ok(probed) => {
                let commands: Vec<&str> = probed.failed.iter().map(|(command, _)| command.as_str()).collect();
                Ok(probed.failed.first().and_then(|(_, said)| missing(&commands.join(", "), said.clone())))
            }
            Err(error) if error.is_missing_right() => {
                Ok(missing("INFO, EVALSHA or SCRIPT LOAD on the keys coupon:*", words(&error)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Rights on tables that are missing.
    ///
    /// # Errors
    /// The database fails for another reason.
    pub(crate) async fn lacks_in_database(
        &self,
        role: coupon_ledger::database::probe::Role,
    ) -> Result<Option<Missing>, ReplayError> {
        let settings = &self.connections.database;
        let mut probe = Probe::connect(settings, CALL).await?;
        let tried = probe.missing_rights(role).await;
        probe.close().await;
        let said: Vec<String> = tried?.iter().map(DatabaseError::to_string).collect();
        Ok((!said.is_empty()).then(|| Missing {
            system: "the database",
            user: settings.login.username.clone(),
            what: "use its tables".to_owned(),
            said: said.join("; "),
        }))
    }

    /// Operations on a topic that are missing. A topic that is not there wants none.
    ///
    /// # Errors
    /// Kafka fails for another reason.
    pub(crate) async fn lacks_on_topic(
        &self,
        topic: &str,
        wanted: &[Operation],
    ) -> Result<Option<Missing>, ReplayError> {
        let login = &self.connections.kafka.login;
        let missing = |operations: &[Operation], said: String| {
            let names: Vec<String> = operations.iter().map(ToString::to_string).collect();
            let user = if login.username.is_empty() { "ANONYMOUS" } else { &login.username };
            let what = format!("{} topic {topic}", names.join(", "));
            Missing { system: "Kafka", user: user.to_owned(), what, said }
        };
        match self.admin.topic_rights(topic).await {
            Ok(None) | Err(AdminError::UnknownTopic { .. }) => Ok(None),
            Ok(Some(allowed)) => {
                let lacks: Vec<Operation> = wanted.iter().copied().filter(|each| !allowed.contains(each)).collect();
                Ok((!lacks.is_empty()).then(|| missing(&lacks, "no ACL allows it".to_owned())))
            }
            Err(AdminError::NotAuthorized { cause, .. }) => Ok(Some(missing(wanted, cause))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Redis' own, without ours before them.
fn words(error: &RedisError) -> String {
    match error {
        RedisError::Redis(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: somebody reads that a right is missing, and not which, whose and where.
    #[test]
    fn system_user_and_right_are_named() {
        let missing = |system, what: &str, said: &str| Missing {
            system,
            user: "coupon-pods".to_owned(),
            what: what.to_owned(),
            said: said.to_owned(),
        };
        let all = BTreeSet::from([
            missing("Redis", "run ZREM, HDEL", "can't run this command"),
            missing("Kafka", "Delete topic a.DLT", "no ACL allows it"),
        ]);
        assert_eq!(
            refusal(&all),
            "nothing was done, as rights are missing: Kafka does not let user `coupon-pods` Delete topic a.DLT: no ACL allows it; \
             Redis does not let user `coupon-pods` run ZREM, HDEL: can't run this command; grant them and run it again"
        );
        assert_eq!(all.first().map(|each| each.as_json()["right"].clone()), Some(json!("Delete topic a.DLT")));
    }
}
