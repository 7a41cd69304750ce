//! What follows from what was seen: tables for people, what is wrong, and a line for programs. Pure.

use std::collections::BTreeMap;

use stack::table::Table;
use stack_monitoring::message::Service;

use super::dashboards::{Answered, Query};
use super::timeline::{Alert, Chapter, Seen, Told};

/// Under this name rules are asked as if they were a dashboard.
pub const RULES: &str = "rules";
/// An alert's expression has an answer only when there is a trouble.
pub const ALERT: &str = "alert";

/// A query, with its answer in each chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The query.
    pub query: Query,
    /// The answers, in the order of the chapters.
    pub of: Vec<Answered>,
}

impl Answers {
    fn has_data(&self, chapters: std::ops::Range<usize>) -> bool {
        self.of.get(chapters).unwrap_or_default().contains(&Answered::Data)
    }

    fn refusal(&self) -> Option<&str> {
        self.of.iter().find_map(|answer| match answer {
            Answered::Refused(why) => Some(why.as_str()),
            _ => None,
        })
    }

    fn name(&self) -> String {
        let Query { dashboard, panel, reference, .. } = &self.query;
        format!("{dashboard}: {panel} ({reference})")
    }
}

/// What the queries came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queries {
    /// For people.
    pub text: String,
    /// What is wrong.
    pub broken: Vec<String>,
    /// Queries of dashboards.
    pub asked: usize,
    /// Those of them that had no answer.
    pub empty: usize,
}

/// Sums up the queries. The first chapter is the sale, the others are faults.
pub fn queries(all: &[Answers]) -> Queries {
    let mut found = Queries::default();
    let mut table =
        Table::new(&["asked by", "queries", "answered in the sale", "only with a fault", "never", "refused"]);
    let mut rows: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    for each in all {
        let is_shown = each.query.dashboard != RULES;
        let [asked, in_sale, with_fault, never, refused] = rows.entry(&each.query.dashboard).or_default();
        *asked += 1;
        found.asked += usize::from(is_shown);
        if let Some(why) = each.refusal() {
            *refused += 1;
            found.broken.push(format!("{}: {why}", each.name()));
        } else if each.has_data(0..1) {
            *in_sale += 1;
        } else if each.has_data(1..each.of.len()) {
            *with_fault += 1;
        } else {
            *never += 1;
            found.empty += usize::from(is_shown);
            // Of an alert there is none while there is no such trouble.
            if each.query.reference != ALERT {
                found.broken.push(format!("{} has no answer at any time", each.name()));
            }
        }
    }
    for (name, counts) in rows {
        table.row(std::iter::once(name.to_owned()).chain(counts.map(|count| count.to_string())));
    }
    found.text = table.text();
    found
}

/// What the alerts came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// For people.
    pub text: String,
    /// What is wrong.
    pub broken: Vec<String>,
    /// Alerts that fired, in each chapter.
    pub fired: usize,
    /// Those that a chat was told of.
    pub routed_slack: usize,
    /// Those that whoever is on call was told of.
    pub routed_pagerduty: usize,
    /// Those that another one inhibited.
    pub inhibited: usize,
    /// Those that are over, also for all who were told.
    pub resolved: usize,
}

/// Sums up the alerts of all chapters, of which the first is a sale without a fault.
pub fn alerts(chapters: &[Chapter]) -> Alerts {
    let mut found = Alerts::default();
    for (number, chapter) in chapters.iter().enumerate() {
        let mut table = Table::new(&["alert", "severity", "fires s", "ends s", "told"]);
        for (alert, seen) in &chapter.alerts {
            let name = format!("{}: {} ({})", chapter.name, alert.name, alert.severity);
            let (told, is_told) = (chapter.told(alert), chapter.is_told(alert));
            found.fired += 1;
            let by = |service: Service| usize::from(told.iter().any(|told| told.service == service));
            found.routed_slack += by(Service::Slack);
            found.routed_pagerduty += by(Service::PagerDuty);
            found.inhibited += usize::from(!is_told && !seen.inhibited_by.is_empty());
            found.resolved += usize::from(chapter.is_over(alert));
            if number == 0 {
                found.broken.push(format!("{name} fires in a sale without a fault"));
            }
            if !is_told && seen.inhibited_by.is_empty() {
                found.broken.push(format!("{name} did not reach all whom it is for"));
            }
            if !chapter.is_over(alert) {
                found.broken.push(format!("{name} did not end, or somebody was not told so"));
            }
            table.row(row(chapter, alert, seen));
        }
        let text = if chapter.alerts.is_empty() { "no alert\n".to_owned() } else { table.text() };
        found.text +=
            &format!("{} ({} s)\n{text}\n", chapter.name, (chapter.ended_ms.saturating_sub(chapter.begun_ms)) / 1000);
    }
    found
}

/// An alert of a chapter. Times are seconds since the chapter began.
fn row(chapter: &Chapter, alert: &Alert, seen: &Seen) -> [String; 5] {
    let since = |ms: u64| (ms.saturating_sub(chapter.begun_ms) / 1000).to_string();
    let end = if seen.fires { "-".to_owned() } else { since(seen.last_ms) };
    let heard = heard(&chapter.told(alert), seen, &since);
    [alert.name.clone(), alert.severity.clone(), since(seen.first_ms), end, heard]
}

fn heard(told: &[Told], seen: &Seen, since: &impl Fn(u64) -> String) -> String {
    let one = |told: &Told| {
        let by = match told.service {
            Service::Slack => format!("Slack {}", told.channel),
            Service::PagerDuty => "PagerDuty".to_owned(),
        };
        let over = told.over_ms.map_or_else(|| "never".to_owned(), since);
        format!("{by} at {}, over at {over}", since(told.fires_ms))
    };
    let mut words: Vec<String> = told.iter().map(one).collect();
    if !seen.inhibited_by.is_empty() {
        let names: Vec<&str> = seen.inhibited_by.iter().map(String::as_str).collect();
        words.push(format!("inhibited by {}", names.join(", ")));
    }
    if words.is_empty() { "nobody".to_owned() } else { words.join("; ") }
}

/// The last line. `tested` alerts were to come of the faults.
pub fn line(panels: usize, tested: usize, queries: &Queries, alerts: &Alerts) -> String {
    let Queries { asked, empty, .. } = queries;
    let Alerts { fired, routed_slack, routed_pagerduty, resolved, .. } = alerts;
    format!(
        "watch: panels={panels} queries={asked} empty={empty} alerts_tested={tested} fired={fired} routed_slack={routed_slack} \
         routed_pagerduty={routed_pagerduty} resolved={resolved}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stack_monitoring::message::Message;

    use super::super::dashboards::Ask;
    use super::super::timeline::Sight;
    use super::*;

    fn answers(dashboard: &str, reference: &str, of: &[Answered]) -> Answers {
        let [dashboard, panel, reference] = [dashboard, "Lag", reference].map(str::to_owned);
        Answers { query: Query { dashboard, panel, reference, ask: Ask::Expression("up".to_owned()) }, of: of.to_vec() }
    }

    #[test]
    fn a_query_needs_an_answer_once_and_an_alert_none() {
        use Answered::{Data, Empty, Refused};
        for (all, empty, broken) in [
            (answers("a", "A", &[Data, Empty]), 0, 0),
            (answers("a", "A", &[Empty, Data]), 0, 0),
            (answers("a", "A", &[Empty, Empty]), 1, 1),
            (answers("a", "A", &[Data, Refused("bad".to_owned())]), 0, 1),
            (answers(RULES, ALERT, &[Empty, Empty]), 0, 0),
            (answers(RULES, "record", &[Empty, Empty]), 0, 1),
        ] {
            let found = queries(std::slice::from_ref(&all));
            assert_eq!((found.empty, found.broken.len()), (empty, broken), "{all:?}");
        }
    }

    fn chapter(name: &str, told: &[(u64, bool)]) -> Chapter {
        let alert = Alert::of(&json!({"alertname": "IssuerDown", "severity": "warning"}));
        let message = |(at_ms, resolved): &(u64, bool)| Message {
            at_ms: *at_ms,
            service: Service::Slack,
            to: "#coupons".to_owned(),
            alert: "IssuerDown".to_owned(),
            resolved: *resolved,
            text: String::new(),
        };
        let mut chapter = Chapter::new(name, 0);
        let firing = [alert].into();
        chapter.see(Sight { at_ms: 4000, firing, ..Sight::default() });
        chapter.see(Sight { at_ms: 9000, messages: told.iter().map(message).collect(), ..Sight::default() });
        chapter
    }

    #[test]
    fn an_alert_is_sent_and_ends_and_none_fires_in_a_normal_sale() {
        let good = chapter("Redis is away", &[(5000, false), (8000, true)]);
        let found = alerts(&[Chapter::new("a sale", 0), good.clone()]);
        let counts = (found.fired, found.routed_slack, found.routed_pagerduty, found.resolved);
        assert_eq!((counts, found.broken.len()), ((1, 1, 0, 1), 0), "{:?}", found.broken);
        assert!(found.text.contains("Slack #coupons at 5, over at 8"), "{}", found.text);
        for (chapters, wrong) in [
            (vec![good], "without a fault"),
            (vec![Chapter::new("a sale", 0), chapter("x", &[])], "did not reach"),
            (vec![Chapter::new("a sale", 0), chapter("x", &[(5000, false)])], "did not end"),
        ] {
            let found = alerts(&chapters);
            assert!(found.broken.len() == 1 && found.broken[0].contains(wrong), "{:?}", found.broken);
        }
    }

    #[test]
    fn the_line_is_for_programs() {
        let queries = Queries { asked: 81, empty: 2, ..Queries::default() };
        let alerts = Alerts { fired: 5, routed_slack: 4, routed_pagerduty: 3, resolved: 5, ..Alerts::default() };
        let line = line(56, 9, &queries, &alerts);
        let expected =
            "watch: panels=56 queries=81 empty=2 alerts_tested=9 fired=5 routed_slack=4 routed_pagerduty=3 resolved=5";
        assert_eq!(line, expected);
    }
}
