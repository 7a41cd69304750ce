//! The report: JSON for programs, tables for people. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use stack::table::Table;

use super::figures::{ANSWERED, CaseOutcome};
use super::limits::{Judged, judge};
use super::machine::Machine;
use super::pictures::PICTURES;
use super::sections::{ANSWERS, Columns, LEGEND, SECTIONS};
use super::spread::Spread;

/// A figure, round by round.
#[derive(Debug, Serialize)]
struct Written {
    #[serde(flatten)]
    spread: Spread,
    rounds: Vec<f64>,
}

/// A case.
#[derive(Debug, Serialize)]
struct WrittenCase<'a> {
    name: &'static str,
    counts: bool,
    wrong: Vec<&'a str>,
    figures: BTreeMap<&'static str, Written>,
}

/// What a run has found.
#[derive(Debug, Serialize)]
struct WrittenReport<'a> {
    version: &'static str,
    command: &'a str,
    rounds: u32,
    quick: bool,
    exact: bool,
    machine: &'a Machine,
    limits: Vec<Judged>,
    cases: Vec<WrittenCase<'a>>,
}

/// What a run has found.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// How it was started.
    pub(crate) command: &'a str,
    /// How many rounds there were.
    pub(crate) rounds: u32,
    /// Whether it was short.
    pub(crate) quick: bool,
    /// Where.
    pub(crate) machine: &'a Machine,
    /// Case by case.
    pub(crate) outcomes: &'a [CaseOutcome],
}

impl Report<'_> {
    /// Whether every round of every case counts.
    pub(crate) fn is_exact(&self) -> bool {
        self.outcomes.iter().all(CaseOutcome::counts)
    }

    /// For programs.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let report = WrittenReport {
            version: env!("CARGO_PKG_VERSION"),
            command: self.command,
            rounds: self.rounds,
            quick: self.quick,
            exact: self.is_exact(),
            machine: self.machine,
            limits: judge(self.outcomes, !self.quick),
            cases: self.outcomes.iter().map(case).collect(),
        };
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    /// For a document, below its title.
    pub(crate) fn markdown(&self) -> String {
        let Machine { date, cores, processor, kernel, commit, redis, kafka, mariadb, librdkafka } = self.machine;
        let rounds = match self.rounds {
            1 => "One round.".to_owned(),
            rounds => format!("{rounds} rounds in turn: the median of each figure, with the lowest and the highest."),
        };
        let quick = if self.quick { " A quick run: short, and with fewer coupons." } else { "" };
        let mut text = format!(
            "`{}` on {date}: {cores} cores ({processor}), Linux {kernel}, commit {commit}; Redis {redis}, Kafka {kafka}, \
             MariaDB {mariadb}, librdkafka {librdkafka}. Everything ran on this one machine, the load generator too. {rounds}{quick}\n\n\
             {LEGEND}{}\
             ## Limits\n\nOf figures of the same round.\n\n{}",
            self.command,
            self.verdict(),
            self.limits().markdown(),
        );
        for (title, note, columns, about) in SECTIONS {
            if self.outcomes.iter().any(|outcome| has(outcome, about)) {
                text += &format!("\n## {title}\n\n{note}{}", self.table(columns, about).markdown());
                for picture in
                    PICTURES.iter().filter(|picture| picture.section == title && picture.is_of(self.outcomes))
                {
                    text += &format!("\n![{}]({})\n", picture.title, picture.file);
                }
            }
        }
        text
    }

    /// For a terminal, at the end of a run.
    pub(crate) fn summary(&self) -> String {
        format!("{}\n{}\n{}", self.table(ANSWERS, ANSWERED).text(), self.limits().text(), self.verdict())
    }

    fn limits(&self) -> Table {
        let mut table = Table::new(&["limit", "found", "wanted", "holds"]);
        for Judged { name, value, limit, holds } in judge(self.outcomes, !self.quick) {
            let found = value.map_or_else(|| "-".to_owned(), |value| value.shown());
            let holds = match holds {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            table.row([name.to_owned(), found, limit, holds.to_owned()]);
        }
        table
    }

    /// Of the cases that have the figure `about`.
    fn table(&self, columns: Columns, about: &str) -> Table {
        let used = |figure: &str| self.outcomes.iter().any(|outcome| has(outcome, figure));
        let columns: Vec<_> = columns.iter().filter(|(_, figure)| used(figure)).collect();
        let heads: Vec<&str> = ["case"].into_iter().chain(columns.iter().map(|(head, _)| *head)).collect();
        let mut table = Table::new(&heads);
        for outcome in self.outcomes.iter().filter(|outcome| has(outcome, about)) {
            let cell = |figure| Spread::of(outcome.figures(figure)).map_or_else(|| "-".to_owned(), |of| of.shown());
            let cells = columns.iter().map(|(_, figure)| cell(figure));
            table.row([outcome.name.to_owned()].into_iter().chain(cells));
        }
        table
    }

    /// What does not count; nothing if all does.
    fn verdict(&self) -> String {
        let mut text = String::new();
        for outcome in self.outcomes {
            for (number, round) in (1..).zip(&outcome.rounds) {
                for wrong in &round.wrong {
                    text += &format!("`{}`, round {number}, does not count: {wrong}.\n\n", outcome.name);
                }
            }
        }
        text
    }
}

fn has(outcome: &CaseOutcome, figure: &str) -> bool {
    !outcome.figures(figure).is_empty()
}

fn case(outcome: &CaseOutcome) -> WrittenCase<'_> {
    let names = outcome.rounds.iter().flat_map(|round| round.figures.keys().copied());
    let figures = names.filter_map(|name| {
        let rounds = outcome.figures(name);
        Some((name, Written { spread: Spread::of(rounds.clone())?, rounds }))
    });
    let wrong = outcome.rounds.iter().flat_map(|round| round.wrong.iter().map(String::as_str));
    WrittenCase { name: outcome.name, counts: outcome.counts(), wrong: wrong.collect(), figures: figures.collect() }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Figures, P50, REDIS_CPU, Round};
    use super::*;

    fn machine() -> Machine {
        let text = |text: &str| text.to_owned();
        Machine {
            date: text("2026-12-01 10:00 UTC"),
            cores: 2,
            processor: text("CPU"),
            kernel: text("6"),
            commit: text("abc"),
            redis: text("7"),
            kafka: text("4"),
            mariadb: text("10"),
            librdkafka: text("2"),
        }
    }

    fn outcomes() -> Vec<CaseOutcome> {
        let round = |answered, wrong: &[&str]| Round {
            figures: Figures::from([(ANSWERED, answered), (P50, 1.5), (REDIS_CPU, 7.0)]),
            wrong: wrong.iter().map(|why| (*why).to_owned()).collect(),
        };
        vec![
            CaseOutcome { name: "bare", rounds: vec![round(80_000.0, &[]), round(88_000.0, &[])] },
            CaseOutcome {
                name: "durable-256",
                rounds: vec![round(44_000.0, &[]), round(9e9, &["rank 7 is told twice"])],
            },
        ]
    }

    #[test]
    fn people_find_medians_limits_and_what_does_not_count() {
        let (machine, outcomes) = (machine(), outcomes());
        let report = Report { command: "make bench", rounds: 2, quick: false, machine: &machine, outcomes: &outcomes };
        let text = report.markdown();
        for words in [
            "`make bench` on 2026-12-01 10:00 UTC: 2 cores (CPU), Linux 6, commit abc; Redis 7, Kafka 4,",
            "| bare        | 84,000 (80,000..88,000) |   1.50 |",
            "| durable-256 |                  44,000 |   1.50 |",
            "| durable256_throughput_vs_bare  |  0.55 | at least 0.50 | yes   |",
            "`durable-256`, round 2, does not count: rank 7 is told twice.\n",
            "2 rounds in turn",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        for words in ["quick", "P99.9", "## Rows", "## Memory"] {
            assert!(!text.contains(words), "columns and tables without figures are left out: {words}\n{text}");
        }
        assert!(!report.is_exact());
    }

    #[test]
    fn programs_find_every_round_that_counts() {
        let (machine, outcomes) = (machine(), outcomes());
        let report = Report { command: "x", rounds: 2, quick: true, machine: &machine, outcomes: &outcomes };
        let found: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(
            (&found["exact"], &found["quick"], &found["machine"]["cores"]),
            (&false.into(), &true.into(), &2.into())
        );
        let bare = &found["cases"][0]["figures"][ANSWERED];
        assert_eq!(
            (bare["median"].as_f64(), bare["min"].as_f64(), bare["max"].as_f64()),
            (Some(84e3), Some(80e3), Some(88e3))
        );
        assert_eq!(bare["rounds"].as_array().map(Vec::len), Some(2));
        let ours = &found["cases"][1];
        assert_eq!((&ours["counts"], &ours["wrong"][0]), (&false.into(), &"rank 7 is told twice".into()));
        assert_eq!(ours["figures"][ANSWERED]["rounds"].as_array().map(Vec::len), Some(1));
        let limits = found["limits"].as_array().unwrap();
        assert!(limits.iter().any(|limit| limit["name"] == "durable256_throughput_vs_bare" && limit["holds"] == true));
    }
}
