//! The stories: what happens when a rule is left out. Each is found again by the search, within a second.

use crate::budget::{Budget, NOTHING};
use crate::model::{CALM, Config, Model};
use crate::rule::{Conflict, Invariant, Rule};
use crate::search::{Found, Limits, search};
use crate::{tell, told};

/// A rule left out, and what then breaks.
struct Story {
    /// What happens; a number is that of `docs/PROTOCOL.md`.
    name: &'static str,
    /// The rules that are left out.
    rules: &'static [Rule],
    /// What happens to winners that meet another row.
    conflict: Conflict,
    /// Where it happens.
    config: Config,
    /// What breaks.
    breaks: Invariant,
    /// A step without which it is another story.
    through: &'static str,
    /// It shows only when everything is quiet.
    quiet: bool,
}

const fn story(
    name: &'static str,
    rules: &'static [Rule],
    breaks: Invariant,
    through: &'static str,
    config: Config,
) -> Story {
    Story { name, rules, conflict: Conflict::FirstRowStands, config, breaks, through, quiet: false }
}

/// A story about another policy than *the first row stands*. Those need no barrier to be told.
const fn policy(
    name: &'static str,
    conflict: Conflict,
    breaks: Invariant,
    through: &'static str,
    config: Config,
) -> Story {
    Story { conflict, ..story(name, &[Rule::BarrierRule], breaks, through, config) }
}

/// The replica lags behind, and is promoted.
const FAILOVER: Config = Config { budget: Budget { failovers: 1, ..NOTHING }, ..CALM };
/// The same, and the old primary still serves; an issuer may crash.
const OLD_PRIMARY: Config =
    Config { old_primary: true, budget: Budget { failovers: 1, crashes: 1, ..NOTHING }, ..CALM };
/// A record is late, Redis has lost the grant, and another user gets the rank.
const LATE: Config = Config { budget: Budget { flushes: 1, timeouts: 1, ..NOTHING }, ..CALM };
/// The same with two ranks.
const LATE_RANKS: Config = Config { total: 2, log: 5, budget: Budget { flushes: 1, timeouts: 2, ..NOTHING }, ..CALM };
/// Three epochs, and two records that come late.
const TWICE: Config = Config { epochs: 3, log: 5, budget: Budget { flushes: 2, timeouts: 2, ..NOTHING }, ..CALM };
/// The campaign is deleted and applied again, and somebody else's repair was under way.
const DELETION: Config =
    Config { operators: 2, epochs: 3, budget: Budget { flushes: 1, timeouts: 1, deletions: 1, ..NOTHING }, ..CALM };
/// The quantity is raised, and the change is taken back.
const QUANTITY: Config = Config { epochs: 1, budget: Budget { changes: 2, ..NOTHING }, ..CALM };

const I1: Invariant = Invariant::I1;

/// The twelve of the research, some of them in two forms.
const TWELVE: &[Story] = &[
    story("1: SQL is read before the offsets", &[Rule::ReadingOrder], I1, "reads SQL's rows", FAILOVER),
    story("1b: SQL is read before the barrier", &[Rule::BarrierBeforeRows], I1, "(after-commit)", LATE),
    story("2: a stale epoch is handed out", &[Rule::PullEpoch], I1, "handed to it, late", OLD_PRIMARY),
    story("3: a fence leaves no floor", &[Rule::Floor], I1, "applies the epoch that it read", OLD_PRIMARY),
    story("4: a fence is confirmed too early", &[Rule::DrainBeforeConfirm], I1, "confirms the fence", FAILOVER),
    story(
        "5: the swap goes to another Redis",
        &[Rule::IdentityInEveryScript, Rule::CountsBeforeSwap],
        I1,
        "swaps its keys in",
        Config { total: 2, chunks: true, budget: Budget { failovers: 2, ..NOTHING }, ..CALM },
    ),
    story(
        "6: the swap lands twice",
        &[Rule::OneShotAttempt],
        I1,
        "is executed, late",
        Config { budget: Budget { flushes: 2, ..NOTHING }, ..CALM },
    ),
    policy("7: the newer epoch wins the rank", Conflict::NewerByRank, I1, "conflicts with a row", LATE_RANKS),
    policy("8: ON DUPLICATE KEY UPDATE", Conflict::OnDuplicateKeyUpdate, I1, "conflicts with a row", LATE_RANKS),
    policy("9: the same content keeps an old epoch", Conflict::NewerKeepsEpoch, I1, "FLUSHALL", TWICE),
    policy("10: the newer epoch wins every row", Conflict::NewerRaisesEpoch, Invariant::I4, "FLUSHALL", TWICE),
    story(
        "11: the repair loop stamps its own epoch",
        &[Rule::EpochReadWithGrant],
        I1,
        "publishes {r} with its own epoch",
        Config {
            operators: 2,
            old_primary: true,
            budget: Budget { failovers: 1, timeouts: 1, republished: 1, ..NOTHING },
            ..CALM
        },
    ),
    story(
        "12: a direct insert has no condition",
        &[Rule::ConditionalInsert],
        I1,
        "the direct insert of {r} commits, late",
        Config { direct: true, budget: Budget { flushes: 1, timeouts: 2, ..NOTHING }, ..CALM },
    ),
];

/// The defences of `coupon_core::failpoints` that have no number there, and what lies beyond the research.
const FURTHER: &[Story] = &[
    story("nobody compares histories", &[Rule::HistoryCheck], I1, "failover", FAILOVER),
    story("late records count", &[Rule::BarrierRule], I1, "the row of {r} is there", LATE),
    story("nobody is fenced", &[Rule::Fence], I1, "commits the barrier", FAILOVER),
    Story {
        quiet: true,
        ..story(
            "nothing is published again",
            &[Rule::RepairLoop],
            Invariant::I3,
            "(after-script)",
            Config { budget: Budget { losses: 1, timeouts: 1, ..NOTHING }, ..CALM },
        )
    },
    story("offsets before rows", &[Rule::FrontierCommit], I1, "commits its offset, and crashes", CALM),
    story(
        "what is bound is not what was read",
        &[Rule::RebindUnchanged],
        I1,
        "to its epoch",
        Config { rebind: true, needless: true, budget: Budget { flushes: 1, ..NOTHING }, ..CALM },
    ),
    story(
        "another Redis is bound",
        &[Rule::RebindUnchanged, Rule::IdentityInEveryScript],
        I1,
        "to its epoch",
        Config { rebind: true, needless: true, ..FAILOVER },
    ),
    Story {
        quiet: true,
        ..story(
            "dead letters hold no rank",
            &[Rule::DeadLettersRead],
            I1,
            "writes the dead letter",
            Config { budget: Budget { flushes: 1, dead_letters: 1, ..NOTHING }, ..CALM },
        )
    },
    story("epochs begin again", &[Rule::EpochOutlivesDeletion], I1, "apply the campaign again", DELETION),
    story("a higher quantity reaches Redis first", &[Rule::TotalInOrder], I1, "is above the total", QUANTITY),
    story(
        "a resumed snapshot is not noticed",
        &[Rule::Behind],
        I1,
        "resumed",
        Config { budget: Budget { resumes: 1, ..NOTHING }, ..CALM },
    ),
    story(
        "somebody writes a barrier",
        &[Rule::AllottedBarriers],
        I1,
        "never allotted",
        Config { budget: Budget { forged: 1, ..NOTHING }, ..CALM },
    ),
];

/// Rules that the search taught: each of these was a flaw of the program, or of its remedy.
const TAUGHT: &[Story] = &[
    Story {
        quiet: true,
        ..story(
            "a void record becomes a dead letter, and holds a rank",
            &[Rule::DeadLettersVoid],
            I1,
            "writes the dead letter",
            Config { epochs: 3, budget: Budget { flushes: 2, timeouts: 1, dead_letters: 2, ..NOTHING }, ..CALM },
        )
    },
    story(
        "a repair outlives the deletion, and its epoch has no barrier in the new topic",
        &[Rule::CloseAlwaysAllots, Rule::EpochOfThisTopic],
        I1,
        "finds issuing closed already",
        DELETION,
    ),
    story(
        "a raise that was taken back reaches Redis, late",
        &[Rule::TermsNumbered],
        I1,
        "is above the total",
        Config { operators: 2, ..QUANTITY },
    ),
    story(
        "a reduction that was taken back reaches SQL, after an epoch",
        &[Rule::EpochTakesNumber],
        I1,
        "allots the next epoch",
        Config { operators: 2, total: 2, epochs: 2, budget: Budget { failovers: 1, ..QUANTITY.budget }, ..QUANTITY },
    ),
];

fn told_again(story: &Story) -> Found {
    let model = Model { conflict: story.conflict, ..Model::without(story.config, story.rules) };
    let limits = Limits { states: 4_000_000, quiet_every: story.quiet.into(), only: Some(story.breaks) };
    search(&model, limits)
}

fn each_is_found(stories: &[Story]) {
    for story in stories {
        let found = told_again(story);
        tell(story.name, &found);
        let broken = found.counterexample.as_ref();
        assert!(broken.is_some(), "{}: nothing breaks in {} states", story.name, found.states);
        if let Some((invariant, steps)) = broken {
            assert_eq!(*invariant, story.breaks, "{}", story.name);
            let through = steps.iter().any(|step| step.text.contains(story.through));
            assert!(through, "{}: another story than meant\n{}", story.name, told(steps));
        }
    }
}

#[test]
fn each_of_the_twelve_stories_is_found_when_its_rule_is_left_out() {
    each_is_found(TWELVE);
}

#[test]
fn so_are_those_of_the_other_defences_of_rebinding_dead_letters_deletion_and_quantity() {
    each_is_found(FURTHER);
}

#[test]
fn rules_that_the_search_taught_each_prevent_a_loss() {
    each_is_found(TAUGHT);
}

#[test]
fn every_rule_has_a_story() {
    let told = |rule: &Rule| [TWELVE, FURTHER, TAUGHT].into_iter().flatten().any(|story| story.rules.contains(rule));
    let silent: Vec<String> = Rule::EVERY.iter().filter(|rule| !told(rule)).map(|rule| rule.name()).collect();
    assert!(silent.is_empty(), "no story is told of {silent:?}");
}

/// If a defence had another name here, docs and crash tests would speak of different things.
#[test]
fn the_defences_that_tests_can_leave_out_of_the_program_are_rules_here() {
    use strum::IntoEnumIterator;
    let rules: Vec<String> = Rule::EVERY.iter().map(|rule| rule.name()).collect();
    for defence in coupon_core::failpoints::Safeguard::iter() {
        assert!(rules.contains(&defence.to_string()), "`{defence}` is no rule of the model");
    }
}

/// What no rule prevents: the memory of a whole server is set back, and the first to ask has not seen what is missing.
#[test]
fn known_limit_a_resumed_snapshot_is_noticed_only_by_who_has_seen_more() {
    let two = Config { issuers: 2, budget: Budget { resumes: 1, ..NOTHING }, ..CALM };
    let found = search(&Model::sound(two), Limits { states: 1_000_000, quiet_every: 0, only: None });
    tell("known limit", &found);
    assert!(found.counterexample.is_some_and(|(invariant, _)| invariant == I1));
}
