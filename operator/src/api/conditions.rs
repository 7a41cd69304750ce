//! Condition types, and one pure way to set a condition.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition types of campaigns and classes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum ConditionType {
    /// All is as it should be at this time; a campaign that waits for its window is ready.
    Ready,
    /// Coupons can be had now.
    Open,
    /// Work is going on towards the spec. Present and True only meanwhile (kstatus).
    Reconciling,
    /// Nothing goes on until somebody changes something. Present and True only meanwhile (kstatus).
    Stalled,
    /// The class exists and lets this namespace take part.
    ClassResolved,
    /// The topic and its dead-letter topic are as the spec says.
    TopicReady,
    /// Redis holds the campaign and agrees with the ledger.
    RedisKeysReady,
    /// The pods that should run are ready.
    WorkloadsReady,
    /// Whoever the class names for it takes the campaign's route from outside. Absent where the class asks for no route, and before there is one.
    RouteReady,
    /// The pods are as class and spec say; False while a rollout waits, is paused, or goes on. Absent before there are any.
    PodsUpToDate,
    /// Of a class: the API server would take the pods that it describes.
    PodTemplatesValid,
    /// Of a class that asks for routes: its URL template can be filled in, and the API server would take one. Absent where it asks for none,
    /// unless its template is wrong.
    RoutingValid,
    /// The database answers, and its tables are of the right version.
    DatabaseReady,
    /// Kafka answers, and is the cluster that was first seen.
    KafkaReady,
    /// Redis answers, and keeps data as it must.
    RedisReady,
    /// The clocks of Redis, database and operator are within a second of each other; False says how far they are apart. Of a
    /// campaign present only while Redis' clock is not believed.
    ClocksAgree,
    /// The Secrets named in the class exist and hold what is needed.
    CredentialsReady,
    /// The number of consumers follows the lag; False says what holds it.
    ScalingActive,
    /// Redis, Kafka and the database say the same; False counts what differs.
    LedgerConsistent,
    /// Coupons could be had all the time that the window was open. Present and False, and then for good, if for some of it they could
    /// not.
    WindowServed,
    /// The campaign continues a ledger that was not empty.
    LedgerAdopted,
    /// Of a class that was deleted: campaigns use it, so it stays until they are gone. Present only meanwhile.
    InUse,
    /// Of a class: issuers believe who asks, and nobody has said that this is meant so. Present and True only meanwhile.
    Unauthenticated,
    /// Another campaign, or a topic or key that is not ours, has the names that this one needs.
    ResourceConflict,
}

/// What a condition says, without the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which condition.
    pub condition: ConditionType,
    /// True, False, or unknown.
    pub status: Option<bool>,
    /// Stable word in CamelCase, for programs.
    pub reason: &'static str,
    /// A sentence for people that says what to change, if anything.
    pub message: String,
}

impl Report {
    /// A condition that holds.
    pub fn yes(condition: ConditionType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, status: Some(true), reason, message: message.into() }
    }

    /// A condition that does not hold.
    pub fn no(condition: ConditionType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, status: Some(false), reason, message: message.into() }
    }

    /// A condition of which nothing is known at present.
    pub fn unknown(condition: ConditionType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, status: None, reason, message: message.into() }
    }

    fn status(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// Longest message that the API server takes in a condition, in bytes.
const MAX_MESSAGE: usize = 32_768;

/// A text without line breaks: servers use them, and whoever shows a list cuts a text at the first.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sets one condition. `lastTransitionTime` becomes `now` only if the status changed. Returns whether anything changed; if
/// not, the list is as it was.
pub fn set(conditions: &mut Vec<Condition>, report: &Report, generation: i64, now: Timestamp) -> bool {
    let mut message = one_line(&report.message);
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    let mut next = Condition {
        type_: report.condition.to_string(),
        status: report.status().to_owned(),
        reason: report.reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|old| old.type_ == next.type_) {
        None => conditions.push(next),
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time.clone();
            }
            if *old == next {
                return false;
            }
            *old = next;
        }
    }
    true
}

/// Sets all of `reports` and removes the condition types of ours that are not among them; conditions that others wrote
/// stay. Returns whether anything changed.
pub fn merge(conditions: &mut Vec<Condition>, reports: &[Report], generation: i64, now: Timestamp) -> bool {
    let before = conditions.len();
    conditions.retain(|old| match old.type_.parse::<ConditionType>() {
        Ok(known) => reports.iter().any(|report| report.condition == known),
        Err(_) => true,
    });
    let mut changed = conditions.len() != before;
    for report in reports {
        changed |= set(conditions, report, generation, now);
    }
    changed
}

/// The condition of a type, if it is there.
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    let name: &'static str = condition.into();
    conditions.iter().find(|each| each.type_ == name)
}

/// Whether a condition says just this.
pub(crate) fn is_said(conditions: &[Condition], report: &Report) -> bool {
    find(conditions, report.condition).is_some_and(|said| {
        said.status == report.status() && said.reason == report.reason && said.message == one_line(&report.message)
    })
}

/// Whether a condition is there and True.
pub fn is_true(conditions: &[Condition], condition: ConditionType) -> bool {
    find(conditions, condition).is_some_and(|each| each.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let mut list = Vec::new();
        assert!(set(&mut list, &Report::no(ConditionType::Ready, "TopicMissing", "a"), 1, at(10)));
        // Another reason, same status: a new text, the old time. Else `kubectl wait` and alerts on age would start over.
        assert!(set(&mut list, &Report::no(ConditionType::Ready, "RedisKeysMissing", "b"), 2, at(20)));
        assert_eq!((list[0].last_transition_time.0, list[0].observed_generation), (at(10), Some(2)));
        assert!(set(&mut list, &Report::yes(ConditionType::Ready, "AllGood", "c"), 2, at(30)));
        assert_eq!(list[0].last_transition_time.0, at(30));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        // If this returned true, every pass would write status, and the write would start the next pass.
        let mut list = Vec::new();
        let report = Report::unknown(ConditionType::LedgerConsistent, "DatabaseAway", "not read");
        set(&mut list, &report, 1, at(10));
        let before = list.clone();
        assert!(!set(&mut list, &report, 1, at(99)));
        assert!(!merge(&mut list, &[report], 1, at(99)));
        assert_eq!(list, before);
    }

    #[test]
    fn merge_removes_ours_and_keeps_what_others_wrote() {
        let mut list = Vec::new();
        set(&mut list, &Report::yes(ConditionType::Stalled, "BadSpec", ""), 1, at(1));
        let mut foreign = list[0].clone();
        foreign.type_ = "example.com/Audited".to_owned();
        list.push(foreign);
        assert!(merge(&mut list, &[Report::yes(ConditionType::Ready, "AllGood", "")], 1, at(2)));
        assert!(find(&list, ConditionType::Stalled).is_none());
        assert!(is_true(&list, ConditionType::Ready));
        assert!(list.iter().any(|each| each.type_ == "example.com/Audited"));
    }

    #[test]
    fn a_message_is_cut_at_a_character_to_what_the_server_takes() {
        let mut list = Vec::new();
        set(&mut list, &Report::no(ConditionType::Ready, "Long", "é".repeat(MAX_MESSAGE)), 1, at(1));
        assert_eq!(list[0].message.len(), MAX_MESSAGE);
    }
}
