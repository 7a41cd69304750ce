//! One sale to which something happens, from `kubectl apply` to the verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_kafka_admin::KafkaAdmin;
use coupon_ledger::kafka::client_config;
use tokio::time::sleep_until;

use super::figures::{decided, waits};
use super::report::Report;
use crate::chaos::checker::check;
use crate::chaos::inject::Injector;
use crate::chaos::load::{Answer, LoadGenerator};
use crate::chaos::report::save_evidence;
use crate::chaos::test_bed::{OpenSale, SETTLE, TestBed};

/// How long one request of a client may take.
const REQUEST: Duration = Duration::from_secs(15);
/// How long clients go on asking after the last of them came.
const PATIENCE: Duration = Duration::from_secs(180);
/// Partitions of every topic here.
pub const PARTITIONS: i32 = 2;

/// A sale as planned.
pub struct Scenario {
    /// The scenario, and the beginning of the campaign's name.
    pub name: String,
    /// Coupons.
    pub coupons: u64,
    /// Users.
    pub users: usize,
    /// The time over which they arrive.
    pub stretch: Duration,
    /// Issuer pods.
    pub issuers: u16,
}

/// What is there while it happens.
pub struct TestCase<'a> {
    /// Where it takes place.
    pub bed: &'a TestBed,
    /// The sale.
    pub open: &'a OpenSale,
    /// The users.
    pub load: &'a LoadGenerator,
    /// Hurts, and repairs.
    pub injector: &'a Injector<'a>,
    begin: Instant,
}

/// What it came to.
pub struct Finished<T> {
    /// The promise's counts are in it.
    pub report: Report,
    /// Every answer.
    pub answers: Vec<Answer>,
    /// What the act returned.
    pub acted: T,
}

impl TestCase<'_> {
    /// Waits until this long after the first user.
    pub async fn at(&self, moment: Duration) {
        sleep_until((self.begin + moment).into()).await;
    }

    /// Milliseconds after the first user.
    pub fn now_ms(&self) -> u64 {
        self.load.now_ms()
    }

    /// A line of progress.
    pub fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    /// Rows of the campaign.
    pub async fn rows(&self) -> Result<usize> {
        Ok(self.bed.sources.rows(&self.open.campaign).await?.len())
    }

    /// Winners in the primary.
    pub async fn members(&self) -> Result<usize> {
        Ok(self.bed.sources(self.open).await?.members(&self.open.campaign).await?.len())
    }
}

/// The records of a campaign that its consumers have not committed, asked of Kafka itself.
pub struct Lag {
    admin: KafkaAdmin,
    topic: String,
    group: String,
}

impl Lag {
    /// Of the sale.
    pub fn of(case: &TestCase<'_>) -> Result<Self> {
        let admin = KafkaAdmin::new(&client_config(&case.bed.sources.kafka, "outages", &[]))?;
        Ok(Self { admin, topic: case.open.campaign.topic(), group: case.open.campaign.group() })
    }

    /// Where the log ends.
    pub async fn ends(&self) -> Result<BTreeMap<i32, i64>> {
        let wanted: Vec<(&str, i32)> = (0..PARTITIONS).map(|partition| (self.topic.as_str(), partition)).collect();
        let found = self.admin.end_offsets(&wanted).await?;
        found.into_iter().map(|((_, partition), end)| Ok((partition, end?))).collect()
    }

    /// Records before `ends` that are not committed.
    pub async fn before(&self, ends: &BTreeMap<i32, i64>) -> Result<i64> {
        let committed = self.admin.committed_offsets(&self.group, &self.topic, PARTITIONS).await?;
        let left =
            |(partition, end): (&i32, &i64)| (end - committed.get(partition).copied().flatten().unwrap_or(0)).max(0);
        Ok(ends.iter().map(left).sum())
    }
}

/// Sells, while `act` happens; repairs; waits until all is stored; checks the result. Bad ones leave evidence below `evidence`.
pub async fn play<T>(
    bed: &TestBed,
    scenario: &Scenario,
    evidence: &Path,
    act: impl AsyncFnOnce(&TestCase<'_>) -> Result<T>,
) -> Result<Finished<T>> {
    bed.fresh_operator().await?;
    let name = format!("{}-{:x}", scenario.name, jiff::Timestamp::now().as_millisecond());
    let open = bed.open(&name, scenario.coupons, scenario.issuers).await?;
    let played = perform(bed, &open, scenario, evidence, act).await;
    // Also after an error: the stack is used again.
    let closed = bed.close(open).await;
    let played = played?;
    closed?;
    Ok(played)
}

async fn perform<T>(
    bed: &TestBed,
    open: &OpenSale,
    scenario: &Scenario,
    evidence: &Path,
    act: impl AsyncFnOnce(&TestCase<'_>) -> Result<T>,
) -> Result<Finished<T>> {
    let name = open.sale.name.as_str();
    let begin = Instant::now();
    let load = LoadGenerator::new(open.issuer(REQUEST)?, begin);
    let injector = bed.injector(open);
    let case = TestCase { bed, open, load: &load, injector: &injector, begin };
    case.say(&format!(
        "{name}: {} coupons, {} people over {} s",
        scenario.coupons,
        scenario.users,
        scenario.stretch.as_secs()
    ));
    let acting = async {
        let acted = act(&case).await;
        // Also after an error: the stack is used again.
        injector.repair().await.context("the stack could not be repaired")?;
        acted
    };
    let rushing = load.rush(scenario.users, scenario.stretch, begin + scenario.stretch + PATIENCE);
    let (acted, ()) = tokio::join!(acting, rushing);
    let acted = acted?;
    case.say("everybody has asked and everything serves; waiting until all is stored");
    let over = Instant::now();
    let late = bed.settle(open, &load, scenario.coupons, SETTLE).await?;
    let settled = over.elapsed();
    let (answers, ledger) = (load.answers(), bed.ledger(open).await?);
    let violations = check(scenario.coupons, &answers, &ledger);
    let waits = waits(&answers);
    let mut report = Report::new(&scenario.name);
    report.figure("coupons", scenario.coupons);
    report.figure("answered", decided(&waits));
    report.figure("rows", ledger.rows.len());
    report.promise(&violations);
    let undecided = waits.len() - decided(&waits);
    report.claim(undecided == 0, format!("{undecided} people never heard a decided answer"));
    report.figure("settled", format!("{:.1}s", settled.as_secs_f64()));
    if late > 0 {
        report.figure("late", late);
    }
    if !violations.is_empty() {
        save_evidence(name, &answers, &ledger, &bed.namespace, evidence).await?;
        println!("evidence: {}", evidence.display());
    }
    Ok(Finished { report, answers, acted })
}
