//! The repair protocol (docs/ARCHITECTURE.md, section 5), as a model that is searched through.
//!
//! A model of issuers, operators, Redis, Kafka, consumers and SQL takes every step that may come next, in every order, with
//! crashes, stalls, losses and delays between any two steps, and looks at every state that is reached: is every answered user
//! stored, or still found by somebody, with that rank? Nobody displaced? No more rows than coupons? And for one state in 16: if
//! nothing goes wrong any more and enough users come, are exactly N rows stored?
//!
//! - [`state`] one state; [`budget`] how much may go wrong; [`model`] the bounds, and what befalls Redis; [`issuer`], [`operator`], [`fill`], [`table`], [`people`] the
//!   steps, named as in the program and in `coupon_core::failpoints`; [`check`] what must hold; [`search`] the search.
//! - [`rule`] the rules, each of which can be left out.
//! - [`clean`]: all rules are on, nothing breaks. [`stories`]: one is off, and something does.
//!
//! **What is exhaustive.** Each test of [`clean`] looks at *every* state within the
//! bounds that its configuration states: at most two issuers with one request each under way, two operators, two or three users, one
//! or two coupons, two or three epochs, one or two partitions of three or four records, three records and two direct inserts on
//! their way, and so many failovers, crashes and so on. Issuers, operators and users are interchangeable, which is made use of. A
//! state is remembered by 128 bits. The quiet end is looked at for a sample.
//!
//! **What is merged into one step**, because the order cannot matter: identity and committed offsets; rows, dead letters (where none
//! are written) and the rest of the log; a batch is one request; a consumer's transaction, which holds locks from its first read
//! to its commit.
//!
//! **What is not covered**: clocks, windows and suspension; liveness beyond the quiet end; rebalancing but for redelivery; partitions that
//! are added; a Kafka or a database that loses what it has acknowledged; script calls of a dead issuer that
//! arrive late (they leave a grant that nobody heard of); more than two of anything.
//!
//! `PROTOCOL_STATES=<n>` searches each of the larger configurations ([`large`]) to its end or to so many states; about 100 bytes a state.
//! `PROTOCOL_TRACE=1` with `--nocapture` tells each counterexample step by step.

mod budget;
mod check;
mod clean;
mod fill;
mod issuer;
mod large;
mod model;
mod operator;
mod people;
mod rule;
mod search;
mod state;
mod stories;
mod table;

/// Steps, one a line.
fn told(steps: &[model::Step]) -> String {
    steps.iter().map(|step| format!("    {step}\n")).collect()
}

/// What a search found, for whoever reads the output.
fn tell(what: &str, found: &search::Found) {
    let search::Found { states, quiet, depth, exhaustive, counterexample } = found;
    let end = if *exhaustive { "all" } else { "the first" };
    println!("{what}: {end} {states} states, {depth} steps deep, {quiet} quiet ends");
    if let Some((invariant, steps)) = counterexample {
        println!("  {invariant}, after {} steps", steps.len());
        if std::env::var_os("PROTOCOL_TRACE").is_some() {
            print!("{}", told(steps));
        }
    }
}
