//! What a Service leads to besides the issuers, as remembered.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What was found last. Losing it costs a look.
#[derive(Debug, Clone, Default)]
pub(crate) struct StraysWatch {
    pub(crate) looked: Option<Instant>,
    /// By the last look: one that is new may be a pod of ours that the watch has not shown yet.
    pub(crate) before: BTreeSet<String>,
    pub(crate) said: Option<String>,
}

impl StraysWatch {
    pub(crate) fn is_due(&self) -> bool {
        let pause = if self.before.is_empty() { EVERY } else { AGAIN };
        self.looked.is_none_or(|at| at.elapsed() >= pause)
    }

    /// Takes in what a look has found.
    pub(crate) fn observe(&mut self, found: BTreeSet<String>, service: &str) {
        let lasting: Vec<&String> = found.intersection(&self.before).collect();
        let named: Vec<&str> = lasting.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = match lasting.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.said = (!lasting.is_empty()).then(|| {
            format!(
                "Service {service} leads to others than the campaign's issuers, and users who get there are lost: {}{more}; take the \
                 issuers' labels off these pods, or delete the slices",
                named.join(", ")
            )
        });
        self.before = found;
    }
}

/// How often it is looked for, as slices that are not ours are in no watch: one call for each campaign that has pods.
pub(crate) const EVERY: Duration = Duration::from_secs(30);

/// And while there is something.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);

/// So many are named.
pub(crate) const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_twice_is_said() {
        let found = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut watch = StraysWatch::default();
        assert!(watch.is_due());
        watch.observe(found(&["a"]), "s");
        assert_eq!(watch.said, None, "a pod of ours that is new");
        watch.observe(found(&["b", "c", "d", "e", "a"]), "s");
        assert!(watch.said.as_ref().is_some_and(|said| said.contains("lost: a;")), "{watch:?}");
        watch.observe(found(&["b", "c", "d", "e"]), "s");
        assert!(watch.said.as_ref().is_some_and(|said| said.contains("b, c, d and 1 more")), "{watch:?}");
        watch.observe(found(&[]), "s");
        assert_eq!(watch.said, None);
    }
}
