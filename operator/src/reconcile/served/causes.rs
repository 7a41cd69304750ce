//! What kept users from coupons in a window, and for how long each: the last cause and the one that lasted longest are both worth to be
//! told. Status keeps them, so that the next process goes on with them. Pure.

use std::collections::BTreeMap;

use crate::api::UnservedCause;
use crate::reconcile::supply::NoSupplyCause;

/// Before the cause of the last time, and before the one that lasted longest, if that was another.
const CAUSE: &str = "; the last cause: ";
const LONGER: &str = "; for longer before that: ";
/// Before the number of those that are in status only.
const OTHERS: &str = "; and of others: ";
/// So many are kept, in status too.
const MOST: usize = 5;
/// So much of one is repeated in the condition, in characters. Status has all of it.
const REPEATED: usize = 240;

/// The causes of one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Causes {
    /// What keeps users from coupons, or kept them last.
    last: Option<NoSupplyCause>,
    /// For how long each did, in milliseconds, and its words, by its reason.
    lasted: BTreeMap<String, (i64, String)>,
}

impl Causes {
    /// What the process before this one has kept in status.
    pub(super) fn of_status(kept: &[UnservedCause]) -> Self {
        let last = kept.first().map(|each| NoSupplyCause { reason: each.reason.clone(), text: each.message.clone() });
        let lasted = kept.iter().map(|each| (each.reason.clone(), (each.seconds * 1000, each.message.clone())));
        Self { last, lasted: lasted.collect() }
    }

    /// Those of another window, into which the last of them goes on if it `lasts`.
    pub(super) fn of_next_window(self, lasts: bool) -> Self {
        Self { last: self.last.filter(|_| lasts), lasted: BTreeMap::new() }
    }

    /// The last one has lasted for so much longer.
    pub(super) fn add_time(&mut self, past_ms: i64) {
        if let Some(cause) = self.last.as_ref().filter(|_| past_ms > 0) {
            let (lasted, text) = self.lasted.entry(cause.reason.clone()).or_default();
            *lasted += past_ms;
            text.clone_from(&cause.text);
        }
    }

    /// It is this one now. Of too many the one is forgotten that mattered for the shortest time.
    pub(super) fn set_last(&mut self, cause: &NoSupplyCause) {
        self.lasted.entry(cause.reason.clone()).or_default().1.clone_from(&cause.text);
        self.last = Some(cause.clone());
        let others = self.lasted.iter().filter(|(reason, _)| **reason != cause.reason);
        if let Some((shortest, _)) = others.min_by_key(|(_, (lasted, _))| *lasted)
            && self.lasted.len() > MOST
        {
            let shortest = shortest.clone();
            self.lasted.remove(&shortest);
        }
    }

    /// The words of the last one.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_ref().map(|cause| cause.text.as_str())
    }

    /// For status: the last one, then the others, those that lasted longest first.
    pub(super) fn for_status(&self) -> Vec<UnservedCause> {
        let is_last = |reason: &str| self.last.as_ref().is_some_and(|last| last.reason == reason);
        let mut all: Vec<_> = self.lasted.iter().collect();
        all.sort_by_key(|(reason, (lasted, _))| (!is_last(reason.as_str()), -lasted));
        let kept = |(reason, (lasted, text)): (&String, &(i64, String))| UnservedCause {
            reason: reason.clone(),
            message: text.clone(),
            seconds: lasted / 1000,
        };
        all.into_iter().take(MOST).map(kept).collect()
    }

    /// The last one and the longest in words that go behind a sentence, and how many others status has.
    pub(super) fn words(&self) -> String {
        let longest = self.lasted.iter().max_by_key(|(_, (lasted, _))| *lasted);
        let longest = longest.map(|(reason, (_, text))| (reason.as_str(), text.as_str()));
        let last = self.last.as_ref().map(|last| (last.reason.as_str(), last.text.as_str()));
        let told = match (last, longest) {
            (Some(last), Some(longest)) if last.0 != longest.0 => vec![(CAUSE, last), (LONGER, longest)],
            (Some(one), _) | (None, Some(one)) => vec![(CAUSE, one)],
            (None, None) => Vec::new(),
        };
        let is_told = |reason: &str| told.iter().any(|(_, (of, _))| *of == reason);
        let others = self.lasted.keys().filter(|reason| !is_told(reason)).count();
        let mut words: String = told.iter().map(|(before, (_, text))| format!("{before}{}", repeated(text))).collect();
        if others > 0 {
            words.push_str(&format!("{OTHERS}{others} (status.unservedCauses)"));
        }
        words
    }
}

/// A cause as the condition has it.
fn repeated(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{}...", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(reason: &str) -> NoSupplyCause {
        NoSupplyCause { reason: reason.to_owned(), text: format!("it is {reason}") }
    }

    /// Wrong: after a restart the cause that lasted longest is called the last one.
    #[test]
    fn the_last_cause_and_the_longest_are_kept_apart_by_status_too() {
        let mut causes = Causes::default();
        for (reason, lasted_ms) in
            [("A", 9_500), ("B", 700), ("C", 40_000), ("D", 1_000), ("E", 2_000), ("F", 30_000), ("B", 2_500)]
        {
            causes.set_last(&cause(reason));
            causes.add_time(lasted_ms);
        }
        let words =
            "; the last cause: it is B; for longer before that: it is C; and of others: 3 (status.unservedCauses)";
        assert_eq!(causes.words(), words);
        let kept = causes.for_status();
        let listed: Vec<(&str, i64)> = kept.iter().map(|each| (each.reason.as_str(), each.seconds)).collect();
        assert_eq!(listed, [("B", 2), ("C", 40), ("F", 30), ("A", 9), ("E", 2)], "B had been forgotten by then");
        let mut next = Causes::of_status(&kept);
        assert_eq!((next.words().as_str(), next.last()), (words, Some("it is B")));
        next.add_time(60_000);
        let longest = "; the last cause: it is B; and of others: 4 (status.unservedCauses)";
        assert_eq!(next.words(), longest, "which is the longest by now");
        assert_eq!(Causes::of_status(&[]).words(), "");
    }

    /// Wrong: after many outages the condition is a page, and status of a sale that went on for days holds a cause for each of them.
    #[test]
    fn causes_are_bounded_in_number_and_in_words_however_many_outages_there_were() {
        let mut causes = Causes::default();
        for outage in 0..500i64 {
            causes.set_last(&NoSupplyCause {
                reason: format!("R{outage}"),
                text: format!("{outage:03}: {}", "Kafka é ".repeat(90)),
            });
            causes.add_time(1_000 + outage % 7);
        }
        assert_eq!((causes.lasted.len(), causes.for_status().len()), (MOST, MOST));
        let words = causes.words();
        assert!(words.starts_with("; the last cause: 499: Kafka"), "{words}");
        assert!(words.ends_with("...; and of others: 3 (status.unservedCauses)"), "{words}");
        assert!(words.chars().count() < 2 * REPEATED + 150, "{}", words.chars().count());
    }
}
