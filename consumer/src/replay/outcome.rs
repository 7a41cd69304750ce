//! What became of a chosen letter.

use super::decide::Verdict;

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Only judged: nothing was to be done, or nothing may be written.
    Judged(Verdict),
    /// Kafka has acknowledged it; nobody waited for its row.
    Published,
    /// It is a row now.
    Stored,
    /// It came back as a dead letter.
    FailedAgain {
        /// Why.
        reason: String,
        /// The same in a sentence.
        explanation: String,
    },
    /// It is published, but was no row when the time was up.
    NotStoredYet,
    /// Kafka did not acknowledge it.
    NotPublished(String),
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self::Judged(verdict)
    }
}

impl Outcome {
    /// A stable name in CamelCase.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Judged(verdict) => verdict.name(),
            Self::Published => "Published",
            Self::Stored => "Stored",
            Self::FailedAgain { .. } => "FailedAgain",
            Self::NotStoredYet => "NotStoredYet",
            Self::NotPublished(_) => "NotPublished",
        }
    }

    /// More of it, for people.
    pub fn text(&self) -> String {
        match self {
            Self::Judged(verdict) => verdict.to_string(),
            Self::Published | Self::Stored => String::new(),
            Self::FailedAgain { reason, explanation } => format!("{reason}: {explanation}"),
            Self::NotStoredYet => {
                "it is in the campaign's topic; its row comes when a consumer runs, or its epoch ended meanwhile"
                    .to_owned()
            }
            Self::NotPublished(error) => error.clone(),
        }
    }

    /// Whether nothing is left to do for people.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Published | Self::Stored | Self::Judged(Verdict::AlreadyStored | Verdict::Replay { .. }))
    }
}
