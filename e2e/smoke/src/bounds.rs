//! What was measured, held against what is recorded. Pure.

use std::collections::BTreeMap;

/// A count, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Its name in `bounds.json`.
    pub name: &'static str,
    /// How much it is.
    pub value: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Judged {
    /// A line for each count.
    pub table: String,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// The most that each may be.
pub fn recorded() -> BTreeMap<String, f64> {
    serde_json::from_str(include_str!("../bounds.json")).unwrap()
}

/// Holds all counts against their bounds. One without a bound is a fault, and so is a bound of nothing.
pub fn judge(all: &[Measured], bounds: &BTreeMap<String, f64>) -> Judged {
    let (mut lines, mut faults) = (vec![format!("{:<36} {:>10} {:>10}", "count", "measured", "at most")], Vec::new());
    for Measured { name, value } in all {
        let Some(bound) = bounds.get(*name) else {
            faults.push(format!("{name} is {value:.2}, and bounds.json has no bound for it"));
            continue;
        };
        lines.push(format!("{name:<36} {value:>10.2} {bound:>10.2}"));
        // What is no number is above everything.
        if value.partial_cmp(bound).is_none_or(std::cmp::Ordering::is_gt) {
            faults.push(format!(
                "{name} is {value:.2}, and at most {bound:.2} before; if that is meant, record it in bounds.json"
            ));
        }
    }
    let unknown = bounds.keys().filter(|name| all.iter().all(|one| one.name != name.as_str()));
    faults.extend(unknown.map(|name| format!("bounds.json has a bound for {name}, which is not measured")));
    Judged { table: lines.join("\n"), faults }
}

#[test]
fn what_is_above_its_bound_or_has_none_is_a_fault() {
    let bounds = BTreeMap::from([("a".to_owned(), 2.0), ("b".to_owned(), 0.0)]);
    let faults = |a: f64, b: f64, more: &[Measured]| {
        let all = [&[Measured { name: "a", value: a }, Measured { name: "b", value: b }], more].concat();
        judge(&all, &bounds).faults
    };
    assert!(faults(2.0, 0.0, &[]).is_empty());
    assert!(faults(2.1, 0.0, &[])[0].starts_with("a is 2.10, and at most 2.00 before"));
    assert_eq!(faults(1.0, 0.01, &[]).len(), 1);
    assert_eq!(faults(f64::NAN, 0.0, &[]).len(), 1, "of no answers there is no count");
    assert_eq!(faults(1.0, 0.0, &[Measured { name: "c", value: 0.0 }]).len(), 1);
    assert_eq!(judge(&[], &bounds).faults.len(), 2, "what is not measured any more");
}
