//! Which events were published, so that each is published once.

use std::collections::BTreeMap;

/// The text that was published last, by subject. Losing it costs one event more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventLog(BTreeMap<&'static str, String>);

impl EventLog {
    /// Whether this text is new for its subject. `None`: there is nothing to publish, so that the same text is new again later.
    pub(crate) fn is_new(&mut self, subject: &'static str, text: Option<&str>) -> bool {
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
