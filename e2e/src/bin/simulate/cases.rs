//! The sales that are played.

use operator::scaling::UTILISATION;
use operator::scaling::estimates::CAPACITY_SEED;
use operator::scaling::useful_counts;

use crate::arrivals::{Curve, Stretch};
use crate::plant::Settings;

/// The default of `consumer.drainTargetSeconds`.
const DRAIN_TARGET_S: f64 = 30.0;
/// How long before the window its pods are there, in seconds: their start and some margin.
const LEAD_S: f64 = 15.0;
/// Records per second, ten seconds each, 20 on average: people who come now and then.
const TRICKLE: [f64; 10] = [8.0, 35.0, 14.0, 22.0, 41.0, 5.0, 18.0, 27.0, 11.0, 19.0];

/// Pods for the window of a sale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    /// From when on, in seconds before the first arrival.
    pub(crate) lead_s: f64,
    /// So many.
    pub(crate) pods: i32,
}

/// One sale.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// In file names.
    pub(crate) slug: &'static str,
    /// In tables.
    pub(crate) name: &'static str,
    /// The arrivals, in words.
    pub(crate) arrivals: &'static str,
    /// The plant.
    pub(crate) settings: Settings,
    /// When winners come.
    pub(crate) curve: Curve,
    /// Pods that are always there: the floor of ours, `minReplicaCount` of KEDA.
    pub(crate) least: i32,
    /// Pods for the window; KEDA knows of no window, so such a case is played without it.
    pub(crate) plan: Option<Plan>,
    /// How fast a backlog should be gone, in seconds.
    pub(crate) drain_s: f64,
}

impl Case {
    fn new(slug: &'static str, name: &'static str, arrivals: &'static str, curve: Curve) -> Self {
        let settings = Settings { partitions: 12, per_pod: 500.0, database: None };
        Self { slug, name, arrivals, settings, curve, least: 0, plan: None, drain_s: DRAIN_TARGET_S }
    }
}

/// 30,000 winners at once.
pub(crate) fn flash() -> Case {
    Case::new("flash", "flash", "30,000 in 3 s", Curve::steps(3.0, &[10_000.0]))
}

/// The same, with one pod waiting.
pub(crate) fn flash_waiting() -> Case {
    Case { slug: "flash-waiting", name: "flash, one pod waits", least: 1, ..flash() }
}

/// The same, with pods for the window: so many that all coupons would be stored within the drain target.
pub(crate) fn flash_planned() -> Case {
    let case = flash();
    let winners = case.curve.end_offset(case.curve.end_s(), 0, 1) as f64;
    let need = winners / case.drain_s / (CAPACITY_SEED * UTILISATION);
    let pods = useful_counts::enough(need, case.settings.partitions as i32);
    Case { slug: "flash-planned", name: "flash, planned", plan: Some(Plan { lead_s: LEAD_S, pods }), ..case }
}

/// The same, with pods that do four times what they are taken for at first.
pub(crate) fn flash_fast() -> Case {
    let case = flash();
    let settings = Settings { per_pod: 2_000.0, ..case.settings };
    Case { slug: "flash-fast", name: "flash, fast pods", settings, ..case }
}

/// More and more, for two minutes.
pub(crate) fn ramp() -> Case {
    let curve = Curve::of(vec![Stretch { from_s: 0.0, to_s: 120.0, first: 0.0, last: 3_000.0 }]);
    Case::new("ramp", "ramp", "0 to 3,000/s in 120 s", curve)
}

/// Two rushes.
pub(crate) fn double() -> Case {
    let peak = |from_s: f64| Stretch { from_s, to_s: from_s + 5.0, first: 4_000.0, last: 4_000.0 };
    Case::new("double", "double peak", "20,000 in 5 s, again at 90 s", Curve::of(vec![peak(0.0), peak(90.0)]))
}

/// A quarter of an hour in which hardly anybody comes.
pub(crate) fn trickle() -> Case {
    let rates: Vec<f64> = TRICKLE.iter().copied().cycle().take(90).collect();
    Case::new("trickle", "trickle", "5 to 41/s for 15 min", Curve::steps(10.0, &rates))
}

/// Nearly all in one partition, which is more than one pod's work.
pub(crate) fn hot() -> Case {
    let curve = Curve::steps(60.0, &[1_000.0]).hot(0.8);
    Case::new("hot", "hot partition", "1,000/s for 60 s, 82 % in one", curve)
}

/// A database that takes what three pods store.
pub(crate) fn slow() -> Case {
    let case = Case::new("slow", "slow database", "2,000/s for 120 s", Curve::steps(120.0, &[2_000.0]));
    Case { settings: Settings { partitions: 24, database: Some(1_500.0), ..case.settings }, ..case }
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    vec![flash(), flash_waiting(), flash_planned(), flash_fast(), ramp(), double(), trickle(), hot(), slow()]
}
