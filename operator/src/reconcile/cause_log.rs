//! Causes for which an event was published.

use std::collections::{BTreeMap, BTreeSet};

/// Why pods do not come up, as far as an event was published for it, by kind of pod. Losing it costs one event more.
#[derive(Debug, Clone, Default)]
pub(crate) struct CauseLog(BTreeMap<&'static str, BTreeSet<&'static str>>);

impl CauseLog {
    /// Whether this cause is new of this kind. `None`: there is none, so that each is new again later.
    pub(super) fn is_new(&mut self, kind: &'static str, cause: Option<&'static str>) -> bool {
        let told = self.0.entry(kind).or_default();
        match cause {
            Some(cause) => told.insert(cause),
            None => {
                told.clear();
                false
            }
        }
    }
}
