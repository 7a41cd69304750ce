//! What became of a chosen letter.

use super::decide::Verdict;

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReplayOutcome {
    /// Nothing was to be done, or nothing may be written.
    Decided(Verdict),
    /// People have given it up, and no row can come of it.
    Discarded(Verdict),
    /// People want to give it up, but a row can still come of it, or nobody can tell whose its rank is.
    NotDiscarded(Verdict),
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

impl ReplayOutcome {
    /// What becomes of a letter that people have given up.
    pub(super) fn of_discarded(verdict: Verdict) -> Self {
        match verdict {
            Verdict::AlreadyStored | Verdict::AlreadyDiscarded => Self::Decided(verdict),
            // Only a newer program could tell, and there may be none: it has been named, letter by letter.
            verdict if verdict.is_final() || matches!(verdict, Verdict::Newer(_)) => Self::Discarded(verdict),
            verdict => Self::NotDiscarded(verdict),
        }
    }

    /// Whether the letter is to be published.
    pub(super) fn is_replayable(&self) -> bool {
        matches!(self, Self::Decided(verdict) if verdict.is_replayable())
    }

    /// A stable name in CamelCase.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Decided(verdict) => verdict.name(),
            Self::Discarded(_) => "Discarded",
            Self::NotDiscarded(_) => "NotDiscarded",
            Self::Published => "Published",
            Self::Stored => "Stored",
            Self::FailedAgain { .. } => "FailedAgain",
            Self::NotStoredYet => "NotStoredYet",
            Self::NotPublished(_) => "NotPublished",
        }
    }

    /// More of it, for people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Decided(verdict) | Self::Discarded(verdict) => verdict.to_string(),
            Self::NotDiscarded(verdict @ (Verdict::NotServing(_) | Verdict::KeysRemoved)) => {
                format!("nothing was discarded, as only Redis can tell whether anybody holds the rank: {verdict}")
            }
            Self::NotDiscarded(verdict) => format!("it can still become a row: {verdict}"),
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
    pub(super) fn is_well(&self) -> bool {
        match self {
            Self::Published | Self::Stored | Self::Discarded(_) => true,
            Self::Decided(verdict) => {
                matches!(verdict, Verdict::AlreadyStored | Verdict::AlreadyDiscarded | Verdict::Replay { .. })
            }
            Self::NotDiscarded(_) | Self::FailedAgain { .. } | Self::NotStoredYet | Self::NotPublished(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use coupon_core::event::DecodeError;

    use super::*;

    /// Wrong: a winner who was told so loses the last copy of the record, or a letter holds all behind it back for ever.
    #[test]
    fn only_what_can_never_be_a_row_is_given_up() {
        let conflict = Verdict::Conflict { rank: 7, user: "bob".to_owned() };
        let finals = [Verdict::Unreadable(DecodeError::Size(0)), conflict, Verdict::Void, Verdict::NotHeld];
        for verdict in finals {
            assert_eq!(ReplayOutcome::of_discarded(verdict.clone()), ReplayOutcome::Discarded(verdict));
        }
        for verdict in
            [Verdict::Replay { epoch: 1 }, Verdict::AboveTotal { total: 9 }, Verdict::NotServing("it is closed")]
        {
            let outcome = ReplayOutcome::of_discarded(verdict.clone());
            assert!(!outcome.is_well() && !outcome.is_replayable());
            assert_eq!(outcome, ReplayOutcome::NotDiscarded(verdict));
        }
        for verdict in [Verdict::AlreadyStored, Verdict::AlreadyDiscarded] {
            let outcome = ReplayOutcome::of_discarded(verdict.clone());
            assert!(outcome.is_well());
            assert_eq!(outcome, ReplayOutcome::Decided(verdict));
        }
    }
}
