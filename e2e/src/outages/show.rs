//! One sale to which something happens, from `kubectl apply` to the verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use campaign::log::admin::KafkaAdmin;
use campaign::log::client_config;
use tokio::time::sleep_until;

use super::figures::{decided, waits};
use super::report::Report;
use crate::chaos::arena::{Arena, OpenSale, SETTLE};
use crate::chaos::checker::check;
use crate::chaos::crowd::{Answer, Crowd};
use crate::chaos::inject::Injector;
use crate::chaos::report::keep;

/// How long one request of a client may take.
const REQUEST: Duration = Duration::from_secs(15);
/// How long clients go on asking after the last of them came.
const PATIENCE: Duration = Duration::from_secs(180);
/// Partitions of every topic here.
pub const PARTITIONS: i32 = 2;

/// A sale as planned.
pub struct Show {
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
pub struct Scene<'a> {
    /// Where it takes place.
    pub arena: &'a Arena,
    /// The sale.
    pub open: &'a OpenSale,
    /// The users.
    pub crowd: &'a Crowd,
    /// Hurts, and repairs.
    pub injector: &'a Injector<'a>,
    begin: Instant,
}

/// What it came to.
pub struct Played<T> {
    /// The promise's counts are in it.
    pub report: Report,
    /// Every answer.
    pub answers: Vec<Answer>,
    /// What the act returned.
    pub acted: T,
}

impl Scene<'_> {
    /// Waits until this long after the first user.
    pub async fn at(&self, moment: Duration) {
        sleep_until((self.begin + moment).into()).await;
    }

    /// Milliseconds after the first user.
    pub fn now_ms(&self) -> u64 {
        self.crowd.now_ms()
    }

    /// A line of progress.
    pub fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    /// Rows of the campaign.
    pub async fn rows(&self) -> Result<usize> {
        Ok(self.arena.sources.rows(&self.open.campaign).await?.len())
    }

    /// Winners in the primary.
    pub async fn members(&self) -> Result<usize> {
        Ok(self.arena.sources(self.open).await?.members(&self.open.campaign).await?.len())
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
    pub fn of(scene: &Scene<'_>) -> Result<Self> {
        let admin = KafkaAdmin::new(&client_config(&scene.arena.sources.kafka, "outages", &[]))?;
        Ok(Self { admin, topic: scene.open.campaign.topic(), group: scene.open.campaign.group() })
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

/// Sells, while `act` happens; repairs; waits until all is stored; judges. Bad ones leave evidence below `evidence`.
pub async fn play<T>(
    arena: &Arena,
    show: &Show,
    evidence: &Path,
    act: impl AsyncFnOnce(&Scene<'_>) -> Result<T>,
) -> Result<Played<T>> {
    arena.fresh_operator().await?;
    let name = format!("{}-{:x}", show.name, jiff::Timestamp::now().as_millisecond());
    let open = arena.open(&name, show.coupons, show.issuers).await?;
    let played = perform(arena, &open, show, evidence, act).await;
    // Also after an error: the stack is used again.
    let closed = arena.close(open).await;
    let played = played?;
    closed?;
    Ok(played)
}

async fn perform<T>(
    arena: &Arena,
    open: &OpenSale,
    show: &Show,
    evidence: &Path,
    act: impl AsyncFnOnce(&Scene<'_>) -> Result<T>,
) -> Result<Played<T>> {
    let name = open.sale.name.as_str();
    let begin = Instant::now();
    let crowd = Crowd::new(open.door(REQUEST)?, begin);
    let injector = arena.injector(open);
    let scene = Scene { arena, open, crowd: &crowd, injector: &injector, begin };
    scene.say(&format!("{name}: {} coupons, {} people over {} s", show.coupons, show.users, show.stretch.as_secs()));
    let acting = async {
        let acted = act(&scene).await;
        // Also after an error: the stack is used again.
        injector.repair().await.context("the stack could not be repaired")?;
        acted
    };
    let rushing = crowd.rush(show.users, show.stretch, begin + show.stretch + PATIENCE);
    let (acted, ()) = tokio::join!(acting, rushing);
    let acted = acted?;
    scene.say("everybody has asked and everything serves; waiting until all is stored");
    let over = Instant::now();
    let late = arena.settle(open, &crowd, show.coupons, SETTLE).await?;
    let settled = over.elapsed();
    let (answers, ledger) = (crowd.answers(), arena.ledger(open).await?);
    let violations = check(show.coupons, &answers, &ledger);
    let waits = waits(&answers);
    let mut report = Report::new(&show.name);
    report.figure("coupons", show.coupons);
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
        keep(name, &answers, &ledger, &arena.namespace, evidence).await?;
        println!("evidence: {}", evidence.display());
    }
    Ok(Played { report, answers, acted })
}
