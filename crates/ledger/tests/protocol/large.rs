//! Larger configurations, as far as asked.

use crate::budget::{Budget, NOTHING};
use crate::clean::nothing_breaks;
use crate::model::{CALM, Config, Model};

/// A search that nobody asked to end stops here.
const GLIMPSE: usize = 300_000;

fn states_asked_for() -> usize {
    let Ok(text) = std::env::var("PROTOCOL_STATES") else { return GLIMPSE };
    let parsed = text.parse();
    assert!(parsed.is_ok(), "PROTOCOL_STATES is `{text}`, not a number of states");
    parsed.unwrap_or(GLIMPSE)
}

/// Larger configurations. Here only their first states, unless `PROTOCOL_STATES` says how many.
#[test]
fn larger_configurations_as_far_as_asked() {
    let b = NOTHING;
    let old = Config { old_primary: true, ..CALM };
    for (what, config) in [
        (
            "crash and timeout",
            Config { issuers: 2, budget: Budget { failovers: 1, crashes: 1, timeouts: 1, ..b }, ..old },
        ),
        ("three epochs", Config { issuers: 2, operators: 2, epochs: 3, budget: Budget { failovers: 1, ..b }, ..old }),
        (
            "zombie and crash",
            Config { operators: 2, epochs: 3, budget: Budget { failovers: 1, crashes: 1, timeouts: 1, ..b }, ..old },
        ),
        (
            "two failovers and crash",
            Config { epochs: 3, restarts: true, budget: Budget { failovers: 2, crashes: 1, timeouts: 1, ..b }, ..old },
        ),
        (
            "two flushes and losses",
            Config {
                epochs: 3,
                redelivery: true,
                direct: true,
                budget: Budget { flushes: 2, republished: 1, timeouts: 2, losses: 1, ..b },
                ..CALM
            },
        ),
        (
            "rebinding two winners",
            Config {
                total: 2,
                rebind: true,
                needless: true,
                epochs: 3,
                budget: Budget { failovers: 1, timeouts: 1, ..b },
                ..old
            },
        ),
        (
            "deletion, four epochs",
            Config { operators: 2, epochs: 4, budget: Budget { flushes: 1, timeouts: 1, deletions: 1, ..b }, ..CALM },
        ),
        (
            "quantity and two epochs",
            Config { operators: 2, epochs: 3, budget: Budget { failovers: 1, changes: 2, ..b }, ..old },
        ),
    ] {
        let states = states_asked_for();
        let found = nothing_breaks(what, &Model::sound(config), states);
        assert!(found.exhaustive || found.states >= states, "{what}: only {} states", found.states);
    }
}
