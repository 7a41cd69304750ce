//! What events have told.

use std::collections::BTreeMap;

/// What was told last, by subject. Losing it costs one event more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told(BTreeMap<&'static str, String>);

impl Told {
    /// Whether this is news of its subject. `None`: there is nothing to tell, so that the same text is news again later.
    pub fn is_news(&mut self, subject: &'static str, text: Option<&str>) -> bool {
        match text {
            None => {
                self.0.remove(subject);
                false
            }
            Some(text) if self.0.get(subject).is_some_and(|told| told == text) => false,
            Some(text) => {
                self.0.insert(subject, text.to_owned());
                true
            }
        }
    }
}
