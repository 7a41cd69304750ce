//! A chart as one small SVG: panels above each other, with the seconds below. Readable on light and on dark. Pure.

use std::fmt::Write;

use super::paper::{begin, legend, put, short};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 745.0;
/// Top and bottom of the two panels.
const FIELDS: [(f64, f64); 2] = [(62.0, 180.0), (204.0, 296.0)];
/// No more points than this in a line.
const POINTS: f64 = 340.0;

/// A chart of two panels over the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// Its first second.
    pub from_s: f64,
    /// Its last second.
    pub until_s: f64,
    /// Times that are shaded, in seconds.
    pub shaded: Vec<(f64, f64)>,
    /// The panels, from above.
    pub panels: [Panel; 2],
    /// What is drawn. The first lies above the others.
    pub series: Vec<Series>,
    /// Below it.
    pub footnote: String,
}

/// A part of a chart with an axis of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What its axis counts.
    pub unit: &'static str,
    /// Where its axis ends.
    pub top: f64,
}

/// One colour, and what is drawn in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// As SVG has it.
    pub colour: &'static str,
    /// Where its entry in the legend begins, from the left end of the panels.
    pub legend_at: f64,
    /// Each with the number of its panel.
    pub lines: Vec<(usize, Line)>,
}

/// Points: seconds, and values.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Straight from one to the next. Points that are too close for the eye are left out.
    Slope(Vec<(f64, f64)>),
    /// Level until the next.
    Stair(Vec<(f64, f64)>),
}

/// Where seconds and values are on the paper.
struct Scale {
    from_s: f64,
    until_s: f64,
    field: (f64, f64),
    top: f64,
}

impl Scale {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + (at_s - self.from_s) / (self.until_s - self.from_s) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.field.1 - value / self.top * (self.field.1 - self.field.0)
    }

    fn shown<'a>(&self, points: &'a [(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let (from_s, until_s) = (self.from_s, self.until_s);
        points.iter().copied().filter(move |(at_s, _)| *at_s >= from_s && *at_s <= until_s)
    }
}

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let [above, below] = [0, 1].map(|panel| Scale {
            from_s: self.from_s,
            until_s: self.until_s,
            field: FIELDS[panel],
            top: self.panels[panel].top,
        });
        let mut out = String::new();
        begin(&mut out, (WIDTH, HEIGHT), LEFT, &self.title, &self.description);
        for (top, bottom) in FIELDS {
            for (from_s, to_s) in &self.shaded {
                let (x, width, height) = (above.x(*from_s), above.x(*to_s) - above.x(*from_s), bottom - top);
                put(
                    &mut out,
                    &format!(
                        r##"<rect x="{x:.1}" y="{top}" width="{width:.1}" height="{height}" fill="#888" fill-opacity=".16"/>"##
                    ),
                );
            }
        }
        grid(&mut out, &above, self.panels[0].unit);
        grid(&mut out, &below, self.panels[1].unit);
        seconds(&mut out, &below, &self.footnote);
        for series in self.series.iter().rev() {
            let Series { name, colour, legend_at, lines } = series;
            for (panel, line) in lines {
                let scale = if *panel == 0 { &above } else { &below };
                let points = match line {
                    Line::Slope(points) => slope(points, scale),
                    Line::Stair(points) => stair(points, scale),
                };
                put(
                    &mut out,
                    &format!(
                        r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>"#
                    ),
                );
            }
            legend(&mut out, (LEFT + legend_at, 40.0), colour, name);
        }
        out.push_str("</svg>\n");
        out
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

fn seconds(out: &mut String, scale: &Scale, footnote: &str) {
    let bottom = scale.field.1;
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
                bottom,
                bottom + 17.0
            ),
        );
        at_s += step;
    }
    let y = bottom + 32.0;
    put(out, &format!(r#"<text x="{RIGHT}" y="{y}" text-anchor="end">{footnote}</text>"#));
}

/// A line through points that are far enough apart; what stays the same is one stretch.
fn slope(all: &[(f64, f64)], scale: &Scale) -> String {
    let apart_s = (scale.until_s - scale.from_s) / POINTS;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut last: Option<(f64, f64)> = None;
    for (at_s, value) in scale.shown(all) {
        let far = points.last().is_none_or(|(before_s, _)| at_s - before_s >= apart_s);
        if far && points.last().is_none_or(|(_, before)| *before != value) {
            // Where it was level until just now, the corner belongs here.
            let corner = last.filter(|last| points.last().is_some_and(|(before_s, _)| last.0 - before_s > apart_s));
            points.extend(corner);
            points.push((at_s, value));
        }
        last = Some((at_s, value));
    }
    points.extend(last);
    line(points.into_iter().map(|(at_s, value)| (scale.x(at_s), scale.y(value))))
}

/// A stair.
fn stair(all: &[(f64, f64)], scale: &Scale) -> String {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<f64> = None;
    let mut end = None;
    for (at_s, value) in scale.shown(all) {
        let here = (scale.x(at_s), scale.y(value));
        if let Some(before) = before.filter(|before| *before != value) {
            points.push((here.0, scale.y(before)));
        }
        if before != Some(value) {
            points.push(here);
        }
        (before, end) = (Some(value), Some(here));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stair_has_its_corners_and_a_level_line_two_ends() {
        let scale = Scale { from_s: -5.0, until_s: 10.0, field: (0.0, 10.0), top: 10.0 };
        let at = |tenth: u32| f64::from(tenth) / 10.0;
        let pods: Vec<(f64, f64)> = (0..=100).map(|tenth| (at(tenth), if tenth < 50 { 0.0 } else { 5.0 })).collect();
        let level: Vec<(f64, f64)> = (0..=100).map(|tenth| (at(tenth), 4.0)).collect();
        assert_eq!(stair(&pods, &scale).split(' ').count(), 4);
        assert_eq!(slope(&level, &scale).split(' ').count(), 2);
    }
}
