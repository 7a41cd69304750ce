//! One of three brokers is killed in the middle of a sale: the one that leads a partition of the campaign.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stack::control::Action;

use super::figures::{codes, failed, longest_gap_ms, p99_ms, waits};
use super::report::{Report, seconds, whole_ms};
use super::scenario::{Scenario, play};
use crate::chaos::test_bed::TestBed;

const STRETCH: Duration = Duration::from_secs(40);
/// How long after the kill is looked at by itself, milliseconds.
const AFTER_MS: u64 = 10_000;

/// A sale of 6,000 on three brokers.
pub async fn killed(bed: &TestBed, evidence: &Path) -> Result<Report> {
    let scenario =
        Scenario { name: "broker-killed".to_owned(), coupons: 6_000, users: 6_600, stretch: STRETCH, issuers: 2 };
    let played = play(bed, &scenario, evidence, async |case| {
        let brokers = case.injector.brokers();
        ensure!(brokers.len() >= 3, "this needs a stack with three brokers: make outages BROKERS=3");
        let sources = bed.sources.clone();
        let topic = case.open.campaign.topic();
        let topology = tokio::task::spawn_blocking(move || sources.partitions(Some(&topic))).await??;
        let first = topology.first().context("the topic has no partitions")?;
        ensure!(
            topology.iter().all(|partition| partition.replicas.len() >= 3),
            "the topic does not have three copies: {topology:?}"
        );
        case.at(STRETCH / 2).await;
        let killed_ms = case.now_ms();
        case.injector.act(&format!("kafka-{}", first.leader), Action::Kill).await?;
        case.say(&format!("broker {} is killed, leader of partition {}", first.leader, first.id));
        case.at(STRETCH).await;
        Ok(killed_ms)
    })
    .await?;
    let (killed_ms, answers, mut report) = (played.acted, &played.answers, played.report);
    let after = killed_ms..killed_ms + AFTER_MS;
    let waits = waits(answers);
    report.figure("p99", whole_ms(p99_ms(&waits, &(0..u64::MAX))));
    report.figure("p99_10s_after_kill", whole_ms(p99_ms(&waits, &after)));
    report.figure("longest_silence", seconds(Some(longest_gap_ms(answers, &after))));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    Ok(report)
}
