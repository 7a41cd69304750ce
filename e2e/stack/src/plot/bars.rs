//! A picture of bars from left to right: a row for each name, fields side by side.

use super::paper::{begin, legend, put, rounded_up, short};

const WIDTH: f64 = 760.0;
/// Where the first field begins: to the left of it stand the names.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 715.0;
/// Between two fields, where the numbers behind the bars stand.
const GAP: f64 = 62.0;
/// Where the first row begins.
const TOP: f64 = 84.0;
/// Of a bar, and between two rows.
const BAR: f64 = 11.0;
const SPACE: f64 = 9.0;
/// Room for an entry of the legend.
const ENTRY: f64 = 84.0;

/// A picture of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// Of the rows, from above.
    pub names: Vec<String>,
    /// From the left.
    pub fields: Vec<Field>,
    /// Below it.
    pub footnote: String,
}

/// A part of the picture with an axis of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// What its axis counts.
    pub unit: &'static str,
    /// Its axis.
    pub axis: Axis,
    /// What is drawn in it, by colour.
    pub kinds: Vec<Kind>,
    /// For each row a value of each kind, if there is one.
    pub rows: Vec<Vec<Option<f64>>>,
}

/// How values become lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// From 0, one bar below the other.
    Linear,
    /// From 0, one bar behind the other: the sum counts.
    Stacked,
    /// By powers of ten from this one on, one bar below the other.
    Logarithmic(f64),
}

/// One colour, and what is drawn in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// For the legend; nothing where there is only one.
    pub name: &'static str,
    /// As SVG has it.
    pub colour: &'static str,
}

/// Where values are on the paper.
struct Scale {
    axis: Axis,
    left: f64,
    right: f64,
    top: f64,
}

impl Scale {
    fn of(field: &Field, (left, right): (f64, f64)) -> Self {
        let of_row = |row: &Vec<Option<f64>>| match field.axis {
            Axis::Stacked => row.iter().flatten().sum(),
            Axis::Linear | Axis::Logarithmic(_) => row.iter().flatten().copied().fold(0.0, f64::max),
        };
        let most = field.rows.iter().map(of_row).fold(0.0, f64::max);
        let top = match field.axis {
            Axis::Linear | Axis::Stacked => rounded_up(most),
            Axis::Logarithmic(from) => 10f64.powf(most.max(10.0 * from).log10().ceil()),
        };
        Self { axis: field.axis, left, right, top }
    }

    fn x(&self, value: f64) -> f64 {
        let part = match self.axis {
            Axis::Linear | Axis::Stacked => value / self.top,
            Axis::Logarithmic(from) => (value.max(from) / from).log10() / (self.top / from).log10(),
        };
        self.left + part * (self.right - self.left)
    }

    /// The values beside which a line is drawn.
    fn marks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Linear | Axis::Stacked => vec![0.0, self.top / 2.0, self.top],
            Axis::Logarithmic(from) => std::iter::successors(Some(from), |mark| Some(mark * 10.0))
                .take_while(|mark| *mark <= self.top * 1.001)
                .collect(),
        }
    }
}

impl Bars {
    /// The picture.
    pub fn svg(&self) -> String {
        let bars = |field: &Field| if field.axis == Axis::Stacked { 1 } else { field.kinds.len() };
        let most = self.fields.iter().map(bars).max().unwrap_or(1) as f64;
        let step = most * BAR + SPACE;
        let bottom = TOP + step * self.names.len() as f64;
        let mut out = String::new();
        begin(&mut out, (WIDTH, bottom + 42.0), 12.0, &self.title, &self.description);
        let fields = self.fields.len().max(1) as f64;
        let width = (RIGHT - LEFT - GAP * (fields - 1.0)) / fields;
        for (number, field) in (0..).zip(&self.fields) {
            let left = LEFT + f64::from(number) * (width + GAP);
            draw(&mut out, field, &Scale::of(field, (left, left + width)), (step, bottom));
        }
        for (number, name) in (0..).zip(&self.names) {
            let y = TOP + step * (f64::from(number) + 0.5) - SPACE / 2.0 + 4.0;
            put(&mut out, &format!(r#"<text x="{}" y="{y:.1}" text-anchor="end">{name}</text>"#, LEFT - 10.0));
        }
        put(&mut out, &format!(r#"<text x="12" y="{:.1}">{}</text>"#, bottom + 34.0, self.footnote));
        out.push_str("</svg>\n");
        out
    }
}

fn draw(out: &mut String, field: &Field, scale: &Scale, (step, bottom): (f64, f64)) {
    put(out, &format!(r#"<text x="{}" y="44">{}</text>"#, scale.left, field.unit));
    for (number, kind) in (0..).zip(field.kinds.iter().filter(|kind| !kind.name.is_empty())) {
        legend(out, (scale.left + ENTRY * f64::from(number), 60.0), kind.colour, kind.name);
    }
    for mark in scale.marks() {
        let x = scale.x(mark);
        put(out, &format!(r##"<path d="M{x:.1} {}V{bottom:.1}" stroke="#888" stroke-opacity=".35"/>"##, TOP - 6.0));
        put(out, &format!(r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#, bottom + 14.0, short(mark)));
    }
    for (number, row) in (0..).zip(&field.rows) {
        let above = TOP + step * f64::from(number);
        match field.axis {
            Axis::Stacked => stack(out, row, &field.kinds, scale, above + (step - SPACE - BAR) / 2.0),
            Axis::Linear | Axis::Logarithmic(_) => {
                let first = above + (step - SPACE - BAR * field.kinds.len() as f64) / 2.0;
                for (place, (value, kind)) in (0..).zip(row.iter().zip(&field.kinds)) {
                    let Some(value) = value else { continue };
                    let y = first + BAR * f64::from(place);
                    bar(out, (scale.left, scale.x(*value)), y, kind.colour);
                    behind(out, scale.x(*value), y, *value);
                }
            }
        }
    }
}

/// One bar behind the other, and the sum behind all.
fn stack(out: &mut String, row: &[Option<f64>], kinds: &[Kind], scale: &Scale, y: f64) {
    let mut sum = 0.0;
    for (value, kind) in row.iter().zip(kinds) {
        let from = scale.x(sum);
        sum += value.unwrap_or(0.0);
        bar(out, (from, scale.x(sum)), y, kind.colour);
    }
    if row.iter().any(Option::is_some) {
        behind(out, scale.x(sum), y, sum);
    }
}

fn bar(out: &mut String, (from, to): (f64, f64), y: f64, colour: &str) {
    let (width, height) = ((to - from).max(0.0), BAR - 1.5);
    put(out, &format!(r#"<rect x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{height}" fill="{colour}"/>"#));
}

fn behind(out: &mut String, x: f64, y: f64, value: f64) {
    put(
        out,
        &format!(r#"<text x="{:.1}" y="{:.1}" style="font-size:10px">{}</text>"#, x + 4.0, y + BAR - 2.5, short(value)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [Kind { name: "one", colour: "#111" }, Kind { name: "two", colour: "#222" }];

    fn picture(axis: Axis, rows: Vec<Vec<Option<f64>>>) -> String {
        let field = Field { unit: "us", axis, kinds: KINDS.into(), rows };
        let names = vec!["bare".to_owned(), "ours".to_owned()];
        let (title, description, footnote) = ("a".to_owned(), "b".to_owned(), "c".to_owned());
        Bars { title, description, names, fields: vec![field], footnote }.svg()
    }

    #[test]
    fn every_value_has_a_bar_and_what_is_missing_has_none() {
        for (axis, bars) in [(Axis::Linear, 3), (Axis::Stacked, 4), (Axis::Logarithmic(1.0), 3)] {
            let svg = picture(axis, vec![vec![Some(3.0), Some(40.0)], vec![Some(5.0), None]]);
            assert_eq!(svg.matches("<rect").count(), bars, "{axis:?}");
            assert!([">bare<", ">ours<", ">one<", ">two<", ">us<"].iter().all(|text| svg.contains(text)), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let sums = picture(Axis::Stacked, vec![vec![Some(3.0), Some(4.0)], vec![None, None]]);
        assert!(sums.contains(">7</text>"), "{sums}");
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let scale = |axis| Scale { axis, left: 100.0, right: 200.0, top: 1_000.0 };
        assert_eq!([0.0, 500.0, 1_000.0].map(|value| scale(Axis::Linear).x(value)), [100.0, 150.0, 200.0]);
        let tens = scale(Axis::Logarithmic(1.0));
        assert_eq!([0.1, 1.0, 1_000.0].map(|value| tens.x(value)), [100.0, 100.0, 200.0]);
        assert!((tens.x(10.0) - 133.33).abs() < 0.01);
        assert_eq!(tens.marks(), [1.0, 10.0, 100.0, 1_000.0]);
    }
}
