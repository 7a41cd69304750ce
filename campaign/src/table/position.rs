//! Where records lie.

/// Where a record lies in a topic.
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
