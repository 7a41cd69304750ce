//! Whether the operator is alive: each part that must go on ticks by itself, and the one that is silent is named.
//!
//! Nothing here waits for events: a quiet cluster has none for hours, and kube's watcher keeps bookmarks to itself. What ticks:
//! a task on the runtime, the future that polls the controller (both every [`BEAT`]), and each renewal of the lease. Passes are
//! counted while they run: one that outlives its own deadline is stuck.
//!
//! Watches are no part of liveness. A watch whose connection is dead is ended by kube's watcher (its idle timeout) or by the client's
//! read timeout, and begun again. One that fails again and again does so for a reason that a restart does not mend: a right or a
//! definition is missing; without an API server the lease is lost first, and the program is started anew. Readiness says it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coupon_runtime::telemetry::{Probes, Verdict};
// Monotonic: a step of the wall clock must not kill the process.
use tokio::time::Instant;

/// How often a part that has nothing to do says that it is there.
pub(crate) const BEAT: Duration = Duration::from_secs(5);
/// A part that was silent for this long is stuck. Far above a beat, or the longest time in which a lease is renewed or lost, on a
/// machine that is busy.
const SILENCE: Duration = Duration::from_secs(60);
/// A watch whose failures are further apart than this had been mended in between.
const MENDED: Duration = Duration::from_secs(60);
/// A watch that fails for this long is said to.
const FAILING: Duration = Duration::from_secs(60);

/// What ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subsystem {
    /// A task of its own: threads of the runtime are free to run tasks.
    Runtime,
    /// The future that runs the controller and its watches is polled.
    Controller,
    /// The lease is renewed.
    Lease,
}

impl Subsystem {
    fn name(self) -> &'static str {
        match self {
            Self::Runtime => "the runtime's heartbeat",
            Self::Controller => "the controller's loop",
            Self::Lease => "the renewal of the lease",
        }
    }
}

/// Failures of one kind's watch, one after the other.
#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    why: String,
}

#[derive(Debug, Default)]
struct LastHeard {
    /// Parts that have begun, and when each was last heard. A standby has begun none.
    heard: BTreeMap<Subsystem, Instant>,
    /// Whose they are, when they began, and how long they may take: then they end by themselves, and report.
    passes: BTreeMap<u64, (String, Instant, Duration)>,
    failing: BTreeMap<String, Failing>,
}

/// What was heard of each part.
#[derive(Debug, Default)]
pub struct Health {
    seen: Mutex<LastHeard>,
    next_pass: AtomicU64,
}

/// A pass that runs; it ends when this is dropped, also with a panic.
#[derive(Debug)]
pub(crate) struct RunningPass {
    health: Arc<Health>,
    number: u64,
}

impl Drop for RunningPass {
    fn drop(&mut self) {
        self.health.lock().passes.remove(&self.number);
    }
}

impl Health {
    /// Each change is one insertion or removal, so a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, LastHeard> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `part` is there. From the first time on it must be heard again and again.
    pub fn heard(&self, part: Subsystem) {
        self.lock().heard.insert(part, Instant::now());
    }

    /// Ticks for `part`, in the task that polls this, for as long as it is polled.
    pub async fn beat(&self, part: Subsystem) {
        loop {
            self.heard(part);
            tokio::time::sleep(BEAT).await;
        }
    }

    /// A pass begins, which may take as long as `deadline`.
    pub(crate) fn pass(self: &Arc<Self>, campaign: String, deadline: Duration) -> RunningPass {
        let number = self.next_pass.fetch_add(1, Ordering::Relaxed);
        self.lock().passes.insert(number, (campaign, Instant::now(), deadline));
        RunningPass { health: Arc::clone(self), number }
    }

    pub(crate) fn watch_works(&self, kind: &str) {
        self.lock().failing.remove(kind);
    }

    pub(crate) fn watch_failed(&self, kind: &str, why: String) {
        let now = Instant::now();
        let mut seen = self.lock();
        let since = seen.failing.get(kind).filter(|run| now - run.last <= MENDED).map_or(now, |run| run.since);
        seen.failing.insert(kind.to_owned(), Failing { since, last: now, why });
    }
}

impl Probes for Health {
    fn alive(&self) -> Verdict {
        let (seen, now) = (self.lock(), Instant::now());
        let silent = seen.heard.iter().filter(|(_, last)| now - **last >= SILENCE);
        let mut stuck: Vec<String> = silent
            .map(|(part, last)| format!("{} has been silent for {} s", part.name(), (now - *last).as_secs()))
            .collect();
        let endless = seen.passes.values().filter(|(_, begun, deadline)| now - *begun >= *deadline + SILENCE);
        stuck.extend(endless.map(|(campaign, begun, _)| {
            format!("a pass of {campaign} has been under way for {} s", (now - *begun).as_secs())
        }));
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join("; ")) }
    }

    fn ready(&self) -> Verdict {
        let (seen, now) = (self.lock(), Instant::now());
        let failing = seen.failing.iter().filter(|(_, run)| now - run.last <= MENDED && now - run.since >= FAILING);
        let failing: Vec<String> = failing
            .map(|(kind, run)| {
                format!("the watch of {kind} has failed for {} s: {}", (now - run.since).as_secs(), run.why)
            })
            .collect();
        if failing.is_empty() { Ok(()) } else { Err(failing.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_standby_has_nothing_that_must_tick() {
        let health = Health::default();
        advance(Duration::from_secs(3600)).await;
        assert_eq!(health.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn whichever_part_falls_silent_is_found_and_named() {
        for (silent, said) in [
            (Subsystem::Runtime, "the runtime's heartbeat has been silent for 60 s"),
            (Subsystem::Controller, "the controller's loop has been silent for 60 s"),
            (Subsystem::Lease, "the renewal of the lease has been silent for 60 s"),
        ] {
            let health = Health::default();
            let all = [Subsystem::Runtime, Subsystem::Controller, Subsystem::Lease];
            all.into_iter().for_each(|part| health.heard(part));
            for seconds in (5..=60).step_by(5) {
                assert_eq!(health.alive(), Ok(()), "after {seconds} s");
                advance(BEAT).await;
                all.into_iter().filter(|part| *part != silent).for_each(|part| health.heard(part));
            }
            assert_eq!(health.alive(), Err(said.to_owned()));
            health.heard(silent);
            assert_eq!(health.alive(), Ok(()), "heard again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_outlives_its_deadline_is_found_and_one_that_ended_is_not() {
        let health = Arc::new(Health::default());
        let deadline = Duration::from_secs(300);
        let stuck = health.pass("shop/spring".to_owned(), deadline);
        let _large = health.pass("shop/summer".to_owned(), 3 * deadline);
        drop(health.pass("shop/autumn".to_owned(), deadline));
        advance(deadline).await;
        assert_eq!(health.alive(), Ok(()), "it may take as long as this");
        advance(SILENCE).await;
        assert_eq!(health.alive(), Err("a pass of shop/spring has been under way for 360 s".to_owned()));
        drop(stuck);
        assert_eq!(health.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_goes_on_failing_is_said_and_does_not_kill() {
        let health = Health::default();
        for _ in 0..12 {
            health.watch_failed("CouponCampaign", "forbidden".to_owned());
            assert_eq!(health.ready(), Ok(()), "not at once");
            advance(BEAT).await;
        }
        health.watch_failed("CouponCampaign", "forbidden".to_owned());
        assert_eq!(health.ready(), Err("the watch of CouponCampaign has failed for 60 s: forbidden".to_owned()));
        assert_eq!(health.alive(), Ok(()));
        health.watch_works("CouponCampaign");
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_far_apart_are_no_failing_watch() {
        let health = Health::default();
        for _ in 0..20 {
            health.watch_failed("Pod", "closed".to_owned());
            assert_eq!(health.ready(), Ok(()));
            advance(MENDED + Duration::from_secs(1)).await;
        }
    }
}
