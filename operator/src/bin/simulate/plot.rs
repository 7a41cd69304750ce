//! One small SVG for each case: what waits above, pods below. Readable on light and on dark.

use std::fmt::Write;

use crate::cases::Case;
use crate::run::{Kind, Outcome, Sample};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 745.0;
/// Top and bottom of the two fields.
const LAG: (f64, f64) = (62.0, 180.0);
const PODS: (f64, f64) = (204.0, 296.0);
/// Where the legend's entries begin, from the left end of the fields.
const LEGEND: [f64; 3] = [0.0, 180.0, 400.0];
/// Seconds that are shown before the first arrival.
const BEFORE_S: f64 = 5.0;
/// No more points than this in a line.
const POINTS: f64 = 340.0;

/// Colours with a contrast of 3 or more to white and to GitHub's dark ground.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "#1f9d63",
        Kind::Keda => "#d9702b",
        Kind::Tuned => "#8172e0",
    }
}

/// Where seconds and numbers are on the paper.
struct Scale {
    until_s: f64,
    field: (f64, f64),
    top: f64,
}

impl Scale {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + (at_s + BEFORE_S) / (self.until_s + BEFORE_S) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.field.1 - value / self.top * (self.field.1 - self.field.0)
    }
}

/// The picture of a case.
pub fn svg(case: &Case, outcomes: &[Outcome]) -> String {
    let end_s = case.curve.end_s();
    let drained = outcomes.iter().filter_map(|outcome| outcome.drained_s).fold(0.0, f64::max);
    let until_s = ((end_s + drained) * 1.15).max(30.0);
    let most = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(1.0, f64::max);
    let lag = Scale { until_s, field: LAG, top: rounded_up(most(|outcome| outcome.peak_lag as f64)) };
    // Even, so that the line in the middle is a number of pods.
    let most_pods = most(|outcome| f64::from(outcome.most_pods));
    let pods = Scale { until_s, field: PODS, top: (most_pods / 2.0).ceil() * 2.0 };
    let mut out = String::new();
    begin(&mut out, case);
    for (top, bottom) in [LAG, PODS] {
        for (from_s, to_s) in case.curve.times() {
            let (x, width, height) = (lag.x(from_s), lag.x(to_s) - lag.x(from_s), bottom - top);
            put(
                &mut out,
                &format!(
                    r##"<rect x="{x:.1}" y="{top}" width="{width:.1}" height="{height}" fill="#888" fill-opacity=".16"/>"##
                ),
            );
        }
    }
    grid(&mut out, &lag, "records waiting");
    grid(&mut out, &pods, "pods");
    seconds(&mut out, &pods);
    for (index, outcome) in outcomes.iter().enumerate().rev() {
        let colour = colour(outcome.scaler);
        let mut line = |points: String| {
            put(
                &mut out,
                &format!(
                    r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>"#
                ),
            );
        };
        line(slope(&outcome.trace, &lag));
        line(steps(&outcome.trace, &pods));
        let x = LEFT + LEGEND[index.min(LEGEND.len() - 1)];
        put(
            &mut out,
            &format!(
                r#"<path d="M{x} 40h18" stroke="{colour}" stroke-width="3"/><text x="{:.1}" y="44">{}</text>"#,
                x + 24.0,
                legend(case, outcome)
            ),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn begin(out: &mut String, case: &Case) {
    put(
        out,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">"#
        ),
    );
    let title = format!("{}: {}", case.name, case.arrivals);
    put(out, &format!("<title>{title}: records waiting and pods over time</title>"));
    put(out, "<style>text{font:12px system-ui,sans-serif;fill:#444}.h{font-weight:600;font-size:14px}");
    put(out, "@media(prefers-color-scheme:dark){text{fill:#c4c9d0}}</style>");
    put(out, &format!(r#"<text class="h" x="{LEFT}" y="20">{title}</text>"#));
}

/// Name, and when its last pod above the least went.
fn legend(case: &Case, outcome: &Outcome) -> String {
    match outcome.pods_at_end == case.least {
        true => format!("{} (at {} from {:.0} s)", outcome.scaler.name(), case.least, outcome.last_change_s),
        false => outcome.scaler.name().to_owned(),
    }
}

fn grid(out: &mut String, scale: &Scale, what: &str) {
    for part in [0.0, 0.5, 1.0] {
        let (value, y) = (scale.top * part, scale.y(scale.top * part));
        put(out, &format!(r##"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="#888" stroke-opacity=".35"/>"##));
        put(
            out,
            &format!(r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 6.0, y + 4.0, short(value)),
        );
    }
    put(out, &format!(r#"<text x="{RIGHT}" y="{:.1}" text-anchor="end">{what}</text>"#, scale.field.0 - 5.0));
}

fn seconds(out: &mut String, scale: &Scale) {
    let step = [5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
    let step = step.into_iter().find(|step| scale.until_s / step <= 10.0).unwrap_or(600.0);
    let mut at_s = 0.0;
    while at_s <= scale.until_s {
        let x = scale.x(at_s);
        let unit = if at_s == 0.0 { " s" } else { "" };
        put(
            out,
            &format!(
                r##"<path d="M{x:.1} {}v4" stroke="#888"/><text x="{x:.1}" y="{}" text-anchor="middle">{at_s:.0}{unit}</text>"##,
                PODS.1,
                PODS.1 + 17.0
            ),
        );
        at_s += step;
    }
    let y = PODS.1 + 32.0;
    put(
        out,
        &format!(r#"<text x="{RIGHT}" y="{y}" text-anchor="end">from the first arrival; shaded: arrivals</text>"#),
    );
}

fn shown(trace: &[Sample], scale: &Scale) -> impl Iterator<Item = Sample> {
    let until_s = scale.until_s;
    trace.iter().copied().filter(move |sample| sample.at_s >= -BEFORE_S && sample.at_s <= until_s)
}

/// A line through samples that are far enough apart; what stays the same is one stretch.
fn slope(trace: &[Sample], scale: &Scale) -> String {
    let apart_s = (scale.until_s + BEFORE_S) / POINTS;
    let mut points: Vec<(f64, u64)> = Vec::new();
    let mut last: Option<Sample> = None;
    for sample in shown(trace, scale) {
        let far = points.last().is_none_or(|(at_s, _)| sample.at_s - at_s >= apart_s);
        if far && points.last().is_none_or(|(_, lag)| *lag != sample.lag) {
            // Where it was level until just now, the corner belongs here.
            if let Some(last) = last.filter(|last| points.last().is_some_and(|(at_s, _)| last.at_s - at_s > apart_s)) {
                points.push((last.at_s, last.lag));
            }
            points.push((sample.at_s, sample.lag));
        }
        last = Some(sample);
    }
    points.extend(last.map(|last| (last.at_s, last.lag)));
    line(points.into_iter().map(|(at_s, lag)| (scale.x(at_s), scale.y(lag as f64))))
}

/// A stair.
fn steps(trace: &[Sample], scale: &Scale) -> String {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<i32> = None;
    let mut end = None;
    for sample in shown(trace, scale) {
        let here = (scale.x(sample.at_s), scale.y(f64::from(sample.pods)));
        if let Some(before) = before.filter(|before| *before != sample.pods) {
            points.push((here.0, scale.y(f64::from(before))));
        }
        if before != Some(sample.pods) {
            points.push(here);
        }
        (before, end) = (Some(sample.pods), Some(here));
    }
    points.extend(end);
    line(points.into_iter())
}

fn line(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.fold(String::new(), |mut text, (x, y)| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{x:.1},{y:.1}", if text.is_empty() { "" } else { " " });
        text
    })
}

/// The next number with one digit or with 1.5 or 2.5 at its front, for the end of an axis.
fn rounded_up(value: f64) -> f64 {
    let unit = 10f64.powf(value.max(1.0).log10().floor());
    let front = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    front.into_iter().map(|front| front * unit).find(|end| *end >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    let thousands = value / 1_000.0;
    match value {
        0.0..1_000.0 => format!("{}", (value * 10.0).round() / 10.0),
        _ => format!("{}k", (thousands * 100.0).round() / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stair_has_its_corners_and_a_level_line_two_ends() {
        let scale = Scale { until_s: 10.0, field: (0.0, 10.0), top: 10.0 };
        let sample = |(tenth, pods): (u32, i32)| Sample { at_s: f64::from(tenth) / 10.0, lag: 4, pods };
        let trace: Vec<Sample> = (0..=100).map(|tenth| sample((tenth, if tenth < 50 { 0 } else { 5 }))).collect();
        assert_eq!(steps(&trace, &scale).split(' ').count(), 4);
        assert_eq!(slope(&trace, &scale).split(' ').count(), 2);
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.2, 7.0, 28_400.0, 30_000.0].map(rounded_up), [1.0, 8.0, 30_000.0, 30_000.0]);
        assert_eq!([0.0, 2.5, 1_500.0, 30_000.0].map(short), ["0", "2.5", "1.5k", "30k"]);
    }
}
