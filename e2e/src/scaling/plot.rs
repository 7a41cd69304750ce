//! A picture of a timeline, as SVG. Pure.

use std::fmt::Write as _;

use super::timeline::Sample;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 40.0;

type Pick = fn(&Sample) -> f64;

/// Records, people and coupons above; pods below.
pub fn svg(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, seconds).max(1.0);
    #[expect(clippy::cast_precision_loss, reason = "counts of a demo")]
    let counts: [(&str, &str, Pick); 3] = [
        ("offered", "#8a8f98", |s| s.offered as f64),
        ("issued", "#2a7de1", |s| s.issued as f64),
        ("lag", "#d9480f", |s| s.lag as f64),
    ];
    let pods: [(&str, &str, Pick); 2] =
        [("wanted", "#8a8f98", |s| f64::from(s.wanted)), ("ready", "#2b8a3e", |s| f64::from(s.ready))];
    let height = 2.0 * PANEL + 3.0 * GAP;
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {height}' font-family='sans-serif' font-size='12' \
         fill='#8a8f98'>\n",
        WIDTH + LEFT + 20.0
    );
    panel(&mut text, samples, end, GAP, &counts);
    panel(&mut text, samples, end, PANEL + 2.0 * GAP, &pods);
    let _ = writeln!(text, "<text x='{LEFT}' y='{}'>0 s</text>", height - 20.0);
    let _ = writeln!(text, "<text x='{}' y='{}' text-anchor='end'>{end:.0} s</text>", LEFT + WIDTH, height - 20.0);
    text + "</svg>\n"
}

fn seconds(sample: &Sample) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let ms = sample.at_ms as f64;
    ms / 1000.0
}

fn panel(text: &mut String, samples: &[Sample], end: f64, top: f64, lines: &[(&str, &str, Pick)]) {
    let most = lines.iter().flat_map(|(_, _, pick)| samples.iter().map(pick)).fold(1.0, f64::max);
    let bottom = top + PANEL;
    let _ = writeln!(text, "<path d='M{LEFT} {top}V{bottom}H{}' stroke='#8a8f98' fill='none'/>", LEFT + WIDTH);
    let _ = writeln!(text, "<text x='{}' y='{}' text-anchor='end'>{most:.0}</text>", LEFT - 6.0, top + 10.0);
    let _ = writeln!(text, "<text x='{}' y='{bottom}' text-anchor='end'>0</text>", LEFT - 6.0);
    for (index, (name, colour, pick)) in (0..).zip(lines) {
        let points: Vec<String> = samples
            .iter()
            .map(|sample| {
                let (x, y) = (LEFT + seconds(sample) / end * WIDTH, bottom - pick(sample) / most * PANEL);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ =
            writeln!(text, "<polyline points='{}' stroke='{colour}' fill='none' stroke-width='2'/>", points.join(" "));
        let x = LEFT + 10.0 + 90.0 * f64::from(index);
        let _ = writeln!(text, "<text x='{x}' y='{}' fill='{colour}'>{name}</text>", top - 8.0);
    }
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
