//! What Kafka says of campaigns, for many of them at once; what their topics should be, and making them.

pub(crate) mod coalescer;
pub(crate) mod topics;
pub(crate) mod view;
