//! Events of librdkafka's queue: failures and log lines.

#![allow(unsafe_code)]

use rdkafka_sys as sys;

use super::error::Failure;
use super::native::{Owned, failure, text};

/// An answer of librdkafka.
pub(super) type Event = Owned<sys::rd_kafka_event_t>;

/// The failure of the event as a whole.
pub(super) fn event_failure(event: &Event) -> Option<Failure> {
    // SAFETY: the event is valid, and the string is copied before the event can go.
    let (code, message) = unsafe {
        (sys::rd_kafka_event_error(event.as_ptr()).into(), text(sys::rd_kafka_event_error_string(event.as_ptr())))
    };
    failure(code, message)
}

/// Passes one of its log lines on to ours.
pub(super) fn log_line(event: &Event) {
    let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: the event is valid and of the log kind; strings are copied before it goes.
    let (facility, line) = unsafe {
        if sys::rd_kafka_event_log(event.as_ptr(), &raw mut facility, &raw mut line, &raw mut level) != 0 {
            return;
        }
        (text(facility), text(line))
    };
    // Syslog levels. Nothing is an error here: whoever made a call that fails gets the error and decides.
    match level {
        0..=4 => tracing::warn!(target: "librdkafka", "{facility}: {line}"),
        5 | 6 => tracing::info!(target: "librdkafka", "{facility}: {line}"),
        _ => tracing::debug!(target: "librdkafka", "{facility}: {line}"),
    }
}
