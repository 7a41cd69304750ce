//! Plays one sale against one scaler, always with the same result.

use serde::Serialize;

use crate::cases::Case;
use crate::keda::{self, Keda};
use crate::ours::{self, Ours};
use crate::plant::Plant;
use crate::scaler::{BEGIN_MS, Scaler, View};

/// How long all is looked at after the last arrival, in seconds: by then everybody is back at the least.
pub(crate) const AFTER_S: f64 = 900.0;
const TICK_MS: i64 = 100;

/// Which scaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
pub(crate) enum Kind {
    /// This project's.
    #[strum(serialize = "ours")]
    #[serde(rename = "ours")]
    Ours,
    /// KEDA and HPA as they are.
    #[strum(serialize = "KEDA + HPA")]
    #[serde(rename = "keda")]
    Keda,
    /// The same, with the drain target put into the threshold: what a pod stores in that time.
    #[strum(serialize = "KEDA + HPA, tuned")]
    #[serde(rename = "keda-tuned")]
    Tuned,
}

impl Kind {
    /// In tables.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    /// Those that a case is played against.
    pub(crate) fn of(case: &Case) -> &'static [Self] {
        if case.plan.is_some() { &[Self::Ours] } else { &[Self::Ours, Self::Keda, Self::Tuned] }
    }
}

/// When periodic things happen, in milliseconds after a multiple of their periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phases {
    /// Our readings.
    pub(crate) look_ms: i64,
    /// KEDA's polls.
    pub(crate) poll_ms: i64,
    /// The HPA's syncs.
    pub(crate) sync_ms: i64,
}

impl Default for Phases {
    /// Everybody is half a period away from the next when the first record comes, which is the average.
    fn default() -> Self {
        let half = |period_ms: i64| (BEGIN_MS + period_ms / 2).rem_euclid(period_ms);
        Self { look_ms: half(ours::LOOK_MS), poll_ms: half(keda::POLL_MS), sync_ms: half(keda::SYNC_MS) }
    }
}

/// How things were at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Seconds from the first arrival.
    pub(crate) at_s: f64,
    /// Records that are not rows.
    pub(crate) lag: u64,
    /// Pods that should be there.
    pub(crate) pods: i32,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunOutcome {
    /// Which scaler.
    pub(crate) scaler: Kind,
    /// Seconds from the last arrival to the last row; `None`: never.
    pub(crate) drained_s: Option<f64>,
    /// Seconds from a winner's record to the row, on average.
    pub(crate) mean_wait_s: f64,
    /// The highest number of records that were not rows.
    pub(crate) peak_lag: u64,
    /// The highest number of pods.
    pub(crate) most_pods: i32,
    /// Pods times seconds, until the last row.
    pub(crate) pod_s_drained: f64,
    /// Pods times seconds, until the horizon: `AFTER_S` after the last arrival.
    pub(crate) pod_s: f64,
    /// How often the number went up.
    pub(crate) ups: u32,
    /// How often it went down.
    pub(crate) downs: u32,
    /// How often the group stopped for a change of members.
    pub(crate) rebalances: u32,
    /// Seconds from the first arrival to the last change.
    pub(crate) last_change_s: f64,
    /// Pods at the horizon.
    pub(crate) pods_at_end: i32,
    /// What it told the person on call.
    pub(crate) says: Vec<String>,
    /// All changes: seconds from the first arrival, and pods from then on.
    pub(crate) changes: Vec<(f64, i32)>,
    /// Every tick.
    #[serde(skip)]
    pub(crate) trace: Vec<Sample>,
}

/// Plays a case.
pub(crate) fn run(case: &Case, kind: Kind, phases: Phases) -> RunOutcome {
    let tuned = case.settings.per_pod * case.drain_s;
    let hpa = |threshold| Box::new(Keda::new(threshold, case.least, phases.poll_ms, phases.sync_ms));
    let scaler: Box<dyn Scaler> = match kind {
        Kind::Ours => Box::new(Ours::new(case, phases.look_ms)),
        Kind::Keda => hpa(keda::LAG_THRESHOLD),
        Kind::Tuned => hpa(tuned),
    };
    play(case, kind, scaler)
}

fn play(case: &Case, kind: Kind, mut scaler: Box<dyn Scaler>) -> RunOutcome {
    let mut plant = Plant::new(case.settings, case.least);
    let end_s = case.curve.end_s();
    let last_ms = BEGIN_MS + ((end_s + AFTER_S) * 1000.0) as i64;
    let mut trace = Vec::new();
    let mut changes = Vec::new();
    for now_ms in (TICK_MS..=last_ms).step_by(TICK_MS as usize) {
        let at_s = (now_ms - BEGIN_MS) as f64 / 1000.0;
        plant.step(now_ms, TICK_MS, &case.curve, at_s);
        let reading = plant.reading(now_ms);
        let (pods, ready, lag) = (plant.pods(), plant.ready(now_ms), plant.lag());
        let complete = at_s >= end_s && lag == 0;
        let wanted = scaler.decide(&View { now_ms, reading: &reading, pods, ready, complete });
        if wanted != pods {
            plant.scale(now_ms, wanted);
            changes.push((at_s, wanted));
        }
        trace.push(Sample { at_s, lag, pods: wanted });
    }
    let tick_s = TICK_MS as f64 / 1000.0;
    let drained_at_s = trace.iter().find(|sample| sample.at_s >= end_s && sample.lag == 0).map(|sample| sample.at_s);
    let pod_s = |until_s: f64| {
        trace.iter().filter(|sample| sample.at_s <= until_s).map(|sample| f64::from(sample.pods)).sum::<f64>() * tick_s
    };
    let before = std::iter::once(case.least).chain(changes.iter().map(|(_, pods)| *pods));
    let ups = before.zip(&changes).filter(|(before, (_, after))| after > before).count() as u32;
    RunOutcome {
        scaler: kind,
        drained_s: drained_at_s.map(|at_s| at_s - end_s),
        mean_wait_s: trace.iter().map(|sample| sample.lag as f64).sum::<f64>() * tick_s / plant.records() as f64,
        peak_lag: trace.iter().map(|sample| sample.lag).max().unwrap_or(0),
        most_pods: trace.iter().map(|sample| sample.pods).max().unwrap_or(0),
        pod_s_drained: pod_s(drained_at_s.unwrap_or(f64::INFINITY)),
        pod_s: pod_s(f64::INFINITY),
        ups,
        downs: changes.len() as u32 - ups,
        rebalances: plant.rebalances(),
        last_change_s: changes.last().map_or(0.0, |(at_s, _)| *at_s),
        pods_at_end: plant.pods(),
        says: scaler.says().to_vec(),
        changes,
        trace,
    }
}

/// The least, the mean and the most of the seconds until a case is drained, over the phases of what is periodic.
pub(crate) fn spread(case: &Case, kind: Kind) -> (f64, f64, f64) {
    let phases = |period_ms: i64, count: i64| (0..count).map(move |index| index * period_ms / count);
    let all: Vec<Phases> = match kind {
        Kind::Ours => phases(ours::LOOK_MS, 20).map(|look_ms| Phases { look_ms, ..Phases::default() }).collect(),
        _ => phases(keda::POLL_MS, 10)
            .flat_map(|poll_ms| phases(keda::SYNC_MS, 5).map(move |sync_ms| (poll_ms, sync_ms)))
            .map(|(poll_ms, sync_ms)| Phases { poll_ms, sync_ms, ..Phases::default() })
            .collect(),
    };
    let drained: Vec<f64> =
        all.iter().map(|phases| run(case, kind, *phases).drained_s.unwrap_or(f64::INFINITY)).collect();
    let mean = drained.iter().sum::<f64>() / drained.len() as f64;
    (drained.iter().copied().fold(f64::INFINITY, f64::min), mean, drained.iter().copied().fold(0.0, f64::max))
}
