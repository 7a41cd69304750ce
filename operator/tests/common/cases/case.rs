//! What a case is.

use serde_json::{Value, json};

use crate::common::Kind;

/// Who refuses an object, and what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It is taken.
    Taken,
    /// A bound, pattern or enum at this path.
    Schema(&'static str),
    /// The CEL rule whose message begins so.
    Cel(&'static str),
}

/// One case: the minimal object with `new` put in, created, or put over one with `old` put in.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) old: Option<Value>,
    pub(crate) new: Value,
    pub(crate) expect: Expect,
}

impl Case {
    /// The object to write.
    pub(crate) fn object(&self) -> Value {
        self.kind.patched(&self.new)
    }

    /// The object before, if this is an update.
    pub(crate) fn before(&self) -> Option<Value> {
        self.old.as_ref().map(|old| self.kind.patched(old))
    }
}

pub(crate) fn create(kind: Kind, name: &'static str, new: Value, expect: Expect) -> Case {
    Case { name, kind, old: None, new, expect }
}

pub(crate) fn update(kind: Kind, name: &'static str, old: Value, new: Value, expect: Expect) -> Case {
    Case { name, kind, old: Some(old), new, expect }
}

pub(crate) fn spec(value: Value) -> Value {
    json!({ "spec": value })
}
