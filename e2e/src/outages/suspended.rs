//! A campaign is suspended while a server is down. The server comes back before the campaign is resumed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use operator::api::Phase;
use stack::control::Action;
use strum::IntoStaticStr;

use super::figures::{codes, failed, ranks_of};
use super::report::{Report, seconds};
use super::scenario::{Scenario, TestCase, play};
use crate::chaos::test_bed::{TestBed, millis};
use crate::install::kubectl;

/// The server that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Away {
    /// The database.
    Database,
    /// Redis, so that the suspension cannot be written there.
    Redis,
    /// Kafka.
    Kafka,
}

/// Requests a second, each of another user.
const PER_SECOND: u64 = 20;
const STRETCH: Duration = Duration::from_secs(50);
/// When the server goes down.
const KILL: Duration = Duration::from_secs(8);
/// When the campaign is suspended and, a second later, resumed: a pass that has read one of the two is under way then.
const FLAP: Duration = Duration::from_secs(9);
/// When the campaign is suspended, and stays so.
const SUSPEND: Duration = Duration::from_secs(12);
/// How long after that users may still win.
const WITHIN: Duration = Duration::from_secs(3);
/// How long after that the status must say that the campaign is suspended.
const SAID_WITHIN: Duration = Duration::from_secs(10);
/// When the server comes back.
const BACK: Duration = Duration::from_secs(25);
/// When the campaign is resumed.
const RESUME: Duration = Duration::from_secs(38);

/// Suspends a campaign while a server is down, and resumes it.
///
/// # Errors
/// A command to the stack or to Kubernetes fails.
pub async fn without(bed: &TestBed, away: Away, evidence: &Path) -> Result<Report> {
    let people = STRETCH.as_secs() * PER_SECOND;
    let scenario = Scenario {
        name: format!("suspended-{}", <&str>::from(away)),
        // More coupons than users can win before: the campaign must not be sold out when it is resumed.
        coupons: people,
        users: usize::try_from(people)?,
        stretch: STRETCH,
        issuers: 2,
    };
    let played = play(bed, &scenario, evidence, async |case| {
        let parts = match away {
            Away::Database => vec!["mariadb".to_owned()],
            Away::Redis => vec![case.injector.redis_part(&case.injector.primary().await?)?],
            Away::Kafka => case.injector.brokers(),
        };
        case.at(KILL).await;
        for part in &parts {
            case.injector.act(part, Action::Kill).await?;
        }
        case.say(&format!("{} is killed", parts.join(", ")));
        case.at(FLAP).await;
        suspend(case, true).await?;
        case.at(FLAP + Duration::from_secs(1)).await;
        suspend(case, false).await?;
        case.at(SUSPEND).await;
        suspend(case, true).await?;
        let asked_ms = case.now_ms();
        case.say("suspension is asked for");
        let is_suspended = case.open.sale.until_phase(Phase::Suspended, BACK - SUSPEND).await;
        let said_ms = is_suspended.is_ok().then(|| case.now_ms() - asked_ms);
        case.say("status was read");
        case.at(BACK).await;
        for part in &parts {
            case.injector.act(part, Action::Start).await?;
        }
        case.say("it serves again");
        case.at(RESUME).await;
        suspend(case, false).await?;
        case.say("the sale goes on");
        Ok((asked_ms, said_ms, case.now_ms()))
    })
    .await?;
    let ((asked_ms, said_ms, resumed_ms), answers, mut report) = (played.acted, &played.answers, played.report);
    let late = ranks_of(answers, &(asked_ms + millis(WITHIN)..resumed_ms));
    report.figure("said_after", seconds(said_ms));
    report.figure("won_while_suspended", late);
    report.figure("won_afterwards", ranks_of(answers, &(resumed_ms..u64::MAX)));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(late == 0, format!("{late} people won later than {} s after suspension", WITHIN.as_secs()));
    let is_said = said_ms.is_some_and(|ms| ms <= millis(SAID_WITHIN));
    report.claim(is_said, format!("status did not say Suspended within {} s", SAID_WITHIN.as_secs()));
    report.claim(ranks_of(answers, &(resumed_ms..u64::MAX)) > 0, "nobody won after it");
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    Ok(report)
}

async fn suspend(case: &TestCase<'_>, suspend: bool) -> Result<()> {
    let (name, namespace) = (&case.open.sale.name, &case.bed.namespace);
    let patch = format!(r#"{{"spec":{{"suspend":{suspend}}}}}"#);
    kubectl(&["patch", "couponcampaign", name, "-n", namespace, "--type=merge", "-p", &patch]).await.map(drop)
}
