//! Faults that tests ask for: a process that dies at a named point, or that works without one of its defences.
//!
//! Compiled in only with `debug_assertions`, so never into a release build; there, all functions are constants. A build that
//! has them works only inside of a local stack ([`only_in_a_stack`]), whose name is in `COUPON_STACK`.
//!
//! - `COUPON_CRASH_AT=<point>` or `<point>:<k>`: the process ends itself, as by SIGKILL, when it passes the point for the
//!   k-th time (the first by default).
//! - `COUPON_WITHOUT=<defence>[,<defence>..]`: these defences are left out. A test then shows that something is lost.

use strum::{Display, EnumIter, EnumString};

/// This build obeys faults that its environment asks for, and there is no local stack around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is a test build: it works only inside of a local stack (`stack exec`, or as an image in its cluster), as it carries faults \
     that tests ask for; anywhere else, run one that was built with `cargo build --release`"
)]
pub struct TestBuild;

/// What a program asks before it touches anything. A build for tests works nowhere but in a local stack, whatever image it is packed
/// in: the stack itself says so to what runs in it, to containers through its container runtime.
///
/// # Errors
/// This is a build for tests, and runs outside of a stack. Never in a release build.
pub fn only_in_a_stack() -> Result<(), TestBuild> {
    #[cfg(debug_assertions)]
    return armed::only_in(std::env::var_os("COUPON_STACK").as_deref());
    #[cfg(not(debug_assertions))]
    Ok(())
}

/// A place in the middle of a protocol where a process may die. The names are those of the model of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum CrashPoint {
    /// Issuer: Redis has given ranks, nothing is produced yet.
    AfterScript,
    /// Issuer: winners are handed to Kafka's client, none is acknowledged.
    AfterProduce,
    /// Issuer: Kafka has acknowledged, the user has heard nothing.
    BeforeAnswer,
    /// Issuer: Kafka is away, the direct insert is committed, the user has heard nothing.
    AfterDirectInsert,
    /// Consumer, and issuer and operator where they store winners: rows are inserted, the transaction is open.
    BeforeCommit,
    /// Consumer: rows are committed, offsets are not.
    AfterCommit,
    /// Consumer: a dead letter is acknowledged, its offset is not committed.
    AfterDeadLetter,
    /// Operator: the next epoch is in SQL, nobody is fenced.
    AfterAllot,
    /// Operator: every issuer is fenced, nothing is read.
    AfterFence,
    /// Operator: the barrier is in SQL, the ledger is not read.
    AfterBarrier,
    /// Operator: the ledger is read, nothing of it is bound or swapped in.
    AfterRead,
    /// Operator: temporary keys are half written.
    AfterChunk,
    /// Operator: temporary keys are written, not swapped in.
    BeforeSwap,
    /// Operator: the keys are swapped in (or bound anew), the epoch is not open.
    AfterSwap,
    /// Operator: some of the lost winners are published again.
    AfterRepublish,
}

/// A defence that can be left out, to show what it is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum Safeguard {
    /// Records of an epoch that ended before they arrived are void.
    BarrierRule,
    /// Scripts refuse a Redis whose history is not the one that the keys were written in.
    HistoryCheck,
    /// Issuers are fenced, and waited for, before the ledger is read.
    Fence,
    /// A fence sets a floor below which an issuer serves nothing.
    Floor,
    /// A direct insert commits only while its epoch is SQL's.
    ConditionalInsert,
    /// What only Redis holds is published again.
    RepairLoop,
    /// Offsets are committed after the rows, as a contiguous frontier.
    FrontierCommit,
}

#[cfg(debug_assertions)]
mod armed {
    use std::ffi::OsStr;
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{CrashPoint, Safeguard, TestBuild};

    pub(super) fn only_in(stack: Option<&OsStr>) -> Result<(), TestBuild> {
        if stack.is_some_and(|name| !name.is_empty()) { Ok(()) } else { Err(TestBuild) }
    }

    struct Armed {
        crash: Option<(CrashPoint, u32)>,
        without: Vec<Safeguard>,
        passed: AtomicU32,
    }

    pub(super) fn parse_crash(text: &str) -> Result<(CrashPoint, u32), String> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let point = CrashPoint::from_str(name).map_err(|_| format!("`{name}` is no crash point"))?;
        let count = count.parse().ok().filter(|k| *k > 0).ok_or_else(|| format!("`{count}` is no count from 1"))?;
        Ok((point, count))
    }

    pub(super) fn parse_without(text: &str) -> Result<Vec<Safeguard>, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| Safeguard::from_str(name).map_err(|_| format!("`{name}` is no defence"))).collect()
    }

    fn armed() -> &'static Armed {
        static ARMED: OnceLock<Armed> = OnceLock::new();
        // With a misspelt fault a test would pass for the wrong reason, so the process ends.
        fn or_abort<T>(variable: &str, parsed: Result<T, String>) -> T {
            parsed.unwrap_or_else(|why| {
                eprintln!("{variable}: {why}");
                std::process::abort()
            })
        }
        ARMED.get_or_init(|| {
            let setting = |variable: &str| std::env::var(variable).ok().filter(|text| !text.is_empty());
            let crash = setting("COUPON_CRASH_AT").map(|text| or_abort("COUPON_CRASH_AT", parse_crash(&text)));
            let without = setting("COUPON_WITHOUT").map(|text| or_abort("COUPON_WITHOUT", parse_without(&text)));
            Armed { crash, without: without.unwrap_or_default(), passed: AtomicU32::new(0) }
        })
    }

    pub(super) fn crash_point(point: CrashPoint) {
        let armed = armed();
        if let Some((wanted, count)) = armed.crash
            && wanted == point
            && armed.passed.fetch_add(1, Ordering::Relaxed) + 1 == count
        {
            eprintln!("crash point {point}: ending as by SIGKILL");
            std::process::abort();
        }
    }

    pub(super) fn is_disabled(defence: Safeguard) -> bool {
        armed().without.contains(&defence)
    }
}

/// Ends the process here if a test asked for it.
#[inline]
pub fn crash_point(point: CrashPoint) {
    #[cfg(debug_assertions)]
    armed::crash_point(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// Whether a test asked to leave this defence out. Always false in a release build.
#[inline]
pub fn is_disabled(defence: Safeguard) -> bool {
    #[cfg(debug_assertions)]
    return armed::is_disabled(defence);
    #[cfg(not(debug_assertions))]
    {
        let _ = defence;
        false
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn names_are_read_back_and_misspelt_ones_are_refused() {
        for point in CrashPoint::iter() {
            assert_eq!(armed::parse_crash(&point.to_string()), Ok((point, 1)));
            assert_eq!(armed::parse_crash(&format!("{point}:7")), Ok((point, 7)));
        }
        for defence in Safeguard::iter() {
            assert_eq!(armed::parse_without(&format!("{defence}, floor")), Ok(vec![defence, Safeguard::Floor]));
        }
        assert!(armed::parse_crash("after-lunch").is_err());
        assert!(armed::parse_crash("after-script:0").is_err());
        assert!(armed::parse_without("seat-belt").is_err());
    }

    #[test]
    fn only_who_names_a_stack_is_in_one() {
        for (stack, expected) in [(None, Err(TestBuild)), (Some(""), Err(TestBuild)), (Some("demo"), Ok(()))] {
            assert_eq!(armed::only_in(stack.map(AsRef::as_ref)), expected, "{stack:?}");
        }
    }

    #[test]
    fn nothing_is_armed_by_default() {
        crash_point(CrashPoint::AfterScript);
        assert!(Safeguard::iter().all(|defence| !is_disabled(defence)));
    }
}
