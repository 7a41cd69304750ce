//! The scripts of `lua/`, put together and called.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Script};

use super::error::StockError;
use crate::sabotage::{Defence, without};

/// Whether a campaign's keys fit together, for the scripts that ask.
const WHOLE: &str = include_str!("../../../lua/whole.lua");
/// What every script begins with.
const HISTORY: &str = include_str!("../../../lua/history.lua");
/// The same for a test that wants to see what happens without it: whatever Redis this is, it is the right one.
const BLIND: &str = concat!(
    include_str!("../../../lua/history.lua"),
    "history = function() return redis.call('HGET', KEYS[1], 'history') or ARGV[1] or 'any' end\n"
);

/// One script: the `#!lua` line makes Redis 7 refuse to start it when memory is full, instead of failing half way.
pub(super) struct Named {
    pub name: &'static str,
    script: LazyLock<Script>,
}

macro_rules! script {
    ($constant:ident, $file:literal, $flags:literal) => {
        pub(super) static $constant: Named = Named {
            name: $file,
            script: LazyLock::new(|| {
                let history = if without(Defence::HistoryCheck) { BLIND } else { HISTORY };
                let body = include_str!(concat!("../../../lua/", $file));
                Script::new(&[concat!("#!lua", $flags, "\n"), history, WHOLE, body].concat())
            }),
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
    pub async fn call<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &[&str],
        arguments: &[impl redis::ToRedisArgs + Sync],
    ) -> Result<T, StockError> {
        let mut invocation = self.script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for argument in arguments {
            invocation.arg(argument);
        }
        Ok(invocation.invoke_async(connection).await?)
    }

    /// An answer that this version does not know. `answer` is its status or its numbers, never what users sent.
    pub fn unexpected(&self, answer: impl std::fmt::Debug) -> StockError {
        StockError::Answer { script: self.name, answer: format!("{answer:?}").chars().take(200).collect() }
    }
}
