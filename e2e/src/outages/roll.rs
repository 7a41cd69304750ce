//! An ordinary rolling restart of Kafka, leaders going back to where they belong, and then a Redis that forgets everything.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Api;
use operator::api::CouponCampaign;
use tokio::time::sleep;

use super::figures::{codes, failed, longest_gap_ms, p99_ms, waits};
use super::report::{Report, seconds, whole_ms};
use super::scenario::{Scenario, TestCase, play};
use crate::chaos::load::time_to_issue_again;
use crate::chaos::test_bed::{TestBed, millis};
use crate::redis_cli::redis;
use crate::wait::until;

/// Users who come in a second.
const PER_SECOND: u64 = 200;
/// The sale; three restarts take some 40 s of it.
const STRETCH: Duration = Duration::from_secs(120);
/// It runs for so long before the first restart.
const LEAD: Duration = Duration::from_secs(10);
/// Within this time after the last election the consumers' lag must be known.
const LAG_KNOWN: Duration = Duration::from_secs(10);
/// How long it is waited for all the same, to have a figure.
const LAG_WAIT: Duration = Duration::from_secs(120);
/// Within this time after Redis was emptied somebody must hear a new rank.
const AGAIN_MS: u64 = 5_000;
/// How often the campaign's status is looked at.
const LOOK: Duration = Duration::from_millis(250);

struct Rolled {
    /// From the first restart until leaders were back, milliseconds after the first user.
    rolling: std::ops::Range<u64>,
    /// From there until the lag was known.
    lag_known: Duration,
    /// For how long the lag was unknown meanwhile.
    lag_unknown: Duration,
    /// When Redis was emptied, milliseconds after the first user.
    flushed_ms: u64,
}

/// A sale on three brokers under 200 users a second.
pub async fn brokers(bed: &TestBed, evidence: &Path) -> Result<Report> {
    let people = STRETCH.as_secs() * PER_SECOND;
    // Coupons are left for those who come after Redis was emptied, whenever that is.
    let scenario = Scenario {
        name: "brokers-roll".to_owned(),
        coupons: people,
        users: usize::try_from(people + people / 20)?,
        stretch: STRETCH + STRETCH / 20,
        issuers: 2,
    };
    let played = play(bed, &scenario, evidence, async |case| {
        ensure!(case.injector.brokers().len() >= 3, "this needs three brokers: make outages BROKERS=3");
        case.at(LEAD).await;
        let from = case.now_ms();
        let over = AtomicBool::new(false);
        let rolling = async {
            let rolled = case.injector.roll_kafka(|| (), |step| case.say(step)).await;
            over.store(true, Ordering::Relaxed);
            rolled
        };
        let (rolled, lag_unknown) = tokio::join!(rolling, unknown_lag(case, &over));
        if let Some(note) = rolled? {
            case.say(&note);
        }
        let elected_ms = case.now_ms();
        let elected = Instant::now();
        until("a lag that is known", LAG_WAIT, async || lag_is_known(case).await).await?;
        let lag_known = elected.elapsed();
        case.say(&format!("the lag is known {:.1} s after the elections; FLUSHALL", lag_known.as_secs_f64()));
        redis(&case.injector.redis().await?, &["FLUSHALL"]).await?;
        Ok(Rolled { rolling: from..elected_ms, lag_known, lag_unknown, flushed_ms: case.now_ms() })
    })
    .await?;
    let (rolled, answers, mut report) = (played.acted, &played.answers, played.report);
    let waits = waits(answers);
    let before: Vec<_> = answers.iter().filter(|answer| answer.heard_ms < rolled.flushed_ms).cloned().collect();
    let asked_again = before.iter().filter(|answer| !answer.is_decided()).count();
    let again = time_to_issue_again(answers, rolled.flushed_ms).map(millis);
    report.figure("rolling", seconds(Some(rolled.rolling.end - rolled.rolling.start)));
    report.figure("p99_while_rolling", whole_ms(p99_ms(&waits, &rolled.rolling)));
    report.figure("p99", whole_ms(p99_ms(&waits, &(0..u64::MAX))));
    report.figure("longest_silence_while_rolling", seconds(Some(longest_gap_ms(answers, &rolled.rolling))));
    report.figure("told_to_ask_again_before_flush", asked_again);
    report.figure("lag_unknown_while_rolling", seconds(Some(millis(rolled.lag_unknown))));
    report.figure("lag_known_after_elections", seconds(Some(millis(rolled.lag_known))));
    report.figure("flush_to_new_rank", seconds(again));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    report.claim(rolled.lag_known <= LAG_KNOWN, "the lag was not known within 10 s of the elections");
    report.claim(again.is_some_and(|ms| ms <= AGAIN_MS), format!("a new rank {again:?} ms after FLUSHALL"));
    Ok(report)
}

/// Whether the campaign's condition says what the consumers have to do.
async fn lag_is_known(case: &TestCase<'_>) -> Result<(), String> {
    let campaigns: Api<CouponCampaign> = Api::namespaced(case.bed.kubernetes.clone(), &case.bed.namespace);
    let campaign = campaigns.get(&case.open.sale.name).await.map_err(|error| error.to_string())?;
    let conditions = campaign.status.unwrap_or_default().conditions;
    let scaling = conditions.iter().find(|condition| condition.type_ == "ScalingActive");
    match scaling {
        Some(condition) if condition.reason == "LagUnknown" => Err(condition.message.clone()),
        Some(_) => Ok(()),
        None => Err("there is no condition ScalingActive".to_owned()),
    }
}

/// For how long the lag was unknown until `over`.
async fn unknown_lag(case: &TestCase<'_>, over: &AtomicBool) -> Duration {
    let mut unknown = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let look = Instant::now();
        let known = lag_is_known(case).await.is_ok();
        sleep(LOOK).await;
        if !known {
            unknown += look.elapsed();
        }
    }
    unknown
}
