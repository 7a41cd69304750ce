//! KEDA's Kafka scaler with the HorizontalPodAutoscaler (HPA) that it makes, with their documented defaults.
//!
//! Sources:
//! - KEDA: <https://keda.sh/docs/latest/reference/scaledobject-spec/> (`pollingInterval`, `cooldownPeriod`),
//!   <https://keda.sh/docs/latest/scalers/apache-kafka/> (`lagThreshold`, cap at the partitions), and its code,
//!   `pkg/scalers/kafka_scaler.go` and `pkg/scaling/executor/scale_scaledobjects.go`;
//! - HPA: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/> (sync period, tolerance, default
//!   `behavior`), and its code, `pkg/controller/podautoscaler/` of Kubernetes 1.36: `GetExternalPerPodMetricReplicas`,
//!   `stabilizeRecommendationWithBehaviors`, `calculateScaleUpLimitWithScalingRules`.
//!
//! Where there is a choice it is the kinder one. KEDA leaves the HPA's `behavior` out, and for such an HPA the code of 1.36
//! grows to max(2 x current, 4) only (1, 4, 8, 16, 24), and goes on growing to the highest number that it thought of in the last
//! 300 s. Here it grows as documented: by 100 % or 4 pods, whichever is more (1, 5, 10, 20, 24). A sync never comes late, and no
//! reading fails. `offsetResetPolicy` is `earliest`, as the consumers need it.

use std::collections::VecDeque;

use operator::scaling::reading::Reading;

use crate::scaler::{Scaler, View, due};

/// `pollingInterval`, in milliseconds. Between none and one pod only: from one on, the HPA asks by itself.
pub(crate) const POLL_MS: i64 = 30_000;
/// `cooldownPeriod`, in milliseconds: so long after the last poll with lag, the last pods go.
const COOLDOWN_MS: i64 = 300_000;
/// `lagThreshold`, in records for each pod.
pub(crate) const LAG_THRESHOLD: f64 = 10.0;
/// `--horizontal-pod-autoscaler-sync-period`, in milliseconds.
pub(crate) const SYNC_MS: i64 = 15_000;
/// `--horizontal-pod-autoscaler-tolerance`: a ratio this near to 1 changes nothing.
const TOLERANCE: f64 = 0.1;
/// `behavior.scaleUp.policies`: so many pods in each period of 15 s, which is that of the syncs,
const GROWTH_PODS: i32 = 4;
/// or so many times the pods, whichever is more.
const GROWTH_FACTOR: i32 = 2;
/// `behavior.scaleDown.stabilizationWindowSeconds`, in milliseconds. Once allowed, 100 % may go.
const STABILIZATION_MS: i64 = 300_000;

/// A ScaledObject and its HPA.
#[derive(Debug, Clone)]
pub(crate) struct Keda {
    /// Records for each pod.
    threshold: f64,
    /// `minReplicaCount`.
    least: i32,
    poll_phase_ms: i64,
    sync_phase_ms: i64,
    last_active_ms: Option<i64>,
    /// What the HPA thought of in the last 300 s, before any limit.
    thoughts: VecDeque<(i64, i32)>,
}

impl Keda {
    /// With a `lagThreshold`, a `minReplicaCount`, and when polls and syncs happen (milliseconds after a multiple of their
    /// periods).
    pub(crate) fn new(threshold: f64, least: i32, poll_phase_ms: i64, sync_phase_ms: i64) -> Self {
        Self { threshold, least, poll_phase_ms, sync_phase_ms, last_active_ms: None, thoughts: VecDeque::new() }
    }

    /// KEDA's own loop: from none to one, and back to none.
    fn poll(&mut self, now_ms: i64, lag: i64, pods: i32) -> i32 {
        if lag > 0 {
            self.last_active_ms = Some(now_ms);
            return if pods == 0 { self.least.max(1) } else { pods };
        }
        let cold = self.last_active_ms.is_none_or(|last| now_ms - last > COOLDOWN_MS);
        match pods > 0 && self.least == 0 && cold {
            true => 0,
            false => pods.max(self.least),
        }
    }

    /// One sync of the HPA.
    fn sync(&mut self, now_ms: i64, lag: i64, partitions: usize, pods: i32) -> i32 {
        if pods == 0 {
            return 0;
        }
        // The metric says no more than one threshold for each partition.
        let metric = (lag as f64).min(self.threshold * partitions as f64);
        let ratio = metric / (self.threshold * f64::from(pods));
        let thought = if (ratio - 1.0).abs() <= TOLERANCE { pods } else { (metric / self.threshold).ceil() as i32 };
        while self.thoughts.front().is_some_and(|(at_ms, _)| now_ms - at_ms >= STABILIZATION_MS) {
            self.thoughts.pop_front();
        }
        let highest = self.thoughts.iter().map(|(_, thought)| *thought).fold(thought, i32::max);
        self.thoughts.push_back((now_ms, thought));
        let stable = pods.max(thought).min(highest);
        stable.min((pods * GROWTH_FACTOR).max(pods + GROWTH_PODS)).max(self.least.max(1))
    }
}

impl Scaler for Keda {
    fn decide(&mut self, view: &View<'_>) -> i32 {
        let mut pods = view.pods;
        let lag = lag(view.reading);
        if due(view.now_ms, POLL_MS, self.poll_phase_ms) {
            pods = self.poll(view.now_ms, lag, pods);
        }
        if due(view.now_ms, SYNC_MS, self.sync_phase_ms) {
            pods = self.sync(view.now_ms, lag, view.reading.partitions.len(), pods);
        }
        pods
    }
}

/// As KEDA adds it up: where nothing was committed, and with `earliest`, the whole end offset.
fn lag(reading: &Reading) -> i64 {
    reading.partitions.values().map(|each| each.end - each.committed.unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keda(threshold: f64) -> Keda {
        Keda::new(threshold, 0, 0, 0)
    }

    /// Numbers after each of the syncs, with these lags.
    fn syncs(keda: &mut Keda, partitions: usize, pods: i32, lags: &[i64]) -> Vec<i32> {
        let mut pods = pods;
        let mut now_ms = 0;
        lags.iter()
            .map(|lag| {
                now_ms += SYNC_MS;
                pods = keda.sync(now_ms, *lag, partitions, pods);
                pods
            })
            .collect()
    }

    #[test]
    fn growth_takes_four_syncs_to_24() {
        assert_eq!(syncs(&mut keda(10.0), 24, 1, &[100_000; 6]), [5, 10, 20, 24, 24, 24]);
        assert_eq!(syncs(&mut keda(10.0), 12, 1, &[100_000; 4]), [5, 10, 12, 12]);
    }

    #[test]
    fn it_is_stuck_below_the_partitions_where_the_ratio_is_within_tolerance() {
        // 24 / 22 is 1.09. (KEDA issues 2908 and 4791.)
        assert_eq!(syncs(&mut keda(10.0), 24, 22, &[1_000_000; 3]), [22; 3]);
        assert_eq!(syncs(&mut keda(10.0), 24, 21, &[1_000_000; 2]), [24; 2], "24 / 21 is 1.14");
        assert_eq!(syncs(&mut keda(100.0), 24, 5, &[540, 560]), [5, 6], "1.08, then 1.12");
    }

    #[test]
    fn down_waits_for_300_s_and_goes_all_at_once() {
        let mut keda = keda(10.0);
        let mut lags = vec![120; 2];
        lags.extend([0; 22]);
        let found = syncs(&mut keda, 12, 12, &lags);
        // The last sync with lag is at 30 s, so 315 s is 285 s later, and 330 s is the first that may.
        assert_eq!(found[..21], [12; 21]);
        assert_eq!(found[21..], [1; 3]);
    }

    #[test]
    fn polls_bring_the_first_pod_and_take_the_last_after_the_cooldown() {
        let mut keda = keda(10.0);
        assert_eq!(keda.poll(0, 0, 0), 0);
        assert_eq!(keda.sync(0, 50_000, 12, 0), 0, "at none, the HPA is off");
        assert_eq!(keda.poll(30_000, 1, 0), 1);
        assert_eq!(keda.poll(60_000, 500, 7), 7, "more is the HPA's matter");
        assert_eq!(keda.poll(360_000, 0, 1), 1);
        assert_eq!(keda.poll(390_000, 0, 1), 0);
        assert_eq!(Keda::new(10.0, 1, 0, 0).poll(900_000, 0, 1), 1, "minReplicaCount");
    }
}
