//! Pictures as small SVGs, readable on light and on dark. Pure.

mod bars;
mod chart;
mod paper;

pub use self::bars::{Axis, Bars, Field, Kind};
pub use self::chart::{Chart, Line, Panel, Series};
pub use self::paper::rounded_up;
