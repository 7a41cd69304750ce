//! Tables for people, JSON for machines.

use serde::Serialize;

use crate::cases::{self, Case};
use crate::run::{self, Kind, Outcome, Phases};

/// A case and how each scaler did.
#[derive(Debug, Clone, Serialize)]
pub struct Played {
    /// Its short name.
    #[serde(rename = "case")]
    pub slug: &'static str,
    /// The case.
    #[serde(skip)]
    pub case: Case,
    /// Ours first.
    pub outcomes: Vec<Outcome>,
}

/// Plays all cases.
pub fn play_all() -> Vec<Played> {
    let play = |case: Case| {
        let outcomes = Kind::of(&case).iter().map(|kind| run::run(&case, *kind, Phases::default())).collect();
        Played { slug: case.slug, case, outcomes }
    };
    cases::all().into_iter().map(play).collect()
}

/// All that is printed: the sales, and how it went, as two Markdown tables; then what luck does to the flash.
pub fn text(all: &[Played]) -> String {
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
    table(&head, &rows.collect::<Vec<_>>())
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
    let row = |case: &Case, outcome: &Outcome| {
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
    table(&head, &rows.collect::<Vec<_>>())
}

/// A Markdown table with columns as wide as their widest cell; numbers stand to the right.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).fold(head[column].len(), usize::max);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let number = |column: usize| rows.iter().all(|row| row[column].starts_with(|first: char| first.is_ascii_digit()));
    let right: Vec<bool> = (0..head.len()).map(number).collect();
    let line = |cells: &[&str]| {
        let cells = cells.iter().enumerate().map(|(column, cell)| match right[column] {
            true => format!(" {cell:>width$} |", width = widths[column]),
            false => format!(" {cell:<width$} |", width = widths[column]),
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = (0..head.len()).map(|column| match right[column] {
        true => format!("{}:|", "-".repeat(widths[column] + 1)),
        false => format!("{}|", "-".repeat(widths[column] + 2)),
    });
    let rule = format!("|{}\n", rule.collect::<String>());
    let body = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    line(head) + &rule + &body.collect::<String>()
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
    fn numbers_have_commas_and_stand_to_the_right() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let rows = [vec!["one".to_owned(), "7".to_owned()], vec!["two".to_owned(), "1,000".to_owned()]];
        assert_eq!(
            table(&["what", "many"], &rows),
            "| what |  many |\n|------|------:|\n| one  |     7 |\n| two  | 1,000 |\n"
        );
    }
}
