//! What a failed Redis call means, decided in one table.

use redis::ErrorKind;

/// Whether a call that failed changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// Certainly not. Safe to try again.
    No,
    /// Maybe. Only the same batch may be sent again.
    Unknown,
    /// The answer makes no sense: stop and alarm.
    Fatal,
}

/// What becomes of the connection that a call failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It is as good as before: the server was heard.
    Stays,
    /// It leads nowhere, or to the wrong server.
    GivenUp,
}

/// Why a Redis that answers takes no writes for now. Nothing was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It is a replica (by now).
    ReadOnly,
    /// It reads its data from disk.
    Loading,
    /// It is a replica that has lost its primary.
    PrimaryDown,
    /// It is a primary with fewer replicas than it is configured to have.
    TooFewReplicas,
    /// Its cluster does not serve all slots.
    ClusterDown,
}

impl Denial {
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "READONLY" => Self::ReadOnly,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::PrimaryDown,
            "NOREPLICAS" => Self::TooFewReplicas,
            "CLUSTERDOWN" => Self::ClusterDown,
            _ => return None,
        })
    }
}

/// A failed call to Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// Redis or the way to it failed.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// A command of a script that the user may not run.
    #[error("Redis does not let the user run {commands}, which {script} needs")]
    Right {
        /// Script name.
        script: &'static str,
        /// The command; several if it may be any of them.
        commands: String,
        /// Redis' own words.
        error: redis::RedisError,
    },
    /// No answer within the deadline, in milliseconds.
    #[error("Redis did not answer within {0} ms")]
    Timeout(u128),
    /// A script answered something that this version does not know.
    #[error("unexpected answer of {script}: {answer}")]
    Answer {
        /// Script name.
        script: &'static str,
        /// What came back, shortened.
        answer: String,
    },
    /// The address or the credentials cannot be used.
    #[error("Redis settings: {0}")]
    Settings(String),
    /// No Sentinel that takes our login names a primary.
    #[error("Sentinel {node} does not take our login: {said}")]
    SentinelLogin {
        /// One that refused it.
        node: String,
        /// Its words.
        said: String,
    },
    /// None of the Sentinels names a primary.
    #[error("no Sentinel of `{master}` names a primary: {last}")]
    NoPrimary {
        /// Name of the watched primary.
        master: String,
        /// What the last Sentinel answered.
        last: String,
    },
}

impl RedisError {
    /// Whether the call may have changed something.
    pub fn executed(&self) -> Executed {
        self.meaning().0
    }

    /// What becomes of the connection.
    pub fn connection(&self) -> Afterwards {
        self.meaning().1
    }

    fn meaning(&self) -> (Executed, Afterwards) {
        match self {
            Self::Timeout(_) => (Executed::Unknown, Afterwards::GivenUp),
            Self::Answer { .. } => (Executed::Fatal, Afterwards::Stays),
            Self::Settings(_) | Self::SentinelLogin { .. } | Self::NoPrimary { .. } => {
                (Executed::No, Afterwards::GivenUp)
            }
            Self::Redis(error) | Self::Right { error, .. } => classify(error),
        }
    }

    /// What Redis, or the way to it, said.
    fn said(&self) -> Option<&redis::RedisError> {
        match self {
            Self::Redis(error) | Self::Right { error, .. } => Some(error),
            _ => None,
        }
    }

    /// One word for what is wrong, the same as long as that is: for logs that say it once.
    pub fn cause(&self) -> String {
        match self {
            Self::Redis(error) | Self::Right { error, .. } => {
                error.code().map_or_else(|| format!("{:?}", error.kind()), str::to_owned)
            }
            Self::Timeout(_) => "timeout".to_owned(),
            Self::Answer { script, .. } => (*script).to_owned(),
            Self::Settings(_) => "settings".to_owned(),
            Self::SentinelLogin { .. } => "Sentinel's login".to_owned(),
            Self::NoPrimary { .. } => "no primary".to_owned(),
        }
    }

    /// Why the server takes no writes for now, if that is what it said.
    pub fn denial(&self) -> Option<Denial> {
        Denial::of_code(self.code()?)
    }

    /// Whether a server answered, and said no.
    pub fn is_answer(&self) -> bool {
        self.code().is_some()
    }

    /// Whether Redis said that user or password are wrong.
    pub fn is_authentication(&self) -> bool {
        self.said().is_some_and(|error| {
            matches!(error.kind(), ErrorKind::AuthenticationFailed)
                || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        })
    }

    /// Whether the user is known and may not do this, or the server has taken the command away from everybody. Inside a script
    /// Redis says so in words only.
    pub fn is_missing_right(&self) -> bool {
        self.said().is_some_and(|error| {
            error.code() == Some("NOPERM") || (error.code().is_some() && says_missing_right(&error.to_string()))
        })
    }

    /// The word with which Redis began its refusal, such as `OOM`.
    pub fn code(&self) -> Option<&str> {
        self.said()?.code()
    }
}

/// Whether words of Redis, or ours of them, speak of a right that is missing: what an issuer tells its operator is no more than words.
pub fn says_missing_right(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let says = |text: &str| words.contains(text);
    forbids_a_command(&words)
        || says("noperm")
        || says("can't access at least one of the keys")
        || says("does not let the user run")
}

/// The same of a command.
pub(super) fn forbids_a_command(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let all = ["unknown command", "unknown redis command", "can't run this command", "no permissions to run"];
    all.iter().any(|text| words.contains(text))
}

/// What a server that was heard means by the first word of its refusal. All of the first three groups are said before a script
/// begins (it carries a `#!lua` line), so nothing was executed. Source: error replies of Redis 7 (`src/server.c`, `src/script.c`,
/// `src/acl.c`, `src/cluster.c`).
const CODES: &[(&[&str], Executed, Afterwards)] = &[
    // It takes no writes for now, or not these. Asking again at once changes nothing, and neither does another connection: where
    // Sentinels have another primary they are heard beside this (`sentinel::watch`).
    (&["OOM", "MISCONF", "NOREPLICAS", "BUSY", "NOPERM"], Executed::No, Afterwards::Stays),
    // Our own scripts, of keys that a newer program has written (lua/history.lua).
    (&["NEWER"], Executed::No, Afterwards::Stays),
    (&["MOVED", "ASK", "TRYAGAIN", "CROSSSLOT"], Executed::No, Afterwards::Stays),
    // It is not the primary, or not yet, or does not know who is there: another connection may lead to one who is.
    (
        &["READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "NOSCRIPT"],
        Executed::No,
        Afterwards::GivenUp,
    ),
    // A key of another type: a sign of damage.
    (&["WRONGTYPE"], Executed::Fatal, Afterwards::Stays),
];

/// The table.
fn classify(error: &redis::RedisError) -> (Executed, Afterwards) {
    if let Some(code) = error.code() {
        let known = CODES.iter().find(|(codes, ..)| codes.contains(&code));
        // Also what is not listed here, such as `ERR` for a right that is missing inside a script, a script that was killed, or a
        // proxy's words: the same batch is sent again some times, and what it left half done closes the campaign (lua/issue.lua).
        return known
            .map_or((Executed::Unknown, Afterwards::Stays), |(_, executed, connection)| (*executed, *connection));
    }
    let executed = match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::MasterNameNotFoundBySentinel => {
            Executed::No
        }
        ErrorKind::Io if error.is_connection_refusal() => Executed::No,
        _ => Executed::Unknown,
    };
    (executed, Afterwards::GivenUp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ServerErrorKind;

    fn answer(line: &str) -> RedisError {
        let mut parser = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        match parser.as_mut() {
            Ok(redis::Value::ServerError(error)) => RedisError::from(redis::RedisError::from(error.clone())),
            other => panic!("{other:?}"),
        }
    }

    /// Wrong: "may hold a coupon" where nothing can have been granted, "nothing was issued" where something can, or a connection
    /// that is made anew, again and again, to a server that is heard well.
    #[test]
    fn the_table_of_refusals() {
        use Afterwards::{GivenUp, Stays};
        use Executed::{Fatal, No, Unknown};
        for (line, executed, connection) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", No, Stays),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.", No, Stays),
            ("NOREPLICAS Not enough good replicas to write.", No, Stays),
            ("BUSY Redis is busy running a script. You can only call SCRIPT KILL.", No, Stays),
            ("NOPERM User w has no permissions to run the 'evalsha' command", No, Stays),
            ("NEWER the keys are of version 2", No, Stays),
            ("MOVED 10075 10.200.0.2:7092", No, Stays),
            ("ASK 10075 10.200.0.2:7092", No, Stays),
            ("TRYAGAIN Multiple keys request during rehashing of slot", No, Stays),
            ("CROSSSLOT Keys in request don't hash to the same slot", No, Stays),
            ("READONLY You can't write against a read only replica.", No, GivenUp),
            ("MASTERDOWN Link with MASTER is down.", No, GivenUp),
            ("LOADING Redis is loading the dataset in memory", No, GivenUp),
            ("CLUSTERDOWN The cluster is down", No, GivenUp),
            ("NOAUTH Authentication required.", No, GivenUp),
            ("WRONGPASS invalid username-password pair or user is disabled.", No, GivenUp),
            ("NOSCRIPT No matching script.", No, GivenUp),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Fatal, Stays),
            ("ERR ACL failure in script: User w has no permissions to run the 'zadd' command", Unknown, Stays),
            ("ERR Error running script: Script killed by user with SCRIPT KILL.", Unknown, Stays),
            ("NEWCODE of a later Redis", Unknown, Stays),
            ("no upstream host", Unknown, Stays),
        ] {
            let error = answer(line);
            assert_eq!((error.executed(), error.connection()), (executed, connection), "{line}");
            assert_eq!(error.cause(), line.split(' ').next().unwrap(), "{line}");
        }
    }

    /// Wrong: a server that takes no writes for now is taken for one that lies, and issuing stops until a new epoch.
    #[test]
    fn the_table_of_servers_that_take_no_writes() {
        for (line, expected) in [
            ("READONLY You can't write against a read only replica.", Some(Denial::ReadOnly)),
            ("LOADING Redis is loading the dataset in memory", Some(Denial::Loading)),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                Some(Denial::PrimaryDown),
            ),
            ("NOREPLICAS Not enough good replicas to write.", Some(Denial::TooFewReplicas)),
            ("CLUSTERDOWN The cluster is down", Some(Denial::ClusterDown)),
            ("OOM command not allowed when used memory > 'maxmemory'.", None),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", None),
        ] {
            let error = answer(line);
            assert_eq!((error.denial(), error.executed()), (expected, Executed::No), "{line}");
            assert!(!error.is_authentication(), "{line}");
        }
        assert_eq!(answer("ERR unknown command").denial(), None);
        for (line, right, login) in [
            ("NOPERM User w has no permissions to run the 'info' command", true, false),
            ("ERR The user executing the script can't run this command or subcommand script: b64", true, false),
            ("ERR Unknown Redis command called from script script: b64", true, false),
            ("ERR ACL failure in script: User w has no permissions to run the 'zadd' command", true, false),
            ("ERR unknown command 'INFO', with args beginning with:", true, false),
            ("WRONGPASS invalid username-password pair or user is disabled.", false, true),
            ("NOAUTH Authentication required.", false, true),
            ("OOM command not allowed when used memory > 'maxmemory'.", false, false),
        ] {
            let error = answer(line);
            assert_eq!((error.is_missing_right(), error.is_authentication()), (right, login), "{line}");
        }
        assert_eq!(RedisError::Timeout(5).denial(), None);
    }

    #[test]
    fn the_error_table() {
        let io = |kind| redis::RedisError::from(std::io::Error::from(kind));
        use std::io::ErrorKind as Io;
        for (error, expected) in [
            (io(Io::ConnectionRefused), Executed::No),
            (io(Io::ConnectionReset), Executed::Unknown),
            (io(Io::BrokenPipe), Executed::Unknown),
            (io(Io::TimedOut), Executed::Unknown),
            (io(Io::UnexpectedEof), Executed::Unknown),
            (redis::RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY")), Executed::No),
            (redis::RedisError::from((ErrorKind::Server(ServerErrorKind::BusyLoading), "LOADING")), Executed::No),
            (redis::RedisError::from((ErrorKind::AuthenticationFailed, "no")), Executed::No),
            // `ERR`, and whatever a later Redis or a proxy may say: one bad moment must not end an issuer's work for good.
            (redis::RedisError::from((ErrorKind::Server(ServerErrorKind::ResponseError), "ERR")), Executed::Unknown),
            (redis::RedisError::from((ErrorKind::Extension, "NEWCODE")), Executed::Unknown),
        ] {
            assert_eq!(classify(&error).0, expected, "{error}");
        }
        assert_eq!(RedisError::Timeout(5).executed(), Executed::Unknown, "a timeout is not a no");
        let broken = RedisError::from(io(Io::BrokenPipe));
        assert_eq!(
            (broken.connection(), RedisError::Timeout(5).connection()),
            (Afterwards::GivenUp, Afterwards::GivenUp)
        );
    }
}
