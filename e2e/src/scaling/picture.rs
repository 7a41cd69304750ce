//! A picture of a timeline: records, users and coupons above, pods below. Pure.

use super::timeline::Sample;
use stack::plot::{Chart, Line, Panel, Series, rounded_up};

type Pick = fn(&Sample) -> f64;

#[expect(clippy::cast_precision_loss, reason = "counts of a demo")]
const COUNTS: [(&str, &str, Pick); 3] = [
    ("offered", "#8a8f98", |s| s.offered as f64),
    ("issued", "#2a7de1", |s| s.issued as f64),
    ("lag", "#d9480f", |s| s.lag as f64),
];
const PODS: [(&str, &str, Pick); 2] =
    [("wanted", "#8a8f98", |s| f64::from(s.wanted)), ("ready", "#2b8a3e", |s| f64::from(s.ready))];
/// Room for an entry of the legend.
const LEGEND: f64 = 110.0;

/// The picture, as SVG.
pub fn svg(samples: &[Sample]) -> String {
    let until_s = samples.last().map_or(1.0, seconds).max(1.0);
    let most = |lines: &[(&str, &str, Pick)]| {
        lines.iter().flat_map(|(_, _, pick)| samples.iter().map(pick)).fold(1.0, f64::max)
    };
    let line = |panel: usize, pick: Pick| {
        let points = samples.iter().map(|sample| (seconds(sample), pick(sample))).collect();
        (panel, if panel == 0 { Line::Slope(points) } else { Line::Stair(points) })
    };
    let all = COUNTS.iter().map(|each| (0, each)).chain(PODS.iter().map(|each| (1, each)));
    let series = (0..).zip(all).map(|(index, (panel, &(name, colour, pick)))| Series {
        name: name.to_owned(),
        colour,
        legend_at: LEGEND * f64::from(index),
        lines: vec![line(panel, pick)],
    });
    let chart = Chart {
        title: "A sale, and the pods that store it".to_owned(),
        description: "records, coupons and pods over time".to_owned(),
        from_s: 0.0,
        until_s,
        shaded: Vec::new(),
        panels: [
            Panel { unit: "records", top: rounded_up(most(&COUNTS)) },
            Panel { unit: "pods", top: (most(&PODS) / 2.0).ceil() * 2.0 },
        ],
        series: series.collect(),
        footnote: format!("{until_s:.0} s"),
    };
    chart.svg()
}

fn seconds(sample: &Sample) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let ms = sample.at_ms as f64;
    ms / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_the_picture_and_inside_it() {
        let samples = [
            Sample::default(),
            Sample { at_ms: 10_000, offered: 40, issued: 30, lag: 20, wanted: 6, ready: 3, rebalances: 1 },
        ];
        let picture = svg(&samples);
        assert_eq!(picture.matches("<polyline").count(), 5);
        assert!(
            ["offered", "issued", "lag", "wanted", "ready", ">40<", ">6<", ">10 s<"]
                .iter()
                .all(|t| picture.contains(t))
        );
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        svg(&[]);
    }
}
