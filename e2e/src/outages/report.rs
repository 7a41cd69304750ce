//! The result of a scenario: figures in order, and the claims that did not hold. Pure.

use std::fmt::Display;

use crate::chaos::checker::{Breach, Violation, count};

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    scenario: String,
    figures: Vec<(String, String)>,
    broken: Vec<String>,
}

impl Report {
    /// Nothing is known yet.
    pub fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), figures: Vec::new(), broken: Vec::new() }
    }

    /// Adds `name=value` to the line.
    pub fn figure(&mut self, name: &str, value: impl Display) {
        self.figures.push((name.to_owned(), value.to_string()));
    }

    /// A claim of the scenario; `otherwise` says what was seen where it does not hold.
    pub fn claim(&mut self, holds: bool, otherwise: impl Display) {
        if !holds {
            self.broken.push(otherwise.to_string());
        }
    }

    /// The five counts of the promise, each of which must be 0.
    pub fn promise(&mut self, violations: &[Violation]) {
        for breach in [Breach::Lost, Breach::Oversold, Breach::Duplicates, Breach::DeadLetteredByOutage, Breach::Short]
        {
            let times = count(violations, breach);
            let name =
                if breach == Breach::DeadLetteredByOutage { "dead_letters".to_owned() } else { breach.to_string() };
            self.figure(&name, times);
            let first = violations.iter().find(|each| each.breach == breach);
            self.claim(times == 0, format!("{name}: {}", first.map_or("", |each| each.detail.as_str())));
        }
    }

    /// Whether every claim holds.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// The claims that did not hold.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// The last line.
    pub fn line(&self) -> String {
        let figures: Vec<String> = self.figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let verdict = if self.is_good() { "held" } else { "broken" };
        format!("outages: scenario={} {} claim={verdict}", self.scenario, figures.join(" "))
    }
}

/// Milliseconds as seconds with one digit; `-` for what never happened.
pub fn seconds(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}s", ms as f64 / 1000.0))
}

/// Milliseconds as they are; `-` for what cannot be said.
pub fn whole_ms(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms}ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_claim_breaks_the_scenario() {
        let mut report = Report::new("x");
        report.figure("rows", 3);
        report.promise(&[]);
        report.claim(true, "never said");
        assert_eq!(
            report.line(),
            "outages: scenario=x rows=3 lost=0 oversold=0 duplicates=0 dead_letters=0 short=0 claim=held"
        );
        report.promise(&[Violation { breach: Breach::Lost, detail: "u heard 1".to_owned() }]);
        assert!(!report.is_good());
        assert_eq!(report.broken(), ["lost: u heard 1"]);
        assert!(report.line().ends_with("claim=broken"));
    }
}
