//! The scripts of `lua/`, put together and called.

use std::sync::LazyLock;

use coupon_core::failpoints::{Safeguard, is_disabled};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, Script, ServerErrorKind};

use super::error::{RedisError, forbids_a_command};

/// Whether a campaign's keys fit together, for the scripts that ask.
const WHOLE: &str = include_str!("../../../../lua/whole.lua");
/// What every script begins with.
const HISTORY: &str = include_str!("../../../../lua/history.lua");
/// The same for a test that wants to see what happens without it: whatever Redis this is, it is the right one.
const BLIND: &str = concat!(
    include_str!("../../../../lua/history.lua"),
    "history = function() return redis.call('HGET', KEYS[1], 'history') or ARGV[1] or 'any' end\n"
);

/// One script: the `#!lua` line makes Redis 7 refuse to start it when memory is full, instead of failing half way.
pub(super) struct Named {
    pub name: &'static str,
    text: LazyLock<String>,
    script: LazyLock<Script>,
}

macro_rules! script {
    ($constant:ident, $file:literal, $flags:literal) => {
        pub(super) static $constant: Named = Named {
            name: $file,
            text: LazyLock::new(|| {
                let history = if is_disabled(Safeguard::HistoryCheck) { BLIND } else { HISTORY };
                let body = include_str!(concat!("../../../../lua/", $file));
                [concat!("#!lua", $flags, "\n"), history, WHOLE, body].concat()
            }),
            script: LazyLock::new(|| Script::new(&$constant.text)),
        };
    };
}

script!(ISSUE, "issue.lua", "");
script!(OBSERVE, "observe.lua", " flags=no-writes");
script!(CONFIGURE, "configure.lua", "");
script!(SUSPEND, "suspend.lua", "");
script!(CORRECT_TIME, "correct_time.lua", "");
script!(GRANTS, "grants.lua", " flags=no-writes");
script!(CLEAR_UNREADABLE, "clear_unreadable.lua", "");
script!(REBUILD_BEGIN, "rebuild_begin.lua", "");
script!(REBUILD_WRITE, "rebuild_write.lua", "");
script!(REBUILD_SWAP, "rebuild_swap.lua", "");
script!(REBIND, "rebind.lua", "");
script!(REMOVE, "remove.lua", "");
script!(FORGET, "forget.lua", "");
script!(PROBE, "probe.lua", "");

impl Named {
    /// Calls the script by its hash; it is loaded first where Redis does not know it (which means it was not executed).
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &[&str],
        arguments: &[impl redis::ToRedisArgs + Sync],
    ) -> Result<T, RedisError> {
        // Written once, straight into the buffer that is sent: the library's own invocation copies each argument first.
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(keys.len()).arg(keys).arg(arguments);
        let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
        let answer = match call.query_async(connection).await {
            Err(error) if error.kind() == unknown => match self.script.load_async(connection).await {
                Ok(_) => call.query_async(connection).await,
                Err(error) => Err(error),
            },
            answer => answer,
        };
        answer.map_err(|error| self.explained(error))
    }

    /// Redis says of a right that is missing within a script where it was met, and not always what it was.
    fn explained(&self, error: redis::RedisError) -> RedisError {
        let said = error.to_string();
        let line =
            said.rsplit_once("@user_script:").and_then(|(_, line)| line.split(|c: char| !c.is_ascii_digit()).next());
        let commands = match line.and_then(|line| line.parse().ok()) {
            Some(line) if forbids_a_command(&said) => commands_at(&self.text, line).join(" or "),
            _ => String::new(),
        };
        match commands.is_empty() {
            true => RedisError::Redis(error),
            false => RedisError::Right { script: self.name, commands, error },
        }
    }

    /// An answer that this version does not know. `answer` is its status or its numbers, never what users sent.
    pub(super) fn unexpected(&self, answer: impl std::fmt::Debug) -> RedisError {
        RedisError::Answer { script: self.name, answer: format!("{answer:?}").chars().take(200).collect() }
    }
}

/// What is called in this line of a script, counted from 1. (Redis counts the `#!lua` line, too.)
fn commands_at(text: &str, line: usize) -> Vec<&str> {
    let found = line.checked_sub(1).and_then(|before| text.lines().nth(before)).unwrap_or_default();
    found.split("redis.call('").skip(1).filter_map(|call| call.split('\'').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::{Executed, says_missing_right};

    fn refusal(words: &str) -> redis::RedisError {
        match redis::parse_redis_value(format!("-{words}\r\n").as_bytes()) {
            Ok(redis::Value::ServerError(error)) => error.into(),
            other => panic!("{other:?}"),
        }
    }

    /// Wrong: people hear that "this command" is missing in a script that is a hash and a number.
    #[test]
    fn a_right_that_is_missing_within_a_script_is_named() {
        let line_of = |command: &str| {
            let call = format!("redis.call('{command}'");
            ISSUE.text.lines().position(|line| line.contains(&call)).unwrap() + 1
        };
        for command in ["ZADD", "TIME", "LTRIM", "ZSCORE"] {
            let at = line_of(command);
            let said = format!(
                "ERR The user executing the script can't run this command or subcommand script: 834e, on @user_script:{at}."
            );
            let error = ISSUE.explained(refusal(&said));
            assert_eq!(error.to_string(), format!("Redis does not let the user run {command}, which issue.lua needs"));
            assert!(
                error.is_missing_right() && error.is_answer() && says_missing_right(&error.to_string()),
                "{command}"
            );
            assert_eq!((error.executed(), error.cause()), (Executed::Unknown, "ERR".to_owned()), "{command}");
        }
        let two =
            ISSUE.explained(refusal(&format!("ERR can't run this command, on @user_script:{}.", line_of("ZCARD"))));
        assert!(two.to_string().contains("run ZCARD or HLEN, which"), "{two}");
        for words in [
            "ERR The user executing the script can't run this command or subcommand script: 834e, on @user_script:9999.",
            "ERR The user executing the script can't run this command or subcommand script: 834e",
            "ERR something else script: 834e, on @user_script:19.",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ] {
            assert!(matches!(ISSUE.explained(refusal(words)), RedisError::Redis(_)), "{words}");
        }
    }
}
