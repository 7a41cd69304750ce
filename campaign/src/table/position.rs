//! Places in a topic.

/// Where a record lies in the campaign's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Partition number.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}
