//! The database, or Kafka, is stopped for minutes during a sale.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use stack::control::Action;

use super::figures::{came_within, codes, failed, longest_gap_ms, p99_ms, waits, won_within};
use super::report::{Report, seconds, whole_ms};
use super::scenario::{Finished, Lag, Scenario, TestCase, play};
use crate::chaos::load::Answer;
use crate::chaos::test_bed::{TestBed, millis};
use crate::wait::until;

/// The sale runs for so long before the system is stopped.
const LEAD: Duration = Duration::from_secs(15);
/// And for so long after it is started again, until it is sold out; a start takes some seconds of it.
const TAIL: Duration = Duration::from_secs(30);
/// Then people come who find nothing left.
const SOLD_OUT: Duration = Duration::from_secs(5);
/// Within this time after its return everything that waited must be stored.
const CATCH_UP: Duration = Duration::from_secs(300);
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// People who come in a second.
const PER_SECOND: u64 = 20;
/// Two issuers: one process more that must not lose anything.
const ISSUERS: u16 = 2;

/// An outage as it happened, milliseconds after the first user.
struct Outage {
    away: Range<u64>,
    /// Records that waited when it ended.
    waited: i64,
    /// From the system's return until these were stored and committed.
    caught_up_ms: u64,
}

fn scenario(name: &str, away: Duration) -> Scenario {
    let selling = LEAD + away + TAIL;
    Scenario {
        name: name.to_owned(),
        coupons: selling.as_secs() * PER_SECOND,
        users: usize::try_from((selling + SOLD_OUT).as_secs() * PER_SECOND).unwrap_or(usize::MAX),
        stretch: selling + SOLD_OUT,
        issuers: ISSUERS,
    }
}

/// The database is stopped: winners are answered all the same, as Kafka has them, and become rows when it is back.
pub async fn database(bed: &TestBed, away: Duration, evidence: &Path) -> Result<Report> {
    let played = play(bed, &scenario("database-away", away), evidence, async |case| {
        case.at(LEAD).await;
        let lag = Lag::of(case)?;
        let from = case.now_ms();
        case.injector.act("mariadb", Action::Kill).await?;
        case.say("the database is killed");
        watch(case, away).await;
        let ends = lag.ends().await?;
        let waited = lag.before(&ends).await?;
        case.say(&format!("{waited} records wait; the database is started"));
        case.injector.act("mariadb", Action::Start).await?;
        let back = case.now_ms();
        case.say("the database serves");
        until("what waited is stored", CATCH_UP, async || match lag.before(&ends).await {
            Ok(0) => Ok(()),
            Ok(left) => Err(format!("{left} records left")),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        let caught_up_ms = case.now_ms() - back;
        case.say("what waited is stored");
        Ok(Outage { away: from..back, waited, caught_up_ms })
    })
    .await?;
    let outage = &played.acted;
    let (waited, caught_up) = (outage.waited, seconds(Some(outage.caught_up_ms)));
    let mut report = outage_report(&played, &played.answers, &outage.away);
    report.figure("waited", waited);
    report.figure("return_to_lag_0", caught_up);
    report.claim(waited > 0, "no record waited: the database was not needed");
    Ok(report)
}

/// Kafka is stopped: winners go straight into their rows, and are told after the commit.
pub async fn kafka(bed: &TestBed, away: Duration, evidence: &Path) -> Result<Report> {
    let played = play(bed, &scenario("kafka-away", away), evidence, async |case| {
        case.at(LEAD).await;
        let before = case.rows().await?;
        let brokers = case.injector.brokers();
        let from = case.now_ms();
        for broker in &brokers {
            case.injector.act(broker, Action::Kill).await?;
        }
        case.say(&format!("Kafka is killed; {before} rows"));
        watch(case, away).await;
        let direct = case.rows().await? - before;
        case.say(&format!("{direct} rows came without Kafka; it is started"));
        for broker in &brokers {
            case.injector.act(broker, Action::Start).await?;
        }
        let back = case.now_ms();
        case.say("Kafka serves");
        let lag = Lag::of(case)?;
        until("the consumers have read everything", CATCH_UP, async || {
            let ends = lag.ends().await.map_err(|e| e.to_string())?;
            match lag.before(&ends).await {
                Ok(0) => Ok(()),
                Ok(left) => Err(format!("{left} records left")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        let caught_up_ms = case.now_ms() - back;
        case.say("the consumers have read everything");
        Ok(Outage { away: from..back, waited: i64::try_from(direct)?, caught_up_ms })
    })
    .await?;
    let outage = &played.acted;
    let (direct, caught_up) = (outage.waited, seconds(Some(outage.caught_up_ms)));
    let mut report = outage_report(&played, &played.answers, &outage.away);
    report.figure("rows_without_kafka", direct);
    report.figure("return_to_lag_0", caught_up);
    Ok(report)
}

/// Says now and then how far it is, for this long.
async fn watch(case: &TestCase<'_>, away: Duration) {
    let begin = case.now_ms();
    let end = begin + millis(away);
    while case.now_ms() < end {
        let next = (case.now_ms() + millis(PROGRESS)).min(end);
        case.at(Duration::from_millis(next)).await;
        let waits = waits(&case.load.answers());
        case.say(&format!("{} heard a rank since it is away", won_within(&waits, &(begin..u64::MAX))));
    }
}

/// What people heard while it was away.
fn outage_report(played: &Finished<Outage>, answers: &[Answer], away: &Range<u64>) -> Report {
    let mut report = played.report.clone();
    let waits = waits(answers);
    let (came, won) = (came_within(&waits, away), won_within(&waits, away));
    report.figure("away", seconds(Some(away.end - away.start)));
    report.figure("came_while_away", came);
    report.figure("won_while_away", won);
    report.figure("p99_while_away", whole_ms(p99_ms(&waits, away)));
    report.figure("p99", whole_ms(p99_ms(&waits, &(0..u64::MAX))));
    let gap = longest_gap_ms(answers, away);
    report.figure("longest_silence", seconds(Some(gap)));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(won * 100 >= came * 95, format!("{came} came while it was away, and {won} heard a rank meanwhile"));
    report.claim(gap <= 10_000, format!("nobody heard a new rank for {gap} ms"));
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    report
}
