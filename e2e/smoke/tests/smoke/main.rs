//! What the hot paths cost, in counts that do not depend on how busy the machine is: allocations, statements, commands, bytes. None may be
//! above what `e2e/smoke/bounds.json` records. `make bench-smoke` runs this alone, and shows the table.
//!
//! Times are `make bench`'s business. A test of its own for each path would count along with the others: they are one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod records;
mod rows;
mod servers;
mod wishes;

use servers::Servers;
use smoke::bounds::{Measured, judge, recorded};

/// Wrong: the next change makes each answer or each row dearer, and nobody sees it until somebody measures.
#[test]
fn nothing_costs_more_than_is_recorded() {
    let mut all: Vec<Measured> = records::measure();
    let servers = Servers::start();
    // Two threads: where there are more, batches are gathered otherwise.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        all.extend(rows::measure(&servers).await);
        all.extend(wishes::measure(&servers).await);
        all.extend(answers::measure(&servers).await);
    });
    let judged = judge(&all, &recorded());
    println!("{}", judged.table);
    assert!(judged.faults.is_empty(), "{}\n{}", judged.table, judged.faults.join("\n"));
}
