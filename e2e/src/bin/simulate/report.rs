//! Tables for people, JSON for machines.

use serde::Serialize;
use stack::table::Table;

use crate::cases::{self, Case};
use crate::run::{self, Kind, Phases, RunOutcome};

/// A case and how each scaler did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Played {
    /// Its short name.
    #[serde(rename = "case")]
    pub(crate) slug: &'static str,
    /// The case.
    #[serde(skip)]
    pub(crate) case: Case,
    /// Ours first.
    pub(crate) outcomes: Vec<RunOutcome>,
}

/// Plays all cases.
pub(crate) fn play_all() -> Vec<Played> {
    let play = |case: Case| {
        let outcomes = Kind::of(&case).iter().map(|kind| run::run(&case, *kind, Phases::default())).collect();
        Played { slug: case.slug, case, outcomes }
    };
    cases::all().into_iter().map(play).collect()
}

/// All that is printed: the sales, and how it went, as two Markdown tables; then what luck does to the flash.
pub(crate) fn text(all: &[Played]) -> String {
    format!("{}\n{}\n{}", sales(all), results(all), luck())
}

/// A rush may come just before a reading, a poll or a sync, or just after.
fn luck() -> String {
    let line = |kind: Kind| {
        let (least, mean, most) = run::spread(&cases::flash(), kind);
        format!("{} {least:.1} to {most:.1} s, {mean:.1} s on average", kind.name())
    };
    let (ours, keda) = (line(Kind::Ours), line(Kind::Keda));
    format!("The flash, drained after, whenever readings, polls and syncs happen: {ours}; {keda}.\n")
}

fn sales(all: &[Played]) -> String {
    let head = ["sale", "winners", "partitions", "a pod stores", "the database takes", "least pods", "plan"];
    let rows = all.iter().map(|Played { case, .. }| {
        let plan = |plan: cases::Plan| format!("{} from {:.0} s before", plan.pods, plan.lead_s);
        vec![
            case.name.to_owned(),
            case.arrivals.to_owned(),
            case.settings.partitions.to_string(),
            format!("{}/s", grouped(case.settings.per_pod)),
            case.settings.database.map_or("all".to_owned(), |most| format!("{}/s", grouped(most))),
            case.least.to_string(),
            case.plan.map_or("none".to_owned(), plan),
        ]
    });
    let mut table = Table::new(&head);
    rows.for_each(|row| table.row(row));
    table.markdown()
}

fn results(all: &[Played]) -> String {
    let head = [
        "sale",
        "scaler",
        "drained after",
        "mean wait",
        "peak lag",
        "most pods",
        "pod-s until drained",
        "pod-s",
        "ups",
        "rebalances",
        "says",
    ];
    let row = |case: &Case, outcome: &RunOutcome| {
        vec![
            case.name.to_owned(),
            outcome.scaler.name().to_owned(),
            outcome.drained_s.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s")),
            format!("{:.1} s", outcome.mean_wait_s),
            grouped(outcome.peak_lag as f64),
            outcome.most_pods.to_string(),
            grouped(outcome.pod_s_drained),
            grouped(outcome.pod_s),
            outcome.ups.to_string(),
            outcome.rebalances.to_string(),
            outcome.says.join(", "),
        ]
    };
    let rows = all.iter().flat_map(|played| played.outcomes.iter().map(|outcome| row(&played.case, outcome)));
    let mut table = Table::new(&head);
    rows.for_each(|row| table.row(row));
    table.markdown()
}

/// A whole number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut found = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            found.push(',');
        }
        found.push(digit);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
