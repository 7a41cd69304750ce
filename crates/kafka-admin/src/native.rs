//! Ownership of librdkafka's objects: everything that must be destroyed is held by an [`Owned`], so no path leaks it.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;

use super::error::Failure;

/// A native object that must be destroyed once.
///
/// # Safety
/// `destroy` must release exactly what the matching constructor made.
pub(super) unsafe trait Native {
    /// # Safety
    /// `this` is valid and is not used afterwards.
    unsafe fn destroy(this: *mut Self);
}

macro_rules! native {
    ($($kind:ty => $destroy:path),+ $(,)?) => {$(
        // SAFETY: librdkafka documents this function as the counterpart of the object's constructor.
        unsafe impl Native for $kind {
            unsafe fn destroy(this: *mut Self) {
                // SAFETY: the caller passes a valid object and gives it up.
                unsafe { $destroy(this) }
            }
        }
    )+};
}

native! {
    sys::rd_kafka_AdminOptions_t => sys::rd_kafka_AdminOptions_destroy,
    sys::rd_kafka_NewTopic_t => sys::rd_kafka_NewTopic_destroy,
    sys::rd_kafka_NewPartitions_t => sys::rd_kafka_NewPartitions_destroy,
    sys::rd_kafka_DeleteTopic_t => sys::rd_kafka_DeleteTopic_destroy,
    sys::rd_kafka_DeleteRecords_t => sys::rd_kafka_DeleteRecords_destroy,
    sys::rd_kafka_DeleteGroup_t => sys::rd_kafka_DeleteGroup_destroy,
    sys::rd_kafka_ConfigResource_t => sys::rd_kafka_ConfigResource_destroy,
    sys::rd_kafka_TopicCollection_t => sys::rd_kafka_TopicCollection_destroy,
    sys::rd_kafka_ListConsumerGroupOffsets_t => sys::rd_kafka_ListConsumerGroupOffsets_destroy,
    sys::rd_kafka_AlterConsumerGroupOffsets_t => sys::rd_kafka_AlterConsumerGroupOffsets_destroy,
    sys::rd_kafka_ElectLeaders_t => sys::rd_kafka_ElectLeaders_destroy,
    sys::rd_kafka_error_t => sys::rd_kafka_error_destroy,
    sys::rd_kafka_event_t => sys::rd_kafka_event_destroy,
    sys::rd_kafka_queue_t => sys::rd_kafka_queue_destroy,
}

/// A native object of ours; destroyed on drop.
pub(super) struct Owned<T: Native>(NonNull<T>);

impl<T: Native> Owned<T> {
    /// Takes over an object. None if librdkafka could not make it.
    ///
    /// # Safety
    /// `object` is null, or valid and owned by nobody else.
    pub(crate) unsafe fn new(object: *mut T) -> Option<Self> {
        NonNull::new(object).map(Self)
    }

    /// For passing to librdkafka; stays ours.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Native> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: valid and ours since `new`, and not used after drop.
        unsafe { T::destroy(self.0.as_ptr()) }
    }
}

// SAFETY: an event is a plain value with one owner; it may be read and destroyed on any thread.
unsafe impl Send for Owned<sys::rd_kafka_event_t> {}
// SAFETY: queues are made to be used from several threads at once.
unsafe impl Send for Owned<sys::rd_kafka_queue_t> {}
// SAFETY: as above.
unsafe impl Sync for Owned<sys::rd_kafka_queue_t> {}

/// The buffer that librdkafka writes the reason of a refused argument into.
pub(super) struct Complaint([c_char; 512]);

impl Complaint {
    pub(crate) fn new() -> Self {
        Self([0; 512])
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.len()
    }

    /// The failure that librdkafka described, or a general one if it said nothing.
    pub(crate) fn into_failure(self, what: &str) -> Failure {
        // SAFETY: librdkafka ends what it writes with a NUL, within the capacity; the buffer starts as zeros.
        let said = unsafe { text(self.0.as_ptr()) };
        let said = if said.is_empty() { "invalid argument".to_owned() } else { said };
        Failure { code: Code::InvalidArgument, message: format!("{what}: {said}") }
    }
}

/// A name or value for librdkafka; a NUL byte inside is refused.
pub(super) fn c_string(value: &str) -> Result<CString, Failure> {
    CString::new(value)
        .map_err(|_| Failure { code: Code::InvalidArgument, message: format!("{value:?} contains a NUL byte") })
}

/// A topic's name for librdkafka. One that Kafka cannot hold is refused at once: some calls would wait for such a topic
/// until their deadline, and then blame the network.
pub(super) fn topic_name(name: &str) -> Result<CString, Failure> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.bytes().all(legal) {
        let message =
            format!("{name:?} is no topic name: Kafka takes 1 to 249 letters, digits, dots, dashes, underscores");
        return Err(Failure { code: Code::InvalidTopic, message });
    }
    c_string(name)
}

/// A copy of a native string; empty for null.
///
/// # Safety
/// `string` is null or ends with a NUL.
pub(super) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: not null, and NUL-terminated as the caller says.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// Runs one of librdkafka's accessors that give an array of pointers and its length.
///
/// # Safety
/// The array lives at least as long as `'a`.
pub(super) unsafe fn array<'a, T>(access: impl FnOnce(*mut usize) -> *mut *const T) -> &'a [*const T] {
    let mut count = 0;
    let first = access(&raw mut count);
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: librdkafka gives `count` pointers from `first` on; the caller vouches for how long.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// The failure in an error object; none for null or "no error".
///
/// # Safety
/// `error` is null or valid.
pub(super) unsafe fn failure_of(error: *const sys::rd_kafka_error_t) -> Option<Failure> {
    if error.is_null() {
        return None;
    }
    // SAFETY: valid as the caller says.
    let (code, message) = unsafe { (sys::rd_kafka_error_code(error).into(), text(sys::rd_kafka_error_string(error))) };
    failure(code, message)
}

/// Code and message as a failure; none if the code says that all went well.
pub(super) fn failure(code: Code, message: String) -> Option<Failure> {
    match code {
        Code::NoError => None,
        _ if message.is_empty() => Some(Failure { code, message: code.to_string() }),
        _ => Some(Failure { code, message }),
    }
}
