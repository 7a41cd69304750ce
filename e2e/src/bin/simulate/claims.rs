//! What docs/SCALING.md claims.

use std::path::Path;

use crate::cases::{self, Case};
use crate::run::{Kind, Phases, RunOutcome, run, spread};
use crate::{between_marks, plot, report};

fn played(case: &Case, kind: Kind) -> RunOutcome {
    run(case, kind, Phases::default())
}

fn drained(outcome: &RunOutcome) -> f64 {
    outcome.drained_s.unwrap_or_else(|| panic!("never drained: {:?}", outcome.changes))
}

#[test]
fn a_flash_is_stored_three_times_sooner_for_no_more_pods() {
    let (ours, keda) = (played(&cases::flash(), Kind::Ours), played(&cases::flash(), Kind::Keda));
    assert!(drained(&ours) * 3.0 <= drained(&keda), "{} and {}", drained(&ours), drained(&keda));
    assert!(ours.pod_s <= keda.pod_s * 1.3, "{} and {}", ours.pod_s, keda.pod_s);
    assert!(ours.pod_s_drained <= keda.pod_s_drained * 1.3, "{} and {}", ours.pod_s_drained, keda.pod_s_drained);
    assert!(ours.ups <= 2, "{:?}", ours.changes);
}

#[test]
fn luck_with_the_moment_does_not_change_that() {
    let ours = spread(&cases::flash(), Kind::Ours);
    let keda = spread(&cases::flash(), Kind::Keda);
    assert!(ours.1 * 3.0 <= keda.1, "on average: {ours:?} and {keda:?}");
    assert!(ours.2 <= keda.0, "the unluckiest of ours, the luckiest of theirs: {ours:?} and {keda:?}");
}

#[test]
fn a_pod_that_waits_helps_both_and_a_plan_helps_more() {
    let waiting = cases::flash_waiting();
    let (ours, keda) = (drained(&played(&waiting, Kind::Ours)), drained(&played(&waiting, Kind::Keda)));
    assert!(ours * 2.0 <= keda, "{ours} and {keda}");
    let planned = drained(&played(&cases::flash_planned(), Kind::Ours));
    assert!(planned <= ours, "{planned} and {ours}");
}

#[test]
fn no_more_pods_than_help_a_hot_partition() {
    let (ours, keda) = (played(&cases::hot(), Kind::Ours), played(&cases::hot(), Kind::Keda));
    assert!(ours.most_pods <= 2, "one for it, one for the others: {:?}", ours.changes);
    assert_eq!(ours.says, ["partition 0 is hot"]);
    assert!(drained(&ours) <= drained(&keda), "{} and {}", drained(&ours), drained(&keda));
}

#[test]
fn a_slow_database_is_said_and_not_scaled_against() {
    let (ours, keda) = (played(&cases::slow(), Kind::Ours), played(&cases::slow(), Kind::Keda));
    assert!(ours.most_pods < 24, "{:?}", ours.changes);
    assert!(ours.says.iter().any(|said| said == "saturated"), "{:?}", ours.says);
    assert!(drained(&ours) <= drained(&keda), "more pods bring nothing: {} and {}", drained(&ours), drained(&keda));
}

#[test]
fn a_trickle_brings_one_pod_that_stays() {
    let ours = played(&cases::trickle(), Kind::Ours);
    assert_eq!((ours.ups, ours.downs, ours.most_pods), (1, 1, 1), "{:?}", ours.changes);
}

#[test]
fn in_no_sale_do_winners_wait_longer_than_with_keda_as_it_is() {
    for case in cases::all().into_iter().filter(|case| case.plan.is_none()) {
        let (ours, keda) = (played(&case, Kind::Ours), played(&case, Kind::Keda));
        assert!(ours.mean_wait_s <= keda.mean_wait_s, "{}: {} and {}", case.name, ours.mean_wait_s, keda.mean_wait_s);
        assert!(ours.pod_s <= keda.pod_s, "{}: {} and {}", case.name, ours.pod_s, keda.pod_s);
    }
}

#[test]
fn all_is_stored_and_nobody_stays_at_the_end() {
    for played in report::play_all() {
        for outcome in &played.outcomes {
            drained(outcome);
            assert_eq!(outcome.pods_at_end, played.case.least, "{} {:?}", played.slug, outcome.changes);
        }
    }
}

#[test]
fn the_document_is_that_of_this_policy() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap_or_default();
    let all = report::play_all();
    let document = read("SCALING.md");
    let same = between_marks(&document, &report::text(&all)).is_some_and(|new| new == document);
    assert!(same, "the tables in docs/SCALING.md are stale: run `make simulate`");
    for played in &all {
        let name = format!("scaling-{}.svg", played.slug);
        assert!(read(&name) == plot::svg(&played.case, &played.outcomes), "docs/{name} is stale: run `make simulate`");
    }
}
