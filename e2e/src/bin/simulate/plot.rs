//! One picture for each case: what waits above, pods below.

use stack::plot::{Chart, Line, Panel, Series, rounded_up};

use crate::cases::Case;
use crate::run::{Kind, RunOutcome};

/// Where the legend's entries begin, from the left end of the panels.
const LEGEND: [f64; 3] = [0.0, 180.0, 400.0];
/// Seconds that are shown before the first arrival.
const BEFORE_S: f64 = 5.0;

/// Colours with a contrast of 3 or more to white and to GitHub's dark ground.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "#1f9d63",
        Kind::Keda => "#d9702b",
        Kind::Tuned => "#8172e0",
    }
}

/// The picture of a case.
pub(crate) fn svg(case: &Case, outcomes: &[RunOutcome]) -> String {
    let end_s = case.curve.end_s();
    let drained = outcomes.iter().filter_map(|outcome| outcome.drained_s).fold(0.0, f64::max);
    let most = |of: fn(&RunOutcome) -> f64| outcomes.iter().map(of).fold(1.0, f64::max);
    let most_pods = most(|outcome| f64::from(outcome.most_pods));
    let title = format!("{}: {}", case.name, case.arrivals);
    let series = outcomes.iter().enumerate().map(|(index, outcome)| {
        let lag = outcome.trace.iter().map(|sample| (sample.at_s, sample.lag as f64)).collect();
        let pods = outcome.trace.iter().map(|sample| (sample.at_s, f64::from(sample.pods))).collect();
        Series {
            name: legend(case, outcome),
            colour: colour(outcome.scaler),
            legend_at: LEGEND[index.min(LEGEND.len() - 1)],
            lines: vec![(0, Line::Slope(lag)), (1, Line::Stair(pods))],
        }
    });
    let chart = Chart {
        description: format!("{title}: records waiting and pods over time"),
        title,
        from_s: -BEFORE_S,
        until_s: ((end_s + drained) * 1.15).max(30.0),
        shaded: case.curve.times(),
        panels: [
            Panel { unit: "records waiting", top: rounded_up(most(|outcome| outcome.peak_lag as f64)) },
            // Even, so that the line in the middle is a number of pods.
            Panel { unit: "pods", top: (most_pods / 2.0).ceil() * 2.0 },
        ],
        series: series.collect(),
        footnote: "from the first arrival; shaded: arrivals".to_owned(),
    };
    chart.svg()
}

/// Name, and when its last pod above the least went.
fn legend(case: &Case, outcome: &RunOutcome) -> String {
    match outcome.pods_at_end == case.least {
        true => format!("{} (at {} from {:.0} s)", outcome.scaler.name(), case.least, outcome.last_change_s),
        false => outcome.scaler.name().to_owned(),
    }
}
