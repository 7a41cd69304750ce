//! Texts that fit into an event.

/// As much of a text as an event's note may hold.
pub(crate) fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NOTE)).unwrap_or_default()
}

/// The API server refuses longer notes, in bytes.
pub(crate) const MAX_NOTE: usize = 1000;
