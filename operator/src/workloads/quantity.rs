//! Quantities as Kubernetes reads them: the API server writes `1000m` back as `1`, which is no difference.

/// A quantity in thousandths, rounded up as the API server does with resources. `None`: not a quantity, or beyond all use.
fn thousandths(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (base, exponent): (i128, i32) = match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        other => (10, other.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let power = base.checked_pow(exponent.unsigned_abs())?;
    let (above, below) = if exponent < 0 { (1, power) } else { (power, 1) };
    let below = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(below)?;
    let above = digits.checked_mul(above)?.checked_mul(1000)?;
    Some(above.div_euclid(below) + i128::from(above.rem_euclid(below) != 0))
}

/// Whether two quantities are the same amount.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a == b || thousandths(a).is_some_and(|amount| thousandths(b) == Some(amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_may_be_written_in_several_ways() {
        for (written, stored) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("+1", "1"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1k"),
            ("1E3", "1k"),
            ("1E", "1000P"),
            ("1000k", "1M"),
            ("128974848", "123Mi"),
            ("0.0001", "1m"),
            ("-1000m", "-1"),
        ] {
            assert!(same(written, stored), "{written} is stored as {stored}");
        }
    }

    #[test]
    fn another_amount_is_another_amount() {
        for (a, b) in [
            ("1", "1m"),
            ("1M", "1Mi"),
            ("1G", "1Gi"),
            ("250m", "0.3"),
            ("-1", "1"),
            ("x", "y"),
            ("", "0"),
            ("1e99", "2e99"),
        ] {
            assert!(!same(a, b), "{a} is not {b}");
        }
    }
}
