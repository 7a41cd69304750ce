//! The trials of docs/TRIALS.md, held against the tests that hold them: what the table says is run, not believed.

pub mod run;
pub mod table;
