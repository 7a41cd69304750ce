//! What all pictures begin with, and how they write numbers.

/// Adds a line.
pub(super) fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// The head of a picture, its title beginning at `left`. `description`: what it shows, for those who cannot see it.
pub(super) fn begin(out: &mut String, (width, height): (f64, f64), left: f64, title: &str, description: &str) {
    put(
        out,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">"#
        ),
    );
    put(out, &format!("<title>{description}</title>"));
    put(out, "<style>text{font:12px system-ui,sans-serif;fill:#444}.h{font-weight:600;font-size:14px}");
    put(out, "@media(prefers-color-scheme:dark){text{fill:#c4c9d0}}</style>");
    put(out, &format!(r#"<text class="h" x="{left}" y="20">{title}</text>"#));
}

/// An entry of a legend.
pub(super) fn legend(out: &mut String, (x, y): (f64, f64), colour: &str, name: &str) {
    put(
        out,
        &format!(
            r#"<path d="M{x} {y}h18" stroke="{colour}" stroke-width="3"/><text x="{:.1}" y="{}">{name}</text>"#,
            x + 24.0,
            y + 4.0
        ),
    );
}

/// The next number with one digit or with 1.5 or 2.5 at its front, for the end of an axis.
pub fn rounded_up(value: f64) -> f64 {
    let unit = 10f64.powf(value.max(1.0).log10().floor());
    let front = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    front.into_iter().map(|front| front * unit).find(|end| *end >= value).unwrap_or(value)
}

/// A number beside an axis.
pub(super) fn short(value: f64) -> String {
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
    fn axes_end_at_round_numbers() {
        assert_eq!([0.2, 7.0, 28_400.0, 30_000.0].map(rounded_up), [1.0, 8.0, 30_000.0, 30_000.0]);
        assert_eq!([0.0, 2.5, 1_500.0, 30_000.0].map(short), ["0", "2.5", "1.5k", "30k"]);
    }
}
