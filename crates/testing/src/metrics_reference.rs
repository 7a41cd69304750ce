//! Holds what a program counts against `docs/reference/metrics.md`, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One series of the document, or of a scrape, by the name that Prometheus shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Series {
    kind: String,
    labels: BTreeSet<String>,
}

type AllSeries = BTreeMap<String, Series>;

/// What differs between `scrape` (OpenMetrics text in which every family has a sample) and the part of the document that is about
/// `program`, as its heading says it: a sentence for each difference.
pub fn differences(program: &str, scrape: &str) -> Vec<String> {
    let text = document();
    let table = section(&text, program);
    let mut found = incomplete_rows(table);
    found.extend(compare(&documented(table), &scraped(scrape)));
    found
}

/// Every name that a query may use: those of the document, with the suffixes of a histogram.
pub fn names() -> BTreeSet<String> {
    let of = |(name, series): (String, Series)| match series.kind.as_str() {
        "histogram" => ["bucket", "count", "sum"].map(|part| format!("{name}_{part}")).to_vec(),
        _ => vec![name],
    };
    documented(&document()).into_iter().flat_map(of).collect()
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text below the heading `## program`, up to the next one.
fn section<'a>(text: &'a str, program: &str) -> &'a str {
    let heading = format!("\n## {program}\n");
    let (_, rest) = text.split_once(&heading).unwrap_or_else(|| panic!("the document has no heading `## {program}`"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The cells of each row that is about a series.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with("| `coupon_"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A row says name, type, labels, unit, meaning, and how many series there may be.
fn incomplete_rows(table: &str) -> Vec<String> {
    let incomplete = rows(table).filter(|cells| cells.len() != 6 || cells.iter().any(|cell| cell.is_empty()));
    incomplete.map(|cells| format!("the row of {} does not have six cells that say something", cells[0])).collect()
}

fn documented(table: &str) -> AllSeries {
    let series = |cells: Vec<&str>| {
        let name = quoted(cells[0]).next()?.to_owned();
        let labels = quoted(cells.get(2)?).map(str::to_owned).collect();
        Some((name, Series { kind: cells.get(1)?.to_string(), labels }))
    };
    rows(table).filter_map(series).collect()
}

fn scraped(scrape: &str) -> AllSeries {
    let mut all = AllSeries::new();
    let mut current = None;
    for line in scrape.lines() {
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let name = format!("{family}{suffix}");
            // Without a sample the labels are not known; this one is none that a program could have.
            let labels = BTreeSet::from([NO_SAMPLE.to_owned()]);
            all.insert(name.clone(), Series { kind: kind.to_owned(), labels });
            current = Some(name);
        } else if let Some(series) = current.as_ref().and_then(|name| all.get_mut(name))
            && !line.starts_with('#')
        {
            series.labels.remove(NO_SAMPLE);
            series.labels.extend(label_names(line).into_iter().filter(|label| label != "le"));
        }
    }
    all
}

const NO_SAMPLE: &str = "(no sample: touch it in the test)";

/// The names of a sample's labels.
fn label_names(line: &str) -> Vec<String> {
    let Some((_, mut rest)) = line.split_once('{') else { return Vec::new() };
    let mut names = Vec::new();
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        // The value ends at the first quote that is not escaped.
        let mut escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        rest = end.and_then(|end| value.get(end + 1..)).unwrap_or_default();
    }
    names
}

fn compare(documented: &AllSeries, scraped: &AllSeries) -> Vec<String> {
    let missing = scraped.iter().filter(|(name, _)| !documented.contains_key(*name));
    let gone = documented.keys().filter(|name| !scraped.contains_key(*name));
    let both = documented.iter().filter_map(|(name, said)| Some((name, said, scraped.get(name)?)));
    let mut all: Vec<String> =
        missing.map(|(name, series)| format!("{name} {series:?} is not in the document")).collect();
    all.extend(gone.map(|name| format!("{name} is in the document, and the program does not have it")));
    all.extend(
        both.filter(|(_, said, has)| said != has)
            .map(|(name, said, has)| format!("{name}: the document says {said:?}, the program has {has:?}")),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\n| series | type | labels | unit | meaning | at most |\n|---|---|---|---|---|---|\n\
        | `coupon_a_total` | counter | `code`, `port` | requests | a | 2 |\n\
        | `coupon_b` | histogram | none | seconds | b | 1 |\n\
        | `coupon_c_info` | info | `version` | none | c | 1 |\n";
    const SCRAPE: &str = "# HELP coupon_a a.\n# TYPE coupon_a counter\ncoupon_a_total{code=\"x,y=\\\"\",port=\"p\"} 1\n\
        # TYPE coupon_b histogram\ncoupon_b_sum 1.0\ncoupon_b_bucket{le=\"0.5\"} 0\n# TYPE coupon_c info\n\
        coupon_c_info{version=\"1\"} 1\n# EOF\n";

    fn found(table: &str, scrape: &str) -> Vec<String> {
        let mut all = incomplete_rows(table);
        all.extend(compare(&documented(table), &scraped(scrape)));
        all
    }

    /// Wrong: a series that is added, renamed or gone, or a label, is in no document; or the document speaks of what is not there.
    #[test]
    fn what_differs_is_told_both_ways() {
        assert_eq!(found(TABLE, SCRAPE), Vec::<String>::new());
        for (what, table, scrape) in [
            ("not documented", TABLE.to_owned(), SCRAPE.replace("# EOF", "# TYPE coupon_d gauge\ncoupon_d 1")),
            ("gone", format!("{TABLE}| `coupon_d` | gauge | none | none | d | 1 |\n"), SCRAPE.to_owned()),
            ("another type", TABLE.replace("histogram", "gauge"), SCRAPE.to_owned()),
            ("a label more", TABLE.to_owned(), SCRAPE.replace("version=\"1\"", "version=\"1\",os=\"a\"")),
            ("a label less", TABLE.to_owned(), SCRAPE.replace(",port=\"p\"", "")),
            ("no sample", TABLE.to_owned(), SCRAPE.replace("coupon_c_info{version=\"1\"} 1\n", "")),
            ("no meaning", TABLE.replace("| c |", "| |"), SCRAPE.to_owned()),
        ] {
            assert_eq!(found(&table, &scrape).len(), 1, "{what}: {:?}", found(&table, &scrape));
        }
    }

    #[test]
    fn a_section_ends_at_the_next_heading() {
        let text = "# Metrics\n\n## Operator\n\none\n\n## Issuer\n\ntwo\n";
        assert_eq!((section(text, "Operator").trim(), section(text, "Issuer").trim()), ("one", "two"));
    }
}
