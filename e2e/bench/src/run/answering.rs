//! Cases in which users are answered.

use anyhow::Result;
use coupon_core::contract::Acknowledge;

use super::asking::{Asking, Users};
use super::batches;
use super::campaign::Campaign;
use super::catalogue::{Answering, Identity, Load, Service};
use super::figures::{
    ANSWERED, BYTES, CLIENT_CPU, ERRORS, Figures, LONGEST, P50, P99, P999, RECORDS, Round, SECONDS, WISHES,
};
use super::identities::Identities;
use super::meter::{Meter, Part};
use super::programs::Program;
use super::scrape;
use super::stage::Stage;
use crate::load::LoadReport;
use crate::serve::plain_keys;

/// Coupons enough for whoever asks.
pub(crate) const ENOUGH: u64 = 10_000_000;
/// Coupons of a campaign that is sold out before it is measured.
const FEW: u64 = 1_000;
/// Of those who ask first so many have certainly won: among the last, some overtake others.
const WINNERS: u64 = FEW - 2 * WARMING;
/// How long selling those may take, in seconds.
const SELLING: f64 = 30.0;
/// Connections of what is not measured where the case itself has a rate.
const WARMING: u64 = 64;
/// How long caches are filled where each user has one token, in seconds: all that is left is measured.
const FEW_TOKENS: f64 = 0.2;
/// Of fewer winners nobody can say what Redis keeps for one.
const MANY: u64 = 10_000;

/// Runs a round of a case. `name` is that of its campaign.
///
/// # Errors
/// Something failed, so that nothing was measured.
pub(crate) async fn run(stage: &Stage, case: &Answering, name: &str) -> Result<Round> {
    let total = if matches!(case.load, Load::SoldOut | Load::Again) { FEW } else { ENOUGH };
    let campaign = match case.service {
        Service::Plain => Campaign::closed(stage, name, total).await?,
        Service::Bare | Service::Durable | Service::Fast => Campaign::open(stage, name, total).await?,
    };
    let Identities { authentication, arguments } = Identities::of(case.identity, &stage.scratch).await?;
    let issuer =
        async |acknowledge| Program::issuer_with(stage, &stage.workload, &campaign, acknowledge, &authentication).await;
    let program = match case.service {
        Service::Bare => Program::bare()?,
        Service::Plain => Program::plain(stage, &campaign)?,
        Service::Durable => issuer(Acknowledge::Durable).await?,
        Service::Fast => issuer(Acknowledge::Fast).await?,
    };
    let users = Users::of(program.users()?, campaign.id.coupon_id(), total, &stage.scratch);
    let mut users = users.who_say_it_by(arguments);
    let round = measured(stage, case, &campaign, &program, &mut users).await;
    let alive = program.alive();
    drop(program);
    let issued = issued(stage, case.service, &campaign).await;
    campaign.remove(stage).await?;
    let mut round = round?;
    alive?;
    round.wrong.extend(users.faults(issued?));
    Ok(round)
}

async fn measured(
    stage: &Stage,
    case: &Answering,
    campaign: &Campaign,
    program: &Program,
    users: &mut Users<'_>,
) -> Result<Round> {
    warm_up(stage, case, users)?;
    let topic = campaign.id.topic();
    let log = || batches::count(&stage.servers.kafka_data(), &topic);
    let (winners, memory) = (users.told.winners(), stage.redis_memory().await?);
    let (metrics, batches) = (program.metrics(stage).await?, log()?);
    let meter = Meter::begin(stage.pids()?, &[(Part::Server, program.pid())])?;
    let report = users.ask(case.connections, asking(stage, case))?;
    let mut figures = heard(&report);
    meter.end(report.answered, &mut figures)?;
    let (after, grown) = (program.metrics(stage).await?, stage.redis_memory().await? - memory);
    let counted = |name: &str| scrape::sum(&after, name) - scrape::sum(&metrics, name);
    let calls = counted("coupon_issuer_batch_size_count");
    if calls > 0.0 {
        figures.insert(WISHES, counted("coupon_issuer_batch_size_sum") / calls);
    }
    figures.extend(log()?.records_each_since(batches).map(|each| (RECORDS, each)));
    let mut wrong = Vec::new();
    if case.load == Load::Again && report.refused > 0 {
        wrong.push(format!("{} requests of winners were refused", report.refused));
    }
    let winners = users.told.winners() - winners;
    if winners >= MANY && case.service != Service::Bare {
        figures.insert(BYTES, grown / winners as f64);
    }
    Ok(Round { figures, wrong })
}

/// What comes before: it sells what is to be sold out, and fills caches.
fn warm_up(stage: &Stage, case: &Answering, users: &mut Users<'_>) -> Result<()> {
    let seconds = stage.sizes.warm_up;
    if matches!(case.load, Load::SoldOut | Load::Again) {
        users.ask(WARMING, Asking::UntilSoldOut { seconds: SELLING })?;
    }
    let seconds = if matches!(case.identity, Identity::NewToken(_)) { FEW_TOKENS } else { seconds };
    let (connections, asking) = match case.load {
        Load::SoldOut if case.identity == Identity::KnownToken => (case.connections, known_losers(seconds)),
        Load::Closed | Load::SoldOut => (case.connections, Asking::Closed { seconds }),
        Load::Again => (case.connections, Asking::Again { seconds, first: 0, users: WINNERS }),
        Load::Constant(rate) => (case.connections, Asking::Constant { seconds, rate }),
        Load::Flash(_) => (WARMING, Asking::Closed { seconds }),
    };
    users.ask(connections, asking)?;
    Ok(())
}

fn asking(stage: &Stage, case: &Answering) -> Asking {
    let seconds = stage.sizes.seconds;
    match case.load {
        Load::SoldOut if case.identity == Identity::KnownToken => known_losers(seconds),
        Load::Closed | Load::SoldOut => Asking::Closed { seconds },
        Load::Again => Asking::Again { seconds, first: 0, users: WINNERS },
        Load::Constant(rate) => Asking::Constant { seconds, rate },
        Load::Flash(people) => Asking::Constant { seconds: 1.0, rate: people },
    }
}

/// Losers whose tokens the issuer knows after the first time.
fn known_losers(seconds: f64) -> Asking {
    Asking::Again { seconds, first: 2 * FEW, users: FEW }
}

/// What the load generator says.
pub(crate) fn heard(report: &LoadReport) -> Figures {
    let milliseconds = |micros: u64| micros as f64 / 1e3;
    Figures::from([
        (ANSWERED, report.answered as f64 / report.seconds.max(1e-6)),
        (SECONDS, report.seconds),
        (P50, milliseconds(report.p50_us)),
        (P99, milliseconds(report.p99_us)),
        (P999, milliseconds(report.p999_us)),
        (LONGEST, milliseconds(report.longest_us)),
        (ERRORS, report.errors() as f64),
        (CLIENT_CPU, report.cpu_us as f64 / report.answered.max(1) as f64),
    ])
}

/// What Redis has given; nothing where there is none.
async fn issued(stage: &Stage, service: Service, campaign: &Campaign) -> Result<Option<u64>> {
    match service {
        Service::Bare => Ok(None),
        Service::Durable | Service::Fast => Ok(Some(campaign.issued(stage).await?)),
        Service::Plain => {
            let (mut redis, keys) = (stage.redis().await?, plain_keys(campaign.id.coupon_id()));
            let issued: u64 = redis::cmd("ZCARD").arg(&keys[0]).query_async(&mut redis).await?;
            let () = redis::cmd("UNLINK").arg(&keys[..]).query_async(&mut redis).await?;
            Ok(Some(issued))
        }
    }
}
