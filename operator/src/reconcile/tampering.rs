//! Notices that somebody else has changed a campaign's terms in Redis. Every change of ours has a number of its own, which the database
//! gave, but for stopping, which has none and is remembered here. Pure.

use coupon_ledger::redis::{OpenInRedis, Terms};

/// The reason of the event.
pub(crate) const CHANGED: &str = "TermsChangedInRedis";

/// What was last seen in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastSeen {
    epoch: u64,
    number: u64,
    terms: Terms,
}

/// The terms that were last seen in Redis. Losing it costs one notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TermsSeen {
    last: Option<LastSeen>,
    /// This process has told Redis to stop, and that was not seen yet.
    stopping: bool,
}

impl TermsSeen {
    /// This process is about to stop issuing in Redis. To be called before it does, as the call may be broken off.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Takes in what is open in Redis; in words, what differs from before although no change of ours came between. `given`: the number of
    /// the last change that the database knows of.
    pub(crate) fn observe(&mut self, open: Option<&OpenInRedis>, given: Option<u64>) -> Option<String> {
        let open = open?;
        let now = LastSeen { epoch: open.epoch, number: open.number, terms: open.terms };
        let stopped = self.stopping && now.terms.suspended;
        let before = self.last.replace(now).filter(|before| before.epoch == now.epoch);
        self.stopping &= !stopped;
        let before = before?;
        // Numbers only grow, and none is above what the database has given.
        let is_ours = now.number > before.number && given.is_none_or(|given| now.number <= given);
        self.stopping &= !is_ours;
        let changed = if is_ours { Vec::new() } else { changes(&before, &now, stopped) };
        (!changed.is_empty()).then(|| {
            format!(
                "somebody has changed {} in Redis, not by way of this object; users met it for up to some seconds, and it is put right: \
                 leave the keys of campaigns to the operator",
                changed.join(", ")
            )
        })
    }
}

/// What differs. `stopped`: that it is suspended now was this process.
fn changes(before: &LastSeen, now: &LastSeen, stopped: bool) -> Vec<String> {
    // Without a rest: a term that comes to be is compared, or this does not compile.
    let Terms { total, limit, start_ms, end_ms, suspended } = before.terms;
    let next = now.terms;
    let parts = [
        (next.total != total).then(|| format!("total from {total} to {}", next.total)),
        (next.limit != limit).then(|| format!("limit from {limit} to {}", next.limit)),
        (next.start_ms != start_ms).then(|| "the window's start".to_owned()),
        (next.end_ms != end_ms).then(|| "the window's end".to_owned()),
        (next.suspended != suspended && !stopped).then(|| format!("suspended from {suspended} to {}", next.suspended)),
        (now.number != before.number)
            .then(|| format!("the number of the terms from {} to {}", before.number, now.number)),
    ];
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { total: 10, limit: 1, start_ms: 5, end_ms: 9, suspended: false };

    fn open(epoch: u64, number: u64, terms: Terms) -> OpenInRedis {
        OpenInRedis { epoch, history: "h".into(), terms, number, highest: 0, misfit: None }
    }

    /// Wrong: what somebody writes into Redis is put right, and nobody learns of it; or what the operator did is called somebody else's.
    #[test]
    fn what_changes_without_a_number_of_ours_was_somebody_elses() {
        let stopped = Terms { suspended: true, ..TERMS };
        for (what, found, expected) in [
            ("nothing", open(1, 1, TERMS), None),
            ("a change of ours", open(1, 2, Terms { total: 20, ..TERMS }), None),
            ("ours stops", open(1, 2, stopped), None),
            ("filled anew", open(2, 1, Terms { total: 20, ..TERMS }), None),
            (
                "two",
                open(1, 1, Terms { total: 5, start_ms: 6, ..TERMS }),
                Some("total from 10 to 5, the window's start"),
            ),
            ("total", open(1, 1, Terms { total: 11, ..TERMS }), Some("total from 10 to 11")),
            ("limit", open(1, 1, Terms { limit: 3, ..TERMS }), Some("limit from 1 to 3")),
            ("start", open(1, 1, Terms { start_ms: 6, ..TERMS }), Some("the window's start")),
            ("end", open(1, 1, Terms { end_ms: 8, ..TERMS }), Some("the window's end")),
            ("stopped", open(1, 1, stopped), Some("suspended from false to true")),
            ("a number that was not given", open(1, 3, Terms { total: 11, ..TERMS }), Some("total from 10 to 11")),
            ("a number that was there before", open(1, 0, TERMS), Some("the number of the terms from 1 to 0")),
        ] {
            let mut seen = TermsSeen::default();
            assert_eq!(seen.observe(Some(&open(1, 1, TERMS)), Some(2)), None, "{what}: the first look");
            if what.starts_with("ours") {
                seen.stop();
            }
            let said = seen.observe(Some(&found), Some(2));
            assert_eq!(said.is_some(), expected.is_some(), "{what}: {said:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{what}");
            assert_eq!(seen.observe(Some(&found), Some(2)), None, "{what}: once");
        }
        assert_eq!(TermsSeen::default().observe(None, None), None, "closed");
    }

    /// Wrong: one stop of ours covers for every later one by hand.
    #[test]
    fn a_stop_of_ours_is_one() {
        let stopped = Terms { suspended: true, ..TERMS };
        let mut seen = TermsSeen::default();
        let mut see = |number, terms, stops: bool| {
            if stops {
                seen.stop();
            }
            seen.observe(Some(&open(1, number, terms)), Some(number)).is_some()
        };
        for (what, number, terms, stops, expected) in [
            ("the first look", 1, TERMS, false, false),
            ("this look was on its way when we stopped", 1, TERMS, true, false),
            ("and it is there", 1, stopped, false, false),
            ("let go by hand", 1, TERMS, false, true),
            ("stopped by hand", 1, stopped, false, true),
            ("we let it go", 2, TERMS, false, false),
            ("a stop that a change of ours overtook", 3, TERMS, true, false),
            ("stopped by hand after it", 3, stopped, false, true),
        ] {
            assert_eq!(see(number, terms, stops), expected, "{what}");
        }
    }
}
