//! What pods say.

use crate::api::conditions::one_line;
use k8s_openapi::api::core::v1::PodStatus;
use std::collections::BTreeMap;

/// What pods say of themselves that are not ready, by UID; empty: they do not answer.
pub(crate) type PodAnswers = BTreeMap<String, String>;

pub(crate) fn is_true(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|each| each.type_ == condition && each.status == "True")
}

/// Somebody else's words in one line, and not too many.
pub(crate) fn short(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(MOST_WORDS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// So much of somebody else's words is repeated, in characters.
pub(crate) const MOST_WORDS: usize = 400;
