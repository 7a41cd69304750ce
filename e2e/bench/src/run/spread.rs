//! The median of a few rounds, and how far they are apart. Pure.

use serde::Serialize;

/// Of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The one in the middle; of an even number the mean of the two.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) min: f64,
    /// The highest.
    pub(crate) max: f64,
}

impl Spread {
    /// Nothing of no figures.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), min, max })
    }

    /// For a table.
    pub(crate) fn shown(&self) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(shown);
        if min == max { median } else { format!("{median} ({min}..{max})") }
    }
}

/// A figure with three digits that say something; whole ones as they are, and above a thousand all are.
pub(crate) fn shown(figure: f64) -> String {
    match figure.abs() {
        1000.0.. => thousands(figure),
        _ if figure.fract() == 0.0 => format!("{figure:.0}"),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn thousands(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = if figure < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|of| of.median), Some(2.5));
        assert_eq!(Spread::of(vec![7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
    }

    #[test]
    fn figures_are_short() {
        let expected = ["0", "3", "0.12", "1.50", "17.8", "152", "23,346", "1,000,000", "-1,500"];
        assert_eq!([0.0, 3.0, 0.123, 1.5, 17.84, 152.4, 23_345.6, 1e6, -1500.0].map(shown), expected);
        assert_eq!(Spread { median: 2.0, min: 1.25, max: 3.0 }.shown(), "2 (1.25..3)");
        assert_eq!(Spread { median: 2.0, min: 2.0, max: 2.0 }.shown(), "2");
    }
}
