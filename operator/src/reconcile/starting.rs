//! Whether pods that are missing are those that were just added: they are given the time that a start takes before they count as a fault,
//! as a Deployment that is scaled by hand is given. A pod that was there and is gone gets none. Pure.

use std::time::{Duration, Instant};

use super::replicas::{DesiredReplicas, ReplicaCount};

/// Starts that take no longer need nobody, whatever was measured before.
const LEAST: Duration = Duration::from_secs(30);
/// So many times as long as starts have taken so far one may take: nodes pull images, and are busy.
const SLOWER: u64 = 2;
/// And no longer than this. As long as the longest start that is learned, and as much again.
const MOST: Duration = Duration::from_secs(90);

/// Whether the pods that are missing were just added, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Starting {
    pub(crate) issuer: bool,
    pub(crate) consumer: bool,
}

/// Pods of one kind: how many of them were ready, and since when more are wanted. Losing it costs the patience with a start that is under
/// way, nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StartWatch {
    /// So many were ready when so many were wanted, or have come up since; unknown before they were so for the first time.
    had: Option<i32>,
    /// Since when fewer are ready than are wanted.
    since: Option<Instant>,
}

impl StartWatch {
    /// Takes in a pass; whether all pods that are missing are new ones, and have not been missing for long.
    pub(crate) fn observe(&mut self, wanted: &DesiredReplicas, there: ReplicaCount, now: Instant) -> bool {
        if there.ready >= wanted.replicas {
            *self = Self { had: Some(wanted.replicas), since: None };
            return false;
        }
        let Some(had) = self.had else { return false };
        self.had = Some(had.max(there.ready));
        let since = *self.since.get_or_insert(now);
        there.ready >= had && now.saturating_duration_since(since) < patience(wanted)
    }
}

/// How long a start may take.
fn patience(wanted: &DesiredReplicas) -> Duration {
    let learned = wanted.figures.as_ref().and_then(|figures| figures.start_up_seconds);
    let seconds = learned.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    Duration::from_secs(seconds.saturating_mul(SLOWER)).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ScalingFigures;

    fn wanted(replicas: i32, start_up_seconds: Option<i64>) -> DesiredReplicas {
        let figures = ScalingFigures {
            arrival_per_second: None,
            done_per_second: None,
            per_pod: None,
            start_up_seconds,
            at_work: None,
        };
        let reason = "as many as the work needs".to_owned();
        DesiredReplicas { replicas, reason, figures: Some(figures), is_left_alone: false, stopped: None, hot: None }
    }

    /// Wrong: a winner asks again after the sale, and the campaign is not ready for as long as a consumer takes to start. Wrong, too: one that
    /// never comes up is starting for ever; one that is lost is starting; a new campaign is ready before its first pods are.
    #[test]
    fn pods_that_were_added_are_given_the_time_of_a_start_and_others_none() {
        // At a second so many are ready, of so many that are wanted: whether those that are missing may be starting.
        type Seen = (u64, i32, i32, bool);
        let cases: [(&str, Option<i64>, &[Seen]); 8] = [
            ("from nothing", None, &[(0, 0, 0, false), (2, 0, 1, true), (6, 0, 1, true), (8, 1, 1, false)]),
            ("it does not come up", None, &[(0, 0, 0, false), (2, 0, 1, true), (31, 0, 1, true), (32, 0, 1, false)]),
            (
                "it comes up late, and the next one is another",
                None,
                &[(0, 0, 0, false), (2, 0, 1, true), (90, 0, 1, false), (91, 1, 1, false), (92, 1, 2, true)],
            ),
            (
                "starts are slow here",
                Some(40),
                &[(0, 0, 0, false), (2, 0, 1, true), (81, 0, 1, true), (82, 0, 1, false)],
            ),
            ("more than is believed", Some(900), &[(0, 0, 0, false), (2, 0, 1, true), (92, 0, 1, false)]),
            ("one of two is lost", None, &[(0, 2, 2, false), (2, 1, 2, false), (4, 2, 2, false)]),
            ("one is lost while a third is added", None, &[(0, 2, 2, false), (2, 2, 3, true), (4, 1, 3, false)]),
            ("of a new campaign nobody was there", None, &[(0, 0, 1, false), (2, 0, 1, false), (4, 1, 1, false)]),
        ];
        for (what, learned, seen) in cases {
            let (mut watch, begin) = (StartWatch::default(), Instant::now());
            for (second, ready, replicas, expected) in seen {
                let there = ReplicaCount { current: *replicas, ready: *ready };
                let starting = watch.observe(&wanted(*replicas, learned), there, begin + Duration::from_secs(*second));
                assert_eq!(starting, *expected, "{what}, at {second} s");
            }
        }
    }

    #[test]
    fn one_that_came_up_and_went_is_lost() {
        let (mut watch, now) = (StartWatch::default(), Instant::now());
        for (ready, replicas, expected) in [(0, 0, false), (0, 3, true), (2, 3, true), (1, 3, false)] {
            let there = ReplicaCount { current: replicas, ready };
            assert_eq!(watch.observe(&wanted(replicas, None), there, now), expected, "{ready} of {replicas}");
        }
    }
}
