//! Notices that somebody else has changed a campaign's terms in Redis. Every change of ours has a number of its own. Pure.

use campaign::stock::{OpenStock, Terms};

/// The reason of the event.
pub(crate) const CHANGED: &str = "TermsChangedInRedis";

/// The terms that were last seen in Redis, with epoch and number. Losing it costs one notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TermsSeen(Option<(u64, u64, Terms)>);

impl TermsSeen {
    /// Takes in what is open in Redis; in words, what differs from before although no change of ours came between.
    pub(crate) fn see(&mut self, open: Option<&OpenStock>) -> Option<String> {
        let open = open?;
        let (epoch, number, terms) = self.0.replace((open.epoch, open.number, open.terms))?;
        let now = open.terms;
        if (epoch, number) != (open.epoch, open.number) {
            return None;
        }
        let parts = [
            (now.total != terms.total).then(|| format!("total from {} to {}", terms.total, now.total)),
            (now.limit != terms.limit).then(|| format!("limit from {} to {}", terms.limit, now.limit)),
            (now.start_ms != terms.start_ms).then(|| "the window's start".to_owned()),
            (now.end_ms != terms.end_ms).then(|| "the window's end".to_owned()),
            // Stopping has no number, whoever does it.
            (!now.suspended && terms.suspended).then(|| "that it is suspended".to_owned()),
        ];
        let changed: Vec<String> = parts.into_iter().flatten().collect();
        (!changed.is_empty()).then(|| {
            format!(
                "somebody has changed {} in Redis, not by way of this object; users met it for up to some seconds, and it is put right: \
                 leave the keys of campaigns to the operator",
                changed.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_without_a_number_of_ours_was_somebody_elses() {
        let terms = Terms { total: 10, limit: 1, start_ms: 5, end_ms: 9, suspended: false };
        let open =
            |epoch, number, terms| OpenStock { epoch, history: "h".into(), terms, number, highest: 0, misfit: None };
        let mut seen = TermsSeen::default();
        for (what, found, expected) in [
            ("the first look", open(1, 1, terms), None),
            ("nothing", open(1, 1, terms), None),
            ("a change of ours", open(1, 2, Terms { total: 20, ..terms }), None),
            (
                "a hand's",
                open(1, 2, Terms { total: 5, start_ms: 6, ..terms }),
                Some("total from 20 to 5, the window's start"),
            ),
            ("put right", open(1, 3, Terms { total: 20, ..terms }), None),
            ("stopped", open(1, 3, Terms { total: 20, suspended: true, ..terms }), None),
            ("let go by hand", open(1, 3, Terms { total: 20, ..terms }), Some("suspended")),
            ("filled anew", open(2, 3, terms), None),
        ] {
            let said = seen.see(Some(&found));
            assert_eq!(said.is_some(), expected.is_some(), "{what}: {said:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{what}");
        }
        assert_eq!(seen.see(None), None, "closed");
    }
}
