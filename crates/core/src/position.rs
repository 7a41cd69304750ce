//! Where records lie.

/// Where a record lies in a topic.
///
/// ```
/// use coupon_core::position::Position;
///
/// let (first, later) = (Position { partition: 0, offset: 9 }, Position { partition: 1, offset: 0 });
/// assert!(first < later, "by partition, then by offset");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Partition number.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

/// Where a record lies, and in which topic. A topic that is made anew under the same name has another id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// The topic's id.
    pub topic_id: String,
    /// Where in it.
    pub at: Position,
}
