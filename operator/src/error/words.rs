//! What failures of the servers are called, and what is to be done about them.

use coupon_ledger::database::{DatabaseError, Fault};
use coupon_ledger::redis::{Denial, RedisError};

/// A failed call to the Kubernetes API in the server's own words, or, where it did not answer, down to the cause.
pub(crate) fn kubernetes_words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        let said = if status.message.is_empty() { status.reason.as_str() } else { status.message.as_str() };
        // What of our objects people can make invalid, they have from the class.
        let hint = match status.reason.as_str() {
            "Invalid" => "; if this is about pods: they are as pods in the CampaignClass says",
            _ => "",
        };
        return format!("the Kubernetes API refuses: {said}{hint}");
    }
    let mut words = format!("Kubernetes API: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat their cause already.
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}

/// A stable word for a failed call to Redis.
pub fn redis_reason(error: &RedisError) -> &'static str {
    match error {
        _ if error.is_authentication() => "RedisAuthenticationFailed",
        _ if error.is_missing_right() => "RedisRightMissing",
        RedisError::Settings(_) => "RedisSettingsInvalid",
        RedisError::NoPrimary { .. } => "RedisNoPrimary",
        RedisError::SentinelLogin { .. } => "SentinelAuthenticationFailed",
        RedisError::Answer { .. } => "RedisUnexpectedAnswer",
        RedisError::Timeout(_) | RedisError::Redis(_) | RedisError::Right { .. } => match error.denial() {
            Some(Denial::ReadOnly) => "RedisReadOnly",
            Some(Denial::Loading) => "RedisLoading",
            Some(Denial::PrimaryDown) => "RedisPrimaryDown",
            Some(Denial::TooFewReplicas) => "RedisTooFewReplicas",
            Some(Denial::ClusterDown) => "RedisClusterDown",
            None => match error.code() {
                Some("OOM") => "RedisOutOfMemory",
                Some("MISCONF") => "RedisCannotPersist",
                Some("BUSY") => "RedisBusy",
                Some("NEWER") => "NewerFormat",
                Some("MOVED" | "ASK" | "CROSSSLOT") => "RedisClusterUnsupported",
                // A server that answers is not unavailable.
                Some(_) => "RedisRefused",
                None => "RedisUnavailable",
            },
        },
    }
}

/// A stable word for a failed statement.
pub fn table_reason(error: &DatabaseError) -> &'static str {
    match error {
        DatabaseError::SchemaTooNew { .. } => return "DatabaseSchemaTooNew",
        DatabaseError::NumbersUsedUp { .. } => return "DatabaseNumbersUsedUp",
        DatabaseError::BarrierAhead { .. } => return "DatabaseBarrierAhead",
        _ => {}
    }
    match error.fault() {
        Fault::Away if error.is_read_only() => "DatabaseReadOnly",
        Fault::Away if error.is_setting() || error.is_unset_session() => "DatabaseSettings",
        Fault::Away if matches!(error, DatabaseError::Busy(_)) => "DatabaseBusy",
        Fault::Away => "DatabaseUnavailable",
        Fault::Contention => "DatabaseContention",
        Fault::Denied => "DatabaseAccessDenied",
        Fault::Schema => "DatabaseSchemaInvalid",
        Fault::Rejected => "DatabaseRejected",
    }
}

/// What to change where TLS itself failed, told from what the libraries say. `part`: of the class.
pub(crate) fn tls_advice(said: &str, part: &str) -> Option<String> {
    let said = said.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["does not support tls"]) {
        return Some(format!(
            "the server speaks no TLS: set {part}.tls: Disabled in the CampaignClass, or give the server a certificate"
        ));
    }
    if says(&["certificaterequired", "certificate required", "alert bad certificate", "alert handshake failure"]) {
        return Some(
            "the server wants certificates of its clients, which are not supported: let it take logins without"
                .to_owned(),
        );
    }
    if says(&["not valid for name", "notvalidforname", "hostname mismatch"]) {
        return Some(format!("let {part} in the CampaignClass name the server by a name that its certificate has"));
    }
    // Another authority of the same name signed it: so it is after an authority was renewed.
    let another = "badsignature";
    if says(&["unknownissuer", "unknown issuer", "certificate verify failed", "self-signed", "self signed", another]) {
        return Some(format!(
            "let {part}.caSecretRef in the CampaignClass name the authority that signed the server's certificate"
        ));
    }
    None
}

/// The same for Redis.
pub fn redis_advice(error: &RedisError) -> String {
    let tls = tls_advice(&error.to_string(), "redis");
    let hint = if matches!(error, RedisError::SentinelLogin { .. }) {
        "check sentinel-username and sentinel-password in the Secret that the CampaignClass names: Sentinels have logins of their own"
    } else if error.is_authentication() {
        "check redis-username and redis-password in the Secret that the CampaignClass names"
    } else if error.is_missing_right() {
        "grant Redis' user this right (README, Install, lists what each login needs)"
    } else {
        match error.denial() {
            Some(Denial::ReadOnly) => {
                "it is a replica: let redis in the CampaignClass lead to the primary, or use Sentinel"
            }
            Some(Denial::Loading) => "it reads its data from disk; it goes on by itself when that is done",
            Some(Denial::PrimaryDown) => {
                "it is a replica that has lost its primary: bring that back, or promote a replica"
            }
            Some(Denial::TooFewReplicas) => "bring its replicas back, or lower min-replicas-to-write",
            Some(Denial::ClusterDown) => {
                "a cluster is not supported: let redis in the CampaignClass name a single primary"
            }
            None => match error.code() {
                Some("OOM") => "its memory is full: raise maxmemory, or let others use less of it",
                Some("MISCONF") => "it cannot write its snapshot or append-only file: look at its disk and log",
                Some("BUSY") => "a script of somebody else keeps it busy; it goes on by itself when that ends",
                Some("NEWER") => {
                    "run the version that wrote these keys; if there is none, somebody changed the field `format` of the campaign's meta \
                     key in Redis: delete that key, and Redis is filled again from the ledger"
                }
                Some("MOVED" | "ASK" | "CROSSSLOT") => {
                    "a cluster is not supported: let redis in the CampaignClass name a single primary"
                }
                Some(_) => "this is what the server says; look at its settings and log",
                None => tls.as_deref().unwrap_or("check redis in the CampaignClass, and that the server runs"),
            },
        }
    };
    format!("{error}; {hint}")
}

/// The same for the database.
pub fn database_advice(error: &DatabaseError) -> String {
    let tls = tls_advice(&error.to_string(), "database");
    let hint = match error.fault() {
        // These say it all.
        _ if matches!(
            error,
            DatabaseError::SchemaTooNew { .. }
                | DatabaseError::NumbersUsedUp { .. }
                | DatabaseError::BarrierAhead { .. }
                | DatabaseError::NotSeen(_)
                | DatabaseError::PasswordNeedsTls
        ) =>
        {
            return error.to_string();
        }
        _ if error.is_unset_session() => {
            "let database in the CampaignClass lead to the server itself, or have the proxy pass SET on"
        }
        _ if error.is_read_only() => {
            "the server takes no writes: let database in the CampaignClass name the primary, or make this server writable again"
        }
        _ if error.is_missing_right_to_change_tables() => {
            "grant the operator's database user this right, or have the tables made by somebody who may, with what `coupon-operator migrations \
             print` prints; it goes on by itself (README, Install)"
        }
        _ if error.is_missing_right() => {
            "grant the operator's database user this right; it goes on by itself (which rights it needs: README, Install)"
        }
        _ if error.is_setting() => "set binlog_format of the server to ROW or MIXED",
        _ if error.is_out_of_connections() => {
            "the server lets nobody more in: raise its max_connections, or this user's limit, or end what holds connections; it goes on by itself"
        }
        _ if error.is_full() => "give the server more room; it goes on by itself",
        Fault::Contention => {
            "somebody holds locks on the operator's tables: look at SHOW PROCESSLIST of the server; it goes on by itself when they end"
        }
        _ if matches!(error, DatabaseError::Busy(_)) => {
            "statements take too long: look at locks and load of the server"
        }
        Fault::Denied => {
            "check database-username and database-password in the Secret that the CampaignClass names, the user's rights, the \
             database's name, and database.tls if the server lets this user in over TLS only"
        }
        Fault::Schema if error.is_missing_table() => {
            "nobody has made the tables in the database that the CampaignClass names, or somebody has removed them: they are made by the \
             operator, if its login may, or by somebody else with what `coupon-operator migrations print` prints (README, Install)"
        }
        Fault::Schema => {
            "check that the database named in the CampaignClass exists, and that nobody else changes the operator's tables in it"
        }
        Fault::Rejected => {
            "the server takes no rows as they are: look at triggers and constraints that somebody added to the operator's tables"
        }
        Fault::Away => tls.as_deref().unwrap_or("check database in the CampaignClass, and that the server runs"),
    };
    format!("{error}; {hint}")
}
