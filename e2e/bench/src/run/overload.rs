//! Three times as many ask as can be answered, and then half as many: who is served, what the others hear, and how soon it is over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use coupon_core::connections::RedisServer;
use coupon_core::contract::{Acknowledge, Authentication};
use coupon_testing::proxy::{Proxy, Trouble, Victims};

use super::answering::ENOUGH;
use super::asking::{Asking, Users};
use super::campaign::Campaign;
use super::catalogue::Bottleneck;
use super::figures::{
    BEST, CLIENT_CPU, ERRORS, Figures, GOODPUT, OFFERED, PUT_OFF_P99, RECOVERED, RETRY_AFTER, Round, SAME_RETRY,
    TOLD_P99,
};
use super::meter::{Meter, Part};
use super::programs::Program;
use super::stage::Stage;
use crate::load::LoadReport;

/// How much later every piece of data comes to Redis and back.
const FAR: Duration = Duration::from_millis(25);
/// Connections while the best is looked for: enough that all batches are full.
const CLOSED: u64 = 1_024;
/// Kept connections of those who are too many: not quite as many as an issuer holds in its memory (5,132).
const OPEN: u64 = 4_500;
/// How many times as many ask.
const TIMES: f64 = 3.0;
/// A load generator that offers less than this part of them has shown nothing.
const OFFERS: f64 = 0.9;
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long half as many ask after that, in seconds.
const AFTER: f64 = 3.0;

/// Runs a round. `name` is that of its campaign.
///
/// # Errors
/// Something failed, so that nothing was measured.
pub(crate) async fn run(stage: &Stage, bottleneck: Bottleneck, name: &str) -> Result<Round> {
    let campaign = Campaign::open(stage, name, ENOUGH).await?;
    let (mut workload, redis) = (stage.workload.clone(), stage.servers.redis_address());
    // Ends when it is dropped.
    let way = match bottleneck {
        Bottleneck::Redis => Some(Proxy::start(ANY_PORT, redis).await?),
        Bottleneck::Processors => None,
    };
    if let Some(way) = &way {
        way.begin(Victims::All, Trouble::Delay(FAR));
        workload.redis.server = RedisServer::Address(way.address.to_string());
    }
    let issuer = Program::issuer_with(stage, &workload, &campaign, Acknowledge::Durable, &Authentication::None).await?;
    let mut users = Users::of(issuer.users()?, campaign.id.coupon_id(), ENOUGH, &stage.scratch);
    let round = measured(stage, &issuer, &mut users);
    let alive = issuer.alive();
    drop(issuer);
    let issued = campaign.issued(stage).await;
    campaign.remove(stage).await?;
    let mut round = round?;
    alive?;
    round.wrong.extend(users.faults(Some(issued?)));
    Ok(round)
}

fn measured(stage: &Stage, issuer: &Program, users: &mut Users<'_>) -> Result<Round> {
    let (warm_up, seconds) = (stage.sizes.warm_up, stage.sizes.overload);
    users.ask(CLOSED, Asking::Closed { seconds: warm_up })?;
    let closed = users.ask(CLOSED, Asking::Closed { seconds })?;
    let best = closed.told as f64 / closed.seconds.max(1e-6);
    let (rate, then_rate) = ((TIMES * best) as u64, (best / 2.0) as u64);
    let meter = Meter::begin(stage.pids()?, &[(Part::Server, issuer.pid())])?;
    let asking = Asking::Then { seconds, rate: rate.max(1), then_seconds: AFTER, then_rate: then_rate.max(1) };
    let report = users.ask(OPEN, asking)?;
    let mut figures = heard(&report, best, seconds);
    meter.end(report.answered, &mut figures)?;
    Ok(Round { wrong: faults(&report, rate as f64 * seconds), figures })
}

fn heard(report: &LoadReport, best: f64, seconds: f64) -> Figures {
    let (put_off, refused) = (&report.put_off, report.put_off.answers.max(1) as f64);
    let (said, most) = (put_off.by_retry_after.values().sum::<u64>(), put_off.by_retry_after.values().max());
    Figures::from([
        (BEST, best),
        (OFFERED, report.sent_in_time as f64 / seconds),
        (GOODPUT, report.told_in_time as f64 / seconds / best.max(1e-6)),
        (TOLD_P99, report.told_p99_us as f64 / 1e3),
        (PUT_OFF_P99, put_off.p99_us as f64 / 1e3),
        (RETRY_AFTER, said as f64 / refused),
        (SAME_RETRY, most.copied().unwrap_or(0) as f64 / refused),
        (RECOVERED, report.recovered_us as f64 / 1e6),
        (ERRORS, report.asked.saturating_sub(report.told + report.refused + put_off.answers) as f64),
        (CLIENT_CPU, report.cpu_us as f64 / report.answered.max(1) as f64),
    ])
}

/// Why it shows nothing of an overload.
fn faults(report: &LoadReport, wanted: f64) -> Vec<String> {
    let sent = report.sent_in_time as f64;
    let mut faults = Vec::new();
    if sent < OFFERS * wanted {
        faults.push(format!("{sent:.0} requests left in time of {wanted:.0}: that is no overload of {TIMES} times"));
    }
    if report.put_off.answers == 0 {
        faults.push("nobody was refused".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::PutOff;

    fn report(sent_in_time: u64, answers: u64, by_retry_after: &[(u64, u64)]) -> LoadReport {
        let by_retry_after = BTreeMap::from_iter(by_retry_after.iter().copied());
        let put_off = PutOff { answers, p99_us: 7_000, by_retry_after, ..PutOff::default() };
        LoadReport { asked: 1_000, told: 300, told_in_time: 290, sent_in_time, put_off, ..LoadReport::default() }
    }

    #[test]
    fn goodput_is_a_part_of_the_best_and_refusals_are_told_apart() {
        let figures = heard(&report(900, 600, &[(1, 200), (2, 300), (3, 40)]), 100.0, 3.0);
        let all = [GOODPUT, OFFERED, PUT_OFF_P99, RETRY_AFTER, SAME_RETRY, ERRORS].map(|name| figures[name]);
        assert_eq!(all, [290.0 / 300.0, 300.0, 7.0, 0.9, 0.5, 100.0]);
    }

    /// Wrong: a load generator that waits for the server shows how well that bears what was never asked of it.
    #[test]
    fn what_was_not_offered_or_not_refused_is_no_overload() {
        assert_eq!(faults(&report(900, 600, &[]), 900.0), Vec::<String>::new());
        assert!(faults(&report(800, 600, &[]), 900.0)[0].starts_with("800 requests left in time of 900"));
        assert_eq!(faults(&report(900, 0, &[]), 900.0), ["nobody was refused"]);
    }
}
