//! Writes results: a table and a summary for people, JSON for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use serde_json::{Value, json};

use super::args::Replay;
use super::dead_letters::DeadLetter;
use super::decide::Verdict;
use super::outcome::ReplayOutcome;
use super::trim::{Kept, Trimmed};
use crate::rights::{self, Missing};

/// Longest cell but the last of a row, in characters.
const MAX_CELL: usize = 40;

/// Writes letters.
pub(super) fn list(
    campaign: &CampaignId,
    letters: &[&DeadLetter],
    left: u64,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    if json {
        let letters: Vec<Value> = letters.iter().map(|letter| as_json(letter)).collect();
        return writeln!(out, "{}", json!({"campaign": campaign.to_string(), "letters": letters, "notRead": left}));
    }
    let rows = letters.iter().map(|letter| {
        let [partition, offset, rank, user, reason] = cells(letter);
        let written = letter.written_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let written = written.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        vec![partition, offset, rank, user, reason, letter.retries.to_string(), written, letter.explanation.clone()]
    });
    let heads = ["PARTITION", "OFFSET", "RANK", "USER", "REASON", "RETRIES", "WRITTEN", "EXPLANATION"];
    table(&heads, rows.collect(), out)?;
    writeln!(out, "{} dead letters{}", letters.len(), not_read(left))
}

/// How a replay ended, beside what became of each letter.
pub(super) struct End {
    /// Letters that were not read.
    pub left: u64,
    /// What became of letters that could go.
    pub trimmed: Trimmed,
    /// Letters that could not go, each with why what they lie behind is not dealt with.
    pub kept: Vec<(Kept, String)>,
    /// Letters to be discarded that are not there, or were not read.
    pub unknown: Vec<Position>,
}

/// Writes what became of letters.
pub(super) fn replay(
    campaign: &CampaignId,
    results: &[(&DeadLetter, &ReplayOutcome)],
    end: &End,
    wanted: &Replay,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, outcome) in results {
        *counts.entry(outcome.name()).or_default() += 1;
    }
    if wanted.place.json {
        let letters = results.iter().map(|(letter, outcome)| {
            let mut all = as_json(letter);
            all["result"] = json!({"name": outcome.name(), "text": outcome.text(), "ok": outcome.is_well()});
            all
        });
        let summary = json!({
            "campaign": campaign.to_string(), "dryRun": wanted.dry_run, "letters": letters.collect::<Vec<_>>(),
            "counts": counts, "trimmed": end.trimmed.removed(), "trimFailed": failure(end), "notRead": end.left,
            "notTrimmed": end.kept.iter().map(|(kept, why)| kept_as_json(*kept, why)).collect::<Vec<_>>(),
            "notFound": end.unknown.iter().map(|at| json!({"partition": at.partition, "offset": at.offset})).collect::<Vec<_>>(),
        });
        return writeln!(out, "{summary}");
    }
    let rows = results.iter().map(|(letter, outcome)| {
        let mut row = cells(letter).to_vec();
        row.extend([outcome.name().to_owned(), outcome.text()]);
        row
    });
    table(&["PARTITION", "OFFSET", "RANK", "USER", "REASON", "RESULT", ""], rows.collect(), out)?;
    writeln!(out, "{}", summary(results, &counts, end, wanted.dry_run) + &not_read(end.left))?;
    for (kept, why) in &end.kept {
        writeln!(out, "{}", kept_text(*kept, why))?;
    }
    match &end.trimmed {
        Trimmed::Failed { text, .. } => writeln!(out, "{text}"),
        Trimmed::NotAsked | Trimmed::Removed(_) => Ok(()),
    }
}

fn kept_as_json(kept: Kept, why: &str) -> Value {
    let Position { partition, offset } = kept.behind;
    json!({"partition": partition, "letters": kept.count, "behindOffset": offset, "reason": why, "text": kept_text(kept, why)})
}

/// Why letters that are dealt with are still there.
fn kept_text(Kept { count, behind }: Kept, why: &str) -> String {
    let Position { partition, offset } = behind;
    format!(
        "partition {partition}: {count} letters that are rows or discarded stay in the topic, as offset {offset} lies before them and is \
         neither ({why}), and Kafka removes from the head only; what is discarded counts for nothing all the same. Deal with offset {offset}, \
         or discard it, and say --trim again"
    )
}

/// Writes which rights are missing.
pub(super) fn refuse(
    campaign: &CampaignId,
    missing: &BTreeSet<Missing>,
    wanted: &Replay,
    out: &mut impl Write,
) -> io::Result<()> {
    if !wanted.place.json {
        writeln!(out, "{}", rights::refusal(missing))?;
        return match wanted.trim && !wanted.discard.is_empty() {
            true => writeln!(
                out,
                "without --trim a discarded letter counts for nothing as well, and no right to delete is needed"
            ),
            false => Ok(()),
        };
    }
    let all: Vec<Value> = missing.iter().map(Missing::as_json).collect();
    let campaign = campaign.to_string();
    writeln!(out, "{}", json!({"campaign": campaign, "dryRun": wanted.dry_run, "letters": [], "missingRights": all}))
}

fn failure(end: &End) -> Value {
    match &end.trimmed {
        Trimmed::Failed { reason, text, .. } => json!({"reason": reason, "text": text}),
        Trimmed::NotAsked | Trimmed::Removed(_) => Value::Null,
    }
}

fn summary(
    results: &[(&DeadLetter, &ReplayOutcome)],
    counts: &BTreeMap<&str, u64>,
    end: &End,
    dry_run: bool,
) -> String {
    let count = |holds: fn(&ReplayOutcome) -> bool| results.iter().filter(|(_, outcome)| holds(outcome)).count();
    let replayable = count(|outcome| matches!(outcome, ReplayOutcome::Decided(Verdict::Replay { .. })));
    let published = count(|outcome| {
        use ReplayOutcome as O;
        !matches!(outcome, O::Decided(_) | O::Discarded(_) | O::NotDiscarded(_) | O::NotPublished(_))
    });
    let stored = count(|outcome| *outcome == ReplayOutcome::Stored);
    let already = count(|outcome| *outcome == ReplayOutcome::Decided(Verdict::AlreadyStored));
    let bad: Vec<String> = counts
        .iter()
        .filter(|(name, _)| results.iter().any(|(_, outcome)| outcome.name() == **name && !outcome.is_well()))
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let done = match dry_run {
        true => format!("{replayable} would be replayed"),
        false => format!("{published} replayed, {stored} of them stored"),
    };
    let bad = if bad.is_empty() { String::new() } else { format!("; {}", bad.join(", ")) };
    let discarded = match (count(|outcome| matches!(outcome, ReplayOutcome::Discarded(_))), dry_run) {
        (0, _) => String::new(),
        (discarded, true) => format!(", {discarded} would be discarded"),
        (discarded, false) => format!(", {discarded} discarded"),
    };
    let staying: u64 = end.kept.iter().map(|(kept, _)| kept.count).sum();
    let stay = if staying == 0 { String::new() } else { format!(", {staying} not") };
    let trimmed =
        end.trimmed.removed().map(|count| format!("; {count} removed from the topic{stay}")).unwrap_or_default();
    let unknown: Vec<String> = end.unknown.iter().map(|at| format!("{}:{}", at.partition, at.offset)).collect();
    let unknown = if unknown.is_empty() { String::new() } else { format!("; not found: {}", unknown.join(", ")) };
    let chosen = results.len();
    format!("{chosen} dead letters chosen: {done}, {already} stored already{discarded}{bad}{trimmed}{unknown}")
}

fn not_read(left: u64) -> String {
    match left {
        0 => String::new(),
        _ => format!(
            "; {left} younger ones were not looked at: deal with these, remove them with --trim, and run it again"
        ),
    }
}

fn cells(letter: &DeadLetter) -> [String; 5] {
    let event = letter.event.as_ref();
    [
        letter.position.partition.to_string(),
        letter.position.offset.to_string(),
        event.map_or_else(|_| "-".to_owned(), |event| event.rank.to_string()),
        event.map_or_else(|_| "-".to_owned(), |event| event.user_id.to_string()),
        letter.reason.clone(),
    ]
}

fn as_json(letter: &DeadLetter) -> Value {
    let mut all = json!({
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "reason": letter.reason,
        "explanation": letter.explanation,
        "retries": letter.retries,
        "writtenMs": letter.written_ms,
        "original": letter.origin.map(|at| json!({"partition": at.partition, "offset": at.offset})),
    });
    if let Ok(event) = &letter.event {
        all["rank"] = json!(event.rank);
        all["userId"] = json!(event.user_id.as_str());
        all["n"] = json!(event.n);
        all["epoch"] = json!(event.epoch);
    }
    all
}

fn table(heads: &[&str], rows: Vec<Vec<String>>, out: &mut impl Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let last = heads.len() - 1;
    let cut = |(column, cell): (usize, &String)| match cell.chars().count() {
        length if column < last && length > MAX_CELL => cell.chars().take(MAX_CELL - 1).chain(['…']).collect(),
        _ => cell.clone(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().enumerate().map(cut).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}
