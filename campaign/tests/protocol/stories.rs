//! The stories: what happens when a rule is left out.

use crate::model::{CALM, Config, NOTHING};
use crate::rule::{Conflict, Invariant, Rule};
use crate::state::Budget;

/// A rule left out, and what then breaks.
pub struct Story {
    /// Its number in the table of docs/PROTOCOL.md, and what happens.
    pub name: &'static str,
    /// The rules that are left out.
    pub rules: &'static [Rule],
    /// What happens to winners that meet another row.
    pub conflict: Conflict,
    /// Where it happens.
    pub config: Config,
    /// What breaks.
    pub breaks: Invariant,
}

const fn story(name: &'static str, rules: &'static [Rule], breaks: Invariant, config: Config) -> Story {
    Story { name, rules, conflict: Conflict::FirstRowStands, config, breaks }
}

/// One rank's record is late, Redis has lost the grant, and another user gets the rank.
const LATE: Config = Config { budget: Budget { flushes: 1, timeouts: 1, ..NOTHING }, ..CALM };
/// The replica lags behind, and is promoted.
const FAILOVER: Config = Config { budget: Budget { failovers: 1, ..NOTHING }, ..CALM };
/// Three epochs, and two records that come late.
const TWICE: Config = Config { epochs: 3, log: 5, budget: Budget { flushes: 2, timeouts: 2, ..NOTHING }, ..CALM };

/// All of them.
pub const STORIES: &[Story] = &[
    story("1: SQL is read before the offsets", &[Rule::ReadingOrder], Invariant::I1, FAILOVER),
    story("1b: SQL is read before the barrier is committed", &[Rule::BarrierBeforeRows], Invariant::I1, LATE),
    story("2: a stale epoch is handed to a new pod", &[Rule::PullEpoch], Invariant::I1, Config { budget: Budget { flushes: 0, crashes: 1, failovers: 1, ..NOTHING }, old_primary: true, ..CALM }),
    story("3: an epoch that was read before the fence is applied after it", &[Rule::Floor], Invariant::I1, Config { old_primary: true, budget: Budget { failovers: 1, crashes: 1, ..NOTHING }, ..CALM }),
    story("4: a fence is confirmed too early", &[Rule::DrainBeforeConfirm], Invariant::I1, FAILOVER),
    story("5: the swap goes to another Redis", &[Rule::IdentityInEveryScript, Rule::CountsBeforeSwap], Invariant::I1, Config { total: 2, chunks: true, budget: Budget { failovers: 2, ..NOTHING }, ..CALM }),
    story("6: a swap lands twice", &[Rule::OneShotAttempt], Invariant::I1, Config { budget: Budget { flushes: 2, ..NOTHING }, ..CALM }),
    Story { conflict: Conflict::NewerByRank, ..story("7: the newer epoch wins a rank, not a user", &[Rule::BarrierRule], Invariant::I1, Config { total: 2, log: 5, budget: Budget { flushes: 1, timeouts: 2, ..NOTHING }, ..CALM }) },
    Story { conflict: Conflict::OnDuplicateKeyUpdate, ..story("8: ON DUPLICATE KEY UPDATE", &[Rule::BarrierRule], Invariant::I1, Config { total: 2, log: 5, budget: Budget { flushes: 1, timeouts: 2, ..NOTHING }, ..CALM }) },
    Story { conflict: Conflict::NewerKeepsEpoch, ..story("9: the same content keeps an old epoch", &[Rule::BarrierRule], Invariant::I1, TWICE) },
    Story { conflict: Conflict::NewerRaisesEpoch, ..story("10: the newer epoch wins, for a moment", &[Rule::BarrierRule], Invariant::I4, TWICE) },
    story("11: the repair loop stamps its own epoch", &[Rule::EpochReadWithGrant], Invariant::I1, Config { operators: 2, old_primary: true, budget: Budget { failovers: 1, timeouts: 1, republished: 1, ..NOTHING }, ..CALM }),
    story("12: a direct insert has no condition", &[Rule::ConditionalInsert], Invariant::I1, Config { direct: true, budget: Budget { flushes: 1, timeouts: 2, ..NOTHING }, ..CALM }),
    story("history-check", &[Rule::HistoryCheck], Invariant::I1, FAILOVER),
    story("barrier-rule", &[Rule::BarrierRule], Invariant::I1, LATE),
    story("fence", &[Rule::Fence], Invariant::I1, FAILOVER),
    story("repair-loop", &[Rule::RepairLoop], Invariant::I3, Config { budget: Budget { losses: 1, timeouts: 1, ..NOTHING }, ..CALM }),
    story("frontier-commit", &[Rule::FrontierCommit], Invariant::I1, CALM),
    story("rebind-unchanged", &[Rule::RebindUnchanged], Invariant::I1, Config { rebind: true, needless: true, budget: Budget { flushes: 1, ..NOTHING }, ..CALM }),
    story("rebind identity", &[Rule::IdentityInEveryScript, Rule::RebindUnchanged], Invariant::I1, Config { rebind: true, needless: true, budget: Budget { failovers: 1, ..NOTHING }, ..CALM }),
    story("dead letters are not read", &[Rule::DeadLettersRead], Invariant::I1, Config { budget: Budget { flushes: 1, dead_letters: 1, ..NOTHING }, ..CALM }),
    story("epoch dies with the campaign", &[Rule::EpochOutlivesDeletion], Invariant::I1, Config { epochs: 2, budget: Budget { timeouts: 1, flushes: 1, deletions: 1, ..NOTHING }, ..CALM }),
];
