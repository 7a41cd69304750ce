//! All rules are on: nothing breaks, in any state within the bounds.
//!
//! Each test says what may happen, and how many states that makes at least; a search that finds fewer has lost steps.

use crate::budget::{Budget, NOTHING};
use crate::model::{CALM, Config, Model};
use crate::rule::Rule;
use crate::search::{Found, Limits, search};
use crate::{tell, told};

/// The quiet end of one in so many states is looked at.
const QUIET_EVERY: u32 = 16;
/// Searches up to so many states, in none of which anything may be broken.
pub(crate) fn nothing_breaks(what: &str, model: &Model, states: usize) -> Found {
    let found = search(model, Limits { states, quiet_every: QUIET_EVERY, only: None });
    tell(what, &found);
    let broken = found.counterexample.as_ref().map(|(invariant, steps)| format!("{invariant}\n{}", told(steps)));
    assert!(broken.is_none(), "{what}: {}", broken.unwrap_or_default());
    found
}

/// Every state is seen, and there are at least so many.
fn exhaustive(what: &str, config: Config, at_least: usize) {
    exhaustive_in(what, &Model::sound(config), at_least);
}

fn exhaustive_in(what: &str, model: &Model, at_least: usize) {
    let found = nothing_breaks(what, model, usize::MAX);
    assert!(found.exhaustive && found.states >= at_least, "{what}: only {} states", found.states);
    let quiet_ends = found.quiet * 64 >= found.states || model.config.budget.changes > 0;
    assert!(quiet_ends, "{what}: only {} quiet ends", found.quiet);
}

/// Two issuers; the replica is promoted, the old primary still serves; an issuer crashes.
#[test]
fn two_issuers_failover_and_crash() {
    exhaustive(
        "two issuers, crash",
        Config { issuers: 2, old_primary: true, budget: Budget { failovers: 1, crashes: 1, ..NOTHING }, ..CALM },
        1_000_000,
    );
}

/// Two issuers; the same, and one wait ends before the answer.
#[test]
fn two_issuers_failover_and_timeout() {
    exhaustive(
        "two issuers, timeout",
        Config { issuers: 2, old_primary: true, budget: Budget { failovers: 1, timeouts: 1, ..NOTHING }, ..CALM },
        1_000_000,
    );
}

/// Two issuers; Kafka does not answer, and winners go straight to SQL, some of them late.
#[test]
fn two_issuers_that_insert_directly() {
    exhaustive(
        "two issuers, direct inserts",
        Config { issuers: 2, direct: true, budget: Budget { failovers: 1, timeouts: 2, ..NOTHING }, ..CALM },
        1_600_000,
    );
}

/// Two issuers, two operators of which either may be a zombie, the old primary still serves.
#[test]
fn two_issuers_two_operators_and_a_failover() {
    exhaustive(
        "two issuers, two operators, failover",
        Config { issuers: 2, operators: 2, old_primary: true, budget: Budget { failovers: 1, ..NOTHING }, ..CALM },
        170_000,
    );
}

/// The same with FLUSHALL, which keeps Redis' identity.
#[test]
fn two_issuers_two_operators_and_a_flush() {
    exhaustive(
        "two issuers, two operators, flush",
        Config { issuers: 2, operators: 2, budget: Budget { flushes: 1, timeouts: 1, ..NOTHING }, ..CALM },
        240_000,
    );
}

/// One issuer, a zombie operator, three epochs.
#[test]
fn a_zombie_operator_and_three_epochs() {
    exhaustive(
        "zombie, three epochs",
        Config {
            operators: 2,
            epochs: 3,
            old_primary: true,
            budget: Budget { failovers: 1, timeouts: 1, ..NOTHING },
            ..CALM
        },
        2_400_000,
    );
}

/// Two failovers; the operator crashes between any two steps and starts afresh.
#[test]
fn two_failovers_and_an_operator_that_starts_again() {
    exhaustive(
        "two failovers",
        Config { epochs: 3, old_primary: true, restarts: true, budget: Budget { failovers: 2, ..NOTHING }, ..CALM },
        640_000,
    );
}

/// Two FLUSHALLs, records are read again, direct inserts come late.
#[test]
fn two_flushes_redelivery_and_direct_inserts() {
    exhaustive(
        "two flushes, direct inserts",
        Config {
            epochs: 3,
            redelivery: true,
            direct: true,
            budget: Budget { flushes: 2, timeouts: 2, ..NOTHING },
            ..CALM
        },
        1_400_000,
    );
}

/// Two FLUSHALLs, records are lost and read again, the repair loop publishes.
#[test]
fn two_flushes_redelivery_and_the_repair_loop() {
    exhaustive(
        "two flushes, repair loop",
        Config {
            epochs: 3,
            redelivery: true,
            budget: Budget { flushes: 2, republished: 1, timeouts: 1, losses: 1, ..NOTHING },
            ..CALM
        },
        500_000,
    );
}

/// Two coupons for three users: lost ranks are handed out again, everything else at once.
#[test]
fn two_coupons_three_users_and_the_repair_loop() {
    exhaustive(
        "two coupons, three users",
        Config {
            total: 2,
            users: 3,
            direct: true,
            budget: Budget { failovers: 1, republished: 1, timeouts: 1, losses: 1, ..NOTHING },
            ..CALM
        },
        1_500_000,
    );
}

/// Redis is written in chunks; the replica has any part of them; a zombie has an attempt of its own.
#[test]
fn temporary_keys_and_a_zombie() {
    exhaustive(
        "temporary keys",
        Config {
            total: 2,
            chunks: true,
            operators: 2,
            epochs: 3,
            budget: Budget { failovers: 1, timeouts: 1, ..NOTHING },
            ..CALM
        },
        1_600_000,
    );
}

/// Redis that lost nothing is bound to the new epoch; repairs begin also when none is needed.
#[test]
fn rebinding_and_an_old_primary() {
    exhaustive(
        "rebinding",
        Config {
            rebind: true,
            needless: true,
            old_primary: true,
            epochs: 3,
            budget: Budget { failovers: 1, timeouts: 1, ..NOTHING },
            ..CALM
        },
        1_600_000,
    );
}

/// The same with two coupons, of which Redis has lost the later one, or none.
#[test]
fn rebinding_two_winners() {
    exhaustive(
        "rebinding, two winners",
        Config {
            total: 2,
            rebind: true,
            needless: true,
            old_primary: true,
            budget: Budget { failovers: 1, timeouts: 1, ..NOTHING },
            ..CALM
        },
        350_000,
    );
}

/// The same with FLUSHALL between any two steps.
#[test]
fn rebinding_a_flush_and_a_failover() {
    exhaustive(
        "rebinding, flush",
        Config {
            total: 2,
            rebind: true,
            needless: true,
            epochs: 3,
            budget: Budget { flushes: 1, failovers: 1, ..NOTHING },
            ..CALM
        },
        1_500_000,
    );
}

/// The same with a zombie that binds, or writes, too.
#[test]
fn rebinding_and_a_zombie() {
    exhaustive(
        "rebinding, zombie",
        Config {
            rebind: true,
            operators: 2,
            old_primary: true,
            needless: true,
            epochs: 3,
            budget: Budget { failovers: 1, ..NOTHING },
            ..CALM
        },
        290_000,
    );
}

/// Each record may go to either of two partitions, so that those of one rank overtake each other.
#[test]
fn two_partitions() {
    exhaustive(
        "two partitions",
        Config { partitions: 2, log: 3, budget: Budget { failovers: 1, timeouts: 2, crashes: 1, ..NOTHING }, ..CALM },
        1_100_000,
    );
}

/// The same, and the repair loop publishes to the other one.
#[test]
fn two_partitions_and_the_repair_loop() {
    exhaustive(
        "two partitions, repair loop",
        Config { partitions: 2, log: 3, budget: Budget { flushes: 1, timeouts: 1, republished: 1, ..NOTHING }, ..CALM },
        160_000,
    );
}

/// Two coupons for each user: ranks that are lost and given again take the lowest free n.
#[test]
fn two_coupons_for_a_user() {
    exhaustive(
        "two coupons of a user",
        Config { limit: 2, total: 2, budget: Budget { failovers: 1, timeouts: 2, ..NOTHING }, ..CALM },
        900_000,
    );
}

/// SQL refuses rows for good; the dead letter is written some time after that is decided.
#[test]
fn dead_letters_hold_their_ranks() {
    exhaustive(
        "dead letters",
        Config { epochs: 3, budget: Budget { flushes: 2, timeouts: 1, dead_letters: 2, ..NOTHING }, ..CALM },
        520_000,
    );
}

/// The same, and dead letters are put back, stamped by the current Redis.
#[test]
fn dead_letters_are_replayed() {
    exhaustive(
        "dead letters, replay",
        Config {
            epochs: 3,
            budget: Budget { flushes: 1, timeouts: 1, dead_letters: 2, replays: 1, ..NOTHING },
            ..CALM
        },
        62_000,
    );
}

/// The campaign is deleted and applied again; a zombie goes on with a repair; records arrive in the new topic.
#[test]
fn deletion_and_a_new_application() {
    exhaustive(
        "deletion",
        Config { operators: 2, epochs: 3, budget: Budget { flushes: 1, timeouts: 1, deletions: 1, ..NOTHING }, ..CALM },
        300_000,
    );
}

/// A campaign that seems to be over leaves Redis, and goes on; a zombie removes the keys late, or repairs meanwhile.
#[test]
fn keys_are_removed_and_come_back() {
    let config = Config { epochs: 3, ..CALM };
    let budget = Budget { failovers: 1, removals: 1, ..NOTHING };
    exhaustive("removal, zombie", Config { operators: 2, budget, ..config }, 100_000);
    let budget = Budget { failovers: 1, timeouts: 1, removals: 1, ..NOTHING };
    exhaustive("removal, late records", Config { budget, ..config }, 100_000);
    let budget = Budget { flushes: 1, republished: 1, losses: 1, removals: 1, ..NOTHING };
    exhaustive("removal, two winners", Config { total: 2, budget, ..config }, 100_000);
}

/// The quantity is raised and lowered again by operators that know nothing of each other.
#[test]
fn the_quantity_changes_twice() {
    exhaustive(
        "quantity",
        Config { operators: 2, budget: Budget { failovers: 1, changes: 2, ..NOTHING }, ..CALM },
        600_000,
    );
}

/// It is lowered and raised again, and repairs begin in between, needed or not.
#[test]
fn the_quantity_changes_twice_around_an_epoch() {
    exhaustive(
        "quantity, needless repairs",
        Config { operators: 2, total: 2, needless: true, budget: Budget { changes: 2, ..NOTHING }, ..CALM },
        200_000,
    );
}

/// Redis is resumed from an older snapshot; the only issuer has seen what is missing.
#[test]
fn a_resumed_snapshot_and_one_issuer() {
    exhaustive(
        "resumed snapshot",
        Config { epochs: 3, budget: Budget { resumes: 1, timeouts: 1, ..NOTHING }, ..CALM },
        3_500,
    );
}

/// Story 5 needs two mistakes: each of these two defences prevents it alone, where no old primary serves or where one does.
#[test]
fn identity_and_counts_each_prevent_a_half_written_redis() {
    let half = Config { total: 2, chunks: true, budget: Budget { failovers: 2, ..NOTHING }, ..CALM };
    exhaustive_in("without identity", &Model::without(half, &[Rule::IdentityInEveryScript]), 17_000);
    exhaustive_in("without counts", &Model::without(half, &[Rule::CountsBeforeSwap]), 17_000);
}

/// Either of the two rules of deletion is enough.
#[test]
fn a_closing_epoch_alone_prevents_what_a_repair_does_after_the_deletion() {
    let budget = Budget { flushes: 1, timeouts: 1, deletions: 1, ..NOTHING };
    let deletion = Config { operators: 2, epochs: 3, budget, ..CALM };
    exhaustive_in("without a topic's epoch", &Model::without(deletion, &[Rule::EpochOfThisTopic]), 250_000);
    exhaustive_in("without a closing epoch", &Model::without(deletion, &[Rule::CloseAlwaysAllots]), 250_000);
}

/// Somebody writes a barrier of an epoch that was never allotted, Redis loses its history, and a record comes late.
#[test]
fn a_barrier_that_somebody_wrote() {
    exhaustive(
        "forged barrier",
        Config { epochs: 3, budget: Budget { flushes: 1, timeouts: 1, dead_letters: 1, forged: 1, ..NOTHING }, ..CALM },
        58_000,
    );
}

/// The same while the campaign is deleted and applied again, with two operators.
#[test]
fn a_barrier_that_somebody_wrote_and_a_deletion() {
    exhaustive(
        "forged barrier, deletion",
        Config { operators: 2, epochs: 3, budget: Budget { deletions: 1, forged: 1, ..NOTHING }, ..CALM },
        3_800,
    );
}
