//! What people experienced, from the record of all answers. Pure; times are milliseconds after the first user.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::chaos::load::Answer;

/// One user: from the first request to the decided answer, however often was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// When the first request was sent.
    pub since_ms: u64,
    /// When the decided answer was heard; none: nobody decided.
    pub decided_ms: Option<u64>,
    /// Whether the user heard a rank.
    pub won: bool,
}

/// All users.
pub fn waits(answers: &[Answer]) -> Vec<Wait> {
    let mut users: HashMap<&str, Wait> = HashMap::new();
    for answer in answers {
        let wait = users.entry(&answer.user).or_insert(Wait { since_ms: answer.sent_ms, decided_ms: None, won: false });
        wait.since_ms = wait.since_ms.min(answer.sent_ms);
        wait.won |= answer.rank.is_some();
        if answer.is_decided() {
            let first = wait.decided_ms.map_or(answer.heard_ms, |ms| ms.min(answer.heard_ms));
            wait.decided_ms = Some(first);
        }
    }
    users.into_values().collect()
}

/// Users who heard a decided answer.
pub fn decided(waits: &[Wait]) -> usize {
    waits.iter().filter(|wait| wait.decided_ms.is_some()).count()
}

/// Users who heard a rank in this time.
pub fn won_within(waits: &[Wait], time: &Range<u64>) -> usize {
    waits.iter().filter(|wait| wait.won && wait.decided_ms.is_some_and(|ms| time.contains(&ms))).count()
}

/// Users who came in this time.
pub fn came_within(waits: &[Wait], time: &Range<u64>) -> usize {
    waits.iter().filter(|wait| time.contains(&wait.since_ms)).count()
}

/// Within what time 99 of 100 of those who came in this time had their decided answer (nearest rank); none if nobody came,
/// or if more than one in a hundred has none.
pub fn p99_ms(waits: &[Wait], came: &Range<u64>) -> Option<u64> {
    let mut times: Vec<Option<u64>> = waits
        .iter()
        .filter(|wait| came.contains(&wait.since_ms))
        .map(|wait| wait.decided_ms.map(|ms| ms.saturating_sub(wait.since_ms)))
        .collect();
    // Who has no answer waits longer than everybody else.
    times.sort_unstable_by_key(|time| time.unwrap_or(u64::MAX));
    let index = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(index).copied().flatten()
}

/// The longest time without a new rank within `time`.
pub fn longest_gap_ms(answers: &[Answer], time: &Range<u64>) -> u64 {
    let mut known = HashSet::new();
    let mut heard: Vec<(u64, u64)> =
        answers.iter().filter_map(|answer| Some((answer.heard_ms, answer.rank?))).collect();
    heard.sort_unstable();
    let news = heard.into_iter().filter(|(_, rank)| known.insert(*rank)).map(|(ms, _)| ms);
    let mut last = time.start;
    let mut longest = 0;
    for ms in news.filter(|ms| time.contains(ms)).chain([time.end]) {
        longest = longest.max(ms.saturating_sub(last));
        last = ms;
    }
    longest
}

/// How many ranks were given to requests that were sent within `time`, and told for the first time.
pub fn ranks_of(answers: &[Answer], time: &Range<u64>) -> usize {
    let mut known = HashSet::new();
    answers
        .iter()
        .filter(|answer| answer.rank.is_some_and(|rank| known.insert(rank)))
        .filter(|answer| time.contains(&answer.sent_ms))
        .count()
}

/// Answers that are neither decided nor "ask again" (429 or 503): these must not be.
pub fn failed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| !answer.is_decided() && !matches!(answer.status, 429 | 503)).count()
}

/// How often each code was answered, such as `ISSUED:5 SOLD_OUT:1`; what nobody answered is `none`.
pub fn codes(answers: &[Answer]) -> String {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        *times.entry(if answer.status == 0 { "none" } else { &answer.code }).or_default() += 1;
    }
    let parts: Vec<String> = times.into_iter().map(|(code, times)| format!("{code}:{times}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(user: &str, sent_ms: u64, heard_ms: u64, status: u16, rank: Option<u64>) -> Answer {
        let code = if rank.is_some() { "ISSUED" } else { "NO" }.to_owned();
        Answer { user: user.to_owned(), sent_ms, heard_ms, status, code, rank }
    }

    #[test]
    fn a_user_waits_from_the_first_request_to_the_decided_answer() {
        let answers = [
            answer("a", 0, 10, 503, None),
            answer("a", 200, 250, 200, Some(1)),
            answer("b", 300, 310, 409, None),
            answer("c", 400, 410, 503, None),
        ];
        let waits = waits(&answers);
        assert_eq!((waits.len(), decided(&waits)), (3, 2));
        assert_eq!((won_within(&waits, &(0..251)), won_within(&waits, &(0..250))), (1, 0));
        assert_eq!(came_within(&waits, &(100..400)), 1);
        assert_eq!(p99_ms(&waits, &(0..400)), Some(250));
        assert_eq!(p99_ms(&waits, &(0..500)), None, "one in three has no answer");
        assert_eq!(p99_ms(&waits, &(900..901)), None);
    }

    #[test]
    fn only_new_ranks_end_a_gap() {
        let answers =
            [answer("a", 0, 100, 200, Some(1)), answer("a", 0, 500, 200, Some(1)), answer("b", 0, 900, 200, Some(2))];
        assert_eq!(longest_gap_ms(&answers, &(100..1000)), 800);
        assert_eq!(longest_gap_ms(&answers, &(950..2000)), 1050);
    }

    #[test]
    fn silence_and_errors_fail_and_ask_again_does_not() {
        let all = [0, 200, 409, 429, 500, 502, 503, 504].map(|status| answer("a", 0, 1, status, None));
        assert_eq!(failed(&all), 4);
        assert_eq!(codes(&all[..2]), "NO:1,none:1");
    }
}
