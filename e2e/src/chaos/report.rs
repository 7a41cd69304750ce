//! What remains of a run: lines, a table, evidence of rounds that failed.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use stack::table::Table;

use super::checker::{Breach, count};
use super::fault::Kind;
use super::ledger::Ledger;
use super::load::Answer;
use super::outcome::RoundOutcome;
use crate::install::{SYSTEM_NAMESPACE, kubectl};

/// Sums of all rounds.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Rounds that came to a verdict.
    pub rounds: usize,
    /// Faults that struck.
    pub faults: usize,
    /// Users who heard a decided answer.
    pub answered: usize,
    /// Answers "issued" that are no row.
    pub lost: usize,
    /// See [`Breach::Oversold`].
    pub oversold: usize,
    /// See [`Breach::Duplicates`].
    pub duplicates: usize,
    /// Rounds with dead letters.
    pub dead_lettered_by_outage: usize,
    /// Rounds that ended with fewer than N rows.
    pub short: usize,
    /// Rounds that came to no verdict, with their seeds: the machine itself failed.
    pub broken: Vec<(u64, String)>,
    /// Seeds of rounds with violations.
    pub failed: Vec<u64>,
    /// For each kind of fault, milliseconds until a new rank was heard; none: nobody got one any more.
    pub again: BTreeMap<Kind, Vec<Option<u64>>>,
}

impl Summary {
    /// Takes in one round.
    pub fn add(&mut self, outcome: &RoundOutcome) {
        let of = |breach| count(&outcome.violations, breach);
        self.rounds += 1;
        self.answered += answered(outcome);
        self.lost += of(Breach::Lost);
        self.oversold += of(Breach::Oversold);
        self.duplicates += of(Breach::Duplicates);
        self.dead_lettered_by_outage += of(Breach::DeadLetteredByOutage);
        self.short += usize::from(of(Breach::Short) > 0);
        for struck in outcome.struck.iter().filter(|struck| struck.at_ms.is_some()) {
            self.faults += 1;
            // With two faults, neither time is that of one.
            if outcome.struck.len() == 1 {
                self.again.entry(struck.fault.kind).or_default().push(struck.again_ms);
            }
        }
        if !outcome.violations.is_empty() {
            self.failed.push(outcome.plan.seed);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.rounds > 0 && self.failed.is_empty() && self.broken.is_empty()
    }

    /// The last line.
    pub fn line(&self) -> String {
        format!(
            "chaos: rounds={} faults={} answered={} lost={} oversold={} duplicates={} dead_lettered_by_outage={} short={} no_verdict={}",
            self.rounds,
            self.faults,
            self.answered,
            self.lost,
            self.oversold,
            self.duplicates,
            self.dead_lettered_by_outage,
            self.short,
            self.broken.len()
        )
    }

    /// Time to issue again, by kind of fault, of rounds with one fault.
    pub fn table(&self) -> String {
        let mut table = Table::new(&["fault", "times", "median", "max", ""]);
        for (kind, times) in &self.again {
            let mut known: Vec<u64> = times.iter().flatten().copied().collect();
            known.sort_unstable();
            let scenario =
                |ms: Option<&u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", *ms as f64 / 1000.0));
            let (median, max) = (scenario(known.get(known.len().saturating_sub(1) / 2)), scenario(known.last()));
            let never = times.len() - known.len();
            let rest = if never > 0 { format!(" {never} after the last coupon") } else { String::new() };
            table.row([kind.to_string(), times.len().to_string(), median, max, rest]);
        }
        table.text()
    }
}

fn answered(outcome: &RoundOutcome) -> usize {
    let decided = outcome.answers.iter().filter(|answer| answer.is_decided());
    decided.map(|answer| answer.user.as_str()).collect::<HashSet<_>>().len()
}

/// One line for one round.
pub fn line(outcome: &RoundOutcome) -> String {
    let seconds = |ms: u64| format!("{:.1}s", ms as f64 / 1000.0);
    let faults: Vec<String> = outcome
        .struck
        .iter()
        .map(|struck| {
            let again = struck.again_ms.map_or_else(|| "-".to_owned(), seconds);
            let note = struck.note.as_ref().map(|note| format!(" [{note}]")).unwrap_or_default();
            format!("{} again={again}{note}", struck.fault)
        })
        .collect();
    let mut text = format!(
        "seed={} {} | coupons={} answered={} rows={} late={} settled={} took={}",
        outcome.plan.seed,
        faults.join(", "),
        outcome.plan.coupons,
        answered(outcome),
        outcome.ledger.rows.len(),
        outcome.late,
        seconds(outcome.settled_ms),
        seconds(outcome.took_ms)
    );
    let undecided = (outcome.plan.users + outcome.late).saturating_sub(answered(outcome));
    if undecided > 0 {
        let _ = write!(text, " undecided={undecided}");
    }
    let shown = 5;
    for violation in outcome.violations.iter().take(shown) {
        let _ = write!(text, "\n    {}: {}", violation.breach, violation.detail);
    }
    if outcome.violations.len() > shown {
        let _ = write!(text, "\n    and {} more", outcome.violations.len() - shown);
    }
    text
}

/// Makes the folders that a run writes into, and sees that it may write there: a run must not end, after hours, for that.
pub fn make_room(evidence: &Path, json: Option<&Path>) -> Result<()> {
    let folder = |path: &Path| {
        std::fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
    };
    folder(evidence)?;
    let Some(file) = json else { return Ok(()) };
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder(parent)?;
    }
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    opened.map(drop).with_context(|| format!("cannot write {}", file.display()))
}

/// Writes everything that is known about a round into `folder`.
pub async fn save_round(outcome: &RoundOutcome, namespace: &str, folder: &Path) -> Result<()> {
    save_evidence(&outcome.campaign, &outcome.answers, &outcome.ledger, namespace, folder).await?;
    write(folder, "round.json", &serde_json::to_string_pretty(outcome)?)
}

/// Writes everything that is known about a sale into `folder`.
pub async fn save_evidence(
    campaign: &str,
    answers: &[Answer],
    ledger: &Ledger,
    namespace: &str,
    folder: &Path,
) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    write(folder, "ledger.json", &serde_json::to_string(ledger)?)?;
    let lines: Vec<String> = answers.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    write(folder, "answers.jsonl", &lines.join("\n"))?;
    let selector = format!("coupon-operator.io/campaign={campaign}");
    let ours = ["-n", namespace, "-l", &selector];
    let all = ["logs", "--tail=-1", "--prefix", "--max-log-requests=20"];
    let commands: [(&str, Vec<&str>); 6] = [
        ("pods.log", [&all[..], &ours[..]].concat()),
        ("pods-before.log", [&all[..], &ours[..], &["--previous"]].concat()),
        ("pods.yaml", [&["get", "pods", "-o", "yaml"], &ours[..]].concat()),
        ("campaign.yaml", vec!["get", "couponcampaign", campaign, "-n", namespace, "-o", "yaml"]),
        ("events.txt", vec!["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]),
        ("operator.log", vec!["logs", "-n", SYSTEM_NAMESPACE, "deployment/coupon-operator", "--since=10m"]),
    ];
    for (file, command) in commands {
        // What cannot be had is missing in the evidence, and says so.
        write(folder, file, &kubectl(&command).await.unwrap_or_else(|error| format!("{error:#}")))?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a run of hours ends after its first round, as a folder is missing.
    #[test]
    fn what_a_run_writes_into_is_there_before_it_begins() {
        let here = std::env::temp_dir().join(format!("coupon-chaos-{:016x}", rand::random::<u64>()));
        let (evidence, json) = (here.join("evidence/of/rounds"), here.join("figures/of/chaos.json"));
        make_room(&evidence, Some(&json)).unwrap();
        assert!(evidence.is_dir() && json.is_file());
        std::fs::write(&json, "{}").unwrap();
        make_room(&evidence, Some(&json)).unwrap();
        assert_eq!(std::fs::read_to_string(&json).unwrap(), "{}", "what is there stays until there is something new");
        // A file stands where the folder should be.
        let refused = make_room(&evidence, Some(&json.join("chaos.json"))).unwrap_err();
        assert!(format!("{refused:#}").contains("chaos.json"), "{refused:#}");
        std::fs::remove_dir_all(here).unwrap();
    }
}
