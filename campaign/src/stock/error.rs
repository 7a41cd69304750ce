//! What a failed Redis call means, decided in one table.

use redis::{ErrorKind, RedisError, ServerErrorKind};

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

/// Why a Redis that answers takes no writes for now. Nothing was executed, and a new connection may find a better server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It is a replica (by now).
    ReadOnly,
    /// It reads its data from disk.
    Loading,
    /// It is a replica that has lost its primary.
    PrimaryDown,
    /// It is a primary with fewer replicas than it was told to have.
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
pub enum StockError {
    /// Redis or the way to it failed.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
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
    /// None of the Sentinels names a primary.
    #[error("no Sentinel of `{master}` names a primary: {last}")]
    NoPrimary {
        /// Name of the watched primary.
        master: String,
        /// What the last Sentinel answered.
        last: String,
    },
}

impl StockError {
    /// Whether the call may have changed something.
    pub fn executed(&self) -> Executed {
        match self {
            Self::Timeout(_) => Executed::Unknown,
            Self::Answer { .. } => Executed::Fatal,
            Self::Settings(_) | Self::NoPrimary { .. } => Executed::No,
            Self::Redis(error) => classify(error),
        }
    }

    /// Why the server takes no writes for now, if that is what it said.
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Self::Redis(error) => Denial::of_code(error.code()?),
            _ => None,
        }
    }

    /// Whether a server answered, and said no.
    pub fn is_answer(&self) -> bool {
        self.code().is_some()
    }

    /// Whether Redis said that user or password are wrong.
    pub fn is_authentication(&self) -> bool {
        match self {
            Self::Redis(error) => {
                matches!(error.kind(), ErrorKind::AuthenticationFailed)
                    || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
            }
            _ => false,
        }
    }

    /// Whether the user is known and may not do this, or the server has taken the command away from everybody. Inside a script
    /// Redis says so in words only.
    pub fn is_missing_right(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        if error.code() == Some("NOPERM") {
            return true;
        }
        let words = error.to_string().to_ascii_lowercase();
        let says = |text: &str| words.contains(text);
        error.code().is_some()
            && (says("unknown command")
                || says("unknown redis command")
                || says("can't run this command")
                || says("can't access at least one of the keys"))
    }

    /// The word with which Redis began its refusal, such as `OOM`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Redis(error) => error.code(),
            _ => None,
        }
    }
}

/// The table. Source: error replies of Redis 7 (`src/server.c`, `src/script.c`) and redis-rs' `ErrorKind`.
fn classify(error: &RedisError) -> Executed {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoPerm,
        ) => Executed::No,
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::MasterNameNotFoundBySentinel => {
            Executed::No
        }
        ErrorKind::Io => {
            if error.is_connection_refusal() {
                Executed::No
            } else {
                Executed::Unknown
            }
        }
        _ => by_code(error),
    }
}

fn by_code(error: &RedisError) -> Executed {
    match error.code() {
        Some(code) if Denial::of_code(code).is_some() => Executed::No,
        Some("OOM" | "BUSY" | "NOAUTH" | "WRONGPASS" | "NOPERM" | "MISCONF") => Executed::No,
        Some("WRONGTYPE") => Executed::Fatal,
        // Also what is not listed here, such as `ERR` for a right that is missing inside a script, or a script that was killed: the
        // same batch is sent again until its deadline, and what it left half done closes the campaign (lua/issue.lua).
        _ => Executed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a server that takes no writes for now is taken for one that lies, and issuing stops until a new epoch.
    #[test]
    fn the_table_of_servers_that_take_no_writes() {
        let answer = |line: &str| {
            let mut parser = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            match parser.as_mut() {
                Ok(redis::Value::ServerError(error)) => StockError::from(RedisError::from(error.clone())),
                other => panic!("{other:?}"),
            }
        };
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
            ("ERR unknown command 'INFO', with args beginning with:", true, false),
            ("WRONGPASS invalid username-password pair or user is disabled.", false, true),
            ("NOAUTH Authentication required.", false, true),
            ("OOM command not allowed when used memory > 'maxmemory'.", false, false),
        ] {
            let error = answer(line);
            assert_eq!((error.is_missing_right(), error.is_authentication()), (right, login), "{line}");
        }
        assert_eq!(StockError::Timeout(5).denial(), None);
    }

    #[test]
    fn the_error_table() {
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        use std::io::ErrorKind as Io;
        for (error, expected) in [
            (io(Io::ConnectionRefused), Executed::No),
            (io(Io::ConnectionReset), Executed::Unknown),
            (io(Io::BrokenPipe), Executed::Unknown),
            (io(Io::TimedOut), Executed::Unknown),
            (io(Io::UnexpectedEof), Executed::Unknown),
            (RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY")), Executed::No),
            (RedisError::from((ErrorKind::Server(ServerErrorKind::BusyLoading), "LOADING")), Executed::No),
            (RedisError::from((ErrorKind::AuthenticationFailed, "no")), Executed::No),
            // `ERR`, and whatever a later Redis or a proxy may say: one bad moment must not end an issuer's work for good.
            (RedisError::from((ErrorKind::Server(ServerErrorKind::ResponseError), "ERR")), Executed::Unknown),
            (RedisError::from((ErrorKind::Extension, "NEWCODE")), Executed::Unknown),
        ] {
            assert_eq!(classify(&error), expected, "{error}");
        }
        assert_eq!(StockError::Timeout(5).executed(), Executed::Unknown, "a timeout is not a no");
    }
}
