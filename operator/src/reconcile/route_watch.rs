//! What was last found of a campaign's route, and when it is looked at again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::api::conditions::Report;

/// How often a route is looked at that is as it should be.
const CALM: Duration = Duration::from_secs(30);
/// How often one that is not; after the first minute, as others may have to act, less.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(60);

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// There is to be none, and there is none.
    Nothing,
    /// There is to be none yet, and nothing is in its way.
    Later,
    /// What is said of it.
    Said(Report),
    /// What is not wanted any more could not be removed.
    Stays,
}

/// What was last found of a campaign's route. Losing it costs some requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteWatch {
    last: Option<Look>,
    /// Kinds of which the campaign certainly has no object.
    gone: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
struct Look {
    /// A digest of what was wanted.
    wanted: String,
    at: Instant,
    /// Since when it has not been as it should be.
    unsettled: Option<Instant>,
    found: Found,
}

impl RouteWatch {
    /// Whether to look, if this is wanted.
    pub(super) fn is_due(&self, wanted: &str, now: Instant) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.wanted == wanted) else { return true };
        let pause = match (&last.found, last.unsettled) {
            // Nobody but us makes one that is ours.
            (Found::Nothing, _) => return false,
            (_, None) => CALM,
            (_, Some(since)) if now.duration_since(since) < FIRST => SOON,
            (_, Some(_)) => LATER,
        };
        now.duration_since(last.at) >= pause
    }

    /// Whether the object was as this says, so that a difference is somebody else's doing.
    pub(super) fn was_as(&self, wanted: &str) -> bool {
        let last = self.last.as_ref().filter(|last| last.wanted == wanted);
        last.is_some_and(|last| last.unsettled.is_none())
    }

    /// Takes in what was found.
    pub(super) fn observe(&mut self, wanted: String, found: Found, now: Instant) {
        let is_settled = match &found {
            Found::Nothing | Found::Later => true,
            Found::Said(report) => report.status == Some(true),
            Found::Stays => false,
        };
        let before = self.last.as_ref().filter(|last| last.wanted == wanted).and_then(|last| last.unsettled);
        let unsettled = (!is_settled).then(|| before.unwrap_or(now));
        self.last = Some(Look { wanted, at: now, unsettled, found });
    }

    /// What is said of it.
    pub(super) fn said(&self) -> Option<&Report> {
        match &self.last.as_ref()?.found {
            Found::Said(report) => Some(report),
            Found::Nothing | Found::Later | Found::Stays => None,
        }
    }

    /// Whether the campaign may have an object of this kind.
    pub(super) fn may_have(&self, kind: &'static str) -> bool {
        !self.gone.contains(kind)
    }

    /// It has none any more (`is_gone`), or may have one again.
    pub(super) fn has(&mut self, kind: &'static str, is_gone: bool) {
        if is_gone {
            self.gone.insert(kind);
        } else {
            self.gone.remove(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionType::RouteReady;

    /// Wrong: a thousand campaigns ask for their routes at each pass, or a Gateway that is repaired is noticed late.
    #[test]
    fn a_route_is_looked_at_often_while_it_is_not_as_it_should_be() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let yes = || Found::Said(Report::yes(RouteReady, "RouteAccepted", ""));
        let no = || Found::Said(Report::no(RouteReady, "RouteNotAccepted", ""));
        let unknown = || Found::Said(Report::unknown(RouteReady, "RouteUnanswered", ""));
        for (what, found, seconds, due) in [
            ("as it should be", yes(), 29, false),
            ("as it should be, and long ago", yes(), 30, true),
            ("refused", no(), 1, true),
            ("unanswered", unknown(), 1, true),
            ("no time for it yet", Found::Later, 29, false),
            ("no time for it yet, and long ago", Found::Later, 30, true),
            ("none", Found::Nothing, 3600, false),
            ("one that could not be removed", Found::Stays, 1, true),
        ] {
            let mut watch = RouteWatch::default();
            assert!(watch.is_due("a", start), "nobody has looked yet");
            watch.observe("a".to_owned(), found, start);
            assert_eq!(watch.is_due("a", after(seconds)), due, "{what}");
            assert!(watch.is_due("b", start), "{what}: something else is wanted");
        }
        let mut watch = RouteWatch::default();
        for second in 0..=60 {
            watch.observe("a".to_owned(), no(), after(second));
        }
        assert!(!watch.is_due("a", after(69)) && watch.is_due("a", after(70)), "others have to act");
        watch.observe("a".to_owned(), yes(), after(80));
        watch.observe("a".to_owned(), no(), after(90));
        assert!(watch.is_due("a", after(91)), "it is new");
    }
}
