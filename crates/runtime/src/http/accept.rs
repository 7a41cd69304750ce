//! Which shape of a failure a client likes better, by its `Accept`: RFC 9110, section 12.5.1.

use axum::http::{HeaderMap, header};

/// The media type of RFC 9457.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Whether a client names [`PROBLEM`], and likes nothing better that JSON goes by. One that says nothing, or that takes whatever
/// comes, gets what all got before there was a choice.
pub(super) fn likes_problems(fields: &HeaderMap) -> bool {
    let lines = || fields.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let names =
        |line: &str| line.as_bytes().windows(PROBLEM.len()).any(|at| at.eq_ignore_ascii_case(PROBLEM.as_bytes()));
    lines().any(names) && likes_better(lines())
}

fn likes_better<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let mut problem = 0;
    // The most specific range decides: RFC 9110 again.
    let mut json = [None; 3];
    for (media, quality) in lines.flat_map(|line| pieces(line, ',')).filter_map(range) {
        if media.eq_ignore_ascii_case(PROBLEM) {
            problem = problem.max(quality);
        }
        let of_json = ["application/json", "application/*", "*/*"];
        if let Some(at) = of_json.iter().position(|range| media.eq_ignore_ascii_case(range)) {
            json[at] = json[at].max(Some(quality));
        }
    }
    problem > 0 && problem >= json.into_iter().flatten().next().unwrap_or(0)
}

/// A media range without its parameters, and its quality in thousandths. One whose quality is none is no range.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = pieces(text, ';').map(str::trim);
    let media = parts.next()?;
    let quality = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    Some((media, quality.map_or(Some(1_000), |(_, value)| thousandths(value.trim()))?))
}

/// `0`, `0.5`, `0.125`, `1`, `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (value <= 1_000).then_some(value)
}

/// The parts of a text between `separator`s that stand in no quoted text.
fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn who_asks_for_problems_gets_them_and_nobody_else() {
        for (accept, expected) in [
            (vec![], false),
            (vec![""], false),
            (vec!["*/*"], false),
            (vec!["application/*"], false),
            (vec!["application/json"], false),
            (vec!["text/html,application/xhtml+xml,*/*;q=0.8"], false),
            (vec!["application/problem+json"], true),
            (vec!["Application/Problem+JSON; charset=utf-8"], true),
            (vec!["application/json, application/problem+json"], true),
            (vec!["application/json", "application/problem+json"], true),
            (vec!["application/problem+json, */*;q=0.1"], true),
            (vec!["application/problem+json;q=0.9, application/json;q=0.8, */*"], true),
            (vec!["application/problem+json;q=0.5, application/json"], false),
            (vec!["application/problem+json;q=0.9, */*"], false),
            (vec!["application/problem+json;q=0.9, application/*;q=0.2, */*"], true),
            (vec!["application/problem+json;q=0"], false),
            (vec!["application/problem+json;q=0.000, application/json;q=0"], false),
            (vec!["application/problem+json ; Q=1.000"], true),
            (vec!["application/problem+json;q=1.001"], false),
            (vec!["application/problem+json;q=0.1234"], false),
            (vec!["application/problem+json;q=-1"], false),
            (vec!["application/problem+json;q="], false),
            (vec!["application/problem+json;q=0,5"], false),
            (vec!["application/problem+xml"], false),
            (vec!["application/problem+json-seq"], false),
            (vec!["text/plain;x=\"application/problem+json\""], false),
            (vec!["text/plain;x=\"a,application/problem+json,\\\"b\""], false),
            (vec!["text/plain;x=\"\\\\\",application/problem+json"], true),
        ] {
            let fields = accept.iter().map(|value| (header::ACCEPT, HeaderValue::from_static(value)));
            let mut all = HeaderMap::new();
            for (name, value) in fields {
                all.append(name, value);
            }
            assert_eq!(likes_problems(&all), expected, "{accept:?}");
        }
    }
}
