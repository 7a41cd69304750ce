//! One librdkafka client and the thread that collects its answers.
//!
//! librdkafka does the work on its own threads and puts every answer, connection error and log line on one queue. A thread
//! of ours waits there and wakes the call that an answer belongs to, so no call blocks a thread.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::{Client as RdClient, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaType};
use rdkafka_sys as sys;
use tokio::sync::oneshot;

use super::error::{AdminError, Circumstances, Failure, Subject, classify};
use super::event::{Event, event_failure, log_line};
use super::native::{Complaint, Owned};

/// How long the collecting thread waits for an event before it checks whether the client is still in use.
const IDLE: Duration = Duration::from_millis(250);

/// How long a call waits after its deadline. librdkafka reports its own timeout within that time, with a better message than ours.
const GRACE: Duration = Duration::from_millis(500);

/// The longest deadline that librdkafka accepts.
const LONGEST: Duration = Duration::from_secs(3600);

/// Properties that are set unless the caller sets them. With them the client reconnects quickly after an outage, and notices before
/// the usual deadline that a peer does not answer any more.
const DEFAULTS: [(&str, &str); 5] = [
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.connection.setup.timeout.ms", "5000"),
    // With sparse connections, librdkafka (2.12.1, rd_kafka_broker_get_async) does not pause between attempts to reach a broker that
    // refuses connections, as long as a call needs that broker: it would use a whole core.
    ("enable.sparse.connections", "false"),
    // The client never joins this group; `start` says why it has one.
    ("group.id", "coupon-admin"),
    ("enable.auto.commit", "false"),
];

/// The order of the fields matters, as they are dropped in this order: the queue is a part of the client and must go first.
pub(super) struct Client {
    queue: Owned<sys::rd_kafka_queue_t>,
    native: RdClient<DefaultClientContext>,
    bootstrap: String,
    next_call: AtomicUsize,
    /// Number of requests, shared with the clients that were replaced by this one or will replace it.
    requests: Arc<AtomicU64>,
    waiting: Mutex<HashMap<usize, oneshot::Sender<Event>>>,
    trouble: Mutex<Option<Failure>>,
}

impl Client {
    /// Creates the client and starts its thread. The thread ends, and destroys the client, once nothing else holds the client.
    /// `trouble` is the last connection error of the client that this one replaces.
    pub(crate) fn start(
        config: &ClientConfig,
        requests: Arc<AtomicU64>,
        trouble: Option<Failure>,
    ) -> Result<Arc<Self>, AdminError> {
        let Some(bootstrap) = config.get("bootstrap.servers").filter(|servers| !servers.is_empty()) else {
            return Err(AdminError::InvalidClient { cause: "bootstrap.servers is not set".into() });
        };
        let bootstrap = bootstrap.to_owned();
        let mut config = config.clone();
        for (key, value) in DEFAULTS {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        let native_config = config.create_native_config().map_err(refused)?;
        // SAFETY: the configuration is valid and not yet given to a client.
        unsafe { sys::rd_kafka_conf_set_events(native_config.ptr(), sys::RD_KAFKA_EVENT_ERROR) };
        // A consumer that never subscribes, so it never joins its group. A producer has no group handle, and librdkafka
        // (2.12.1, rd_kafka_handle_OffsetFetch) follows a null one when a group's coordinator moves or is not there yet.
        let native = RdClient::new(&config, native_config, RDKafkaType::RD_KAFKA_CONSUMER, DefaultClientContext)
            .map_err(refused)?;
        // SAFETY: the client is valid; the call returns a reference that we own.
        let queue = unsafe { Owned::new(sys::rd_kafka_queue_get_main(native.native_ptr())) };
        let queue = queue.ok_or_else(|| AdminError::InvalidClient { cause: "it has no event queue".into() })?;
        let client = Arc::new(Self {
            queue,
            native,
            bootstrap,
            next_call: AtomicUsize::new(1),
            requests,
            waiting: Mutex::default(),
            trouble: Mutex::new(trouble),
        });
        let collecting = Arc::clone(&client);
        std::thread::Builder::new()
            .name("kafka-admin".into())
            .spawn(move || {
                while Arc::strong_count(&collecting) > 1 {
                    collecting.collect(IDLE);
                }
            })
            .map_err(|error| AdminError::InvalidClient { cause: format!("its thread does not start: {error}") })?;
        Ok(client)
    }

    /// `bootstrap.servers` as configured.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The last connection error since a call last succeeded.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        lock(&self.trouble).clone()
    }

    /// Adds to the number of requests, for calls for which librdkafka sends several.
    pub(crate) fn count_requests(&self, requests: usize) {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
    }

    /// Classifies a failure, taking the last connection error into account.
    pub(crate) fn sort(&self, failure: Failure, subject: Subject<'_>, deadline: Duration) -> AdminError {
        let trouble = self.trouble();
        classify(failure, subject, Circumstances { bootstrap: self.bootstrap.clone(), deadline, trouble })
    }

    /// Sends a request. `send` is called once, at once, with client, options and reply queue, all valid during the call.
    pub(crate) fn submit(
        self: &Arc<Self>,
        kind: sys::rd_kafka_admin_op_t,
        deadline: Duration,
        send: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Call, Failure> {
        self.submit_as(kind, deadline, false, send)
    }

    /// As [`Client::submit`]. With `dry` the brokers only validate the request.
    pub(crate) fn submit_as(
        self: &Arc<Self>,
        kind: sys::rd_kafka_admin_op_t,
        deadline: Duration,
        dry: bool,
        send: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Call, Failure> {
        let deadline = deadline.clamp(Duration::from_millis(1), LONGEST);
        self.count_requests(1);
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let options = self.options(kind, deadline, id)?;
        if dry {
            let mut complaint = Complaint::new();
            // SAFETY: options and buffer are valid, and the capacity is the buffer's.
            let code = unsafe {
                sys::rd_kafka_AdminOptions_set_validate_only(
                    options.as_ptr(),
                    1,
                    complaint.as_mut_ptr(),
                    complaint.capacity(),
                )
            };
            if Code::from(code) != Code::NoError {
                return Err(complaint.into_failure("a request that changes nothing"));
            }
        }
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let call = Call { client: Arc::clone(self), id, answer, deadline };
        send(self.native.native_ptr(), options.as_ptr(), self.queue.as_ptr());
        Ok(call)
    }

    fn options(
        &self,
        kind: sys::rd_kafka_admin_op_t,
        deadline: Duration,
        call: usize,
    ) -> Result<Owned<sys::rd_kafka_AdminOptions_t>, Failure> {
        use sys::rd_kafka_admin_op_t::{
            RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, RD_KAFKA_ADMIN_OP_CREATETOPICS, RD_KAFKA_ADMIN_OP_DELETETOPICS,
            RD_KAFKA_ADMIN_OP_ELECTLEADERS,
        };
        let mut complaint = Complaint::new();
        // SAFETY: the client is valid; the options made are owned by nobody else.
        let options = unsafe { Owned::new(sys::rd_kafka_AdminOptions_new(self.native.native_ptr(), kind)) };
        let Some(options) = options else { return Err(complaint.into_failure("request options")) };
        let millis = i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: options and buffer are valid, and the capacity is the buffer's.
        let mut code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.as_ptr(),
                millis,
                complaint.as_mut_ptr(),
                complaint.capacity(),
            )
        };
        let on_controller = matches!(
            kind,
            RD_KAFKA_ADMIN_OP_CREATETOPICS
                | RD_KAFKA_ADMIN_OP_CREATEPARTITIONS
                | RD_KAFKA_ADMIN_OP_DELETETOPICS
                | RD_KAFKA_ADMIN_OP_ELECTLEADERS
        );
        if on_controller && Code::from(code) == Code::NoError {
            // SAFETY: as above; these kinds know this option.
            code = unsafe {
                sys::rd_kafka_AdminOptions_set_operation_timeout(
                    options.as_ptr(),
                    millis,
                    complaint.as_mut_ptr(),
                    complaint.capacity(),
                )
            };
        }
        if Code::from(code) != Code::NoError {
            return Err(complaint.into_failure("deadline"));
        }
        // SAFETY: librdkafka returns the value with the answer and never dereferences it: it is a number, not an address.
        unsafe {
            sys::rd_kafka_AdminOptions_set_opaque(options.as_ptr(), std::ptr::without_provenance_mut::<c_void>(call));
        }
        Ok(options)
    }

    /// Takes at most one event from the queue and handles it.
    fn collect(&self, patience: Duration) {
        let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; a polled event belongs to the caller.
        let event = unsafe { Owned::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), millis)) };
        let Some(event) = event else { return };
        // SAFETY: the event is valid.
        match unsafe { sys::rd_kafka_event_type(event.as_ptr()) } {
            sys::RD_KAFKA_EVENT_ERROR => self.note_trouble(&event),
            sys::RD_KAFKA_EVENT_LOG => log_line(&event),
            _ => self.deliver(event),
        }
    }

    fn deliver(&self, event: Event) {
        // SAFETY: the event is valid.
        let gathered = matches!(
            unsafe { sys::rd_kafka_event_type(event.as_ptr()) },
            sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT
                | sys::RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT
                | sys::RD_KAFKA_EVENT_DELETEGROUPS_RESULT
                | sys::RD_KAFKA_EVENT_DELETERECORDS_RESULT
        );
        // An answer that combines those of several brokers succeeds as a whole even if none of them was reached.
        if !gathered && event_failure(&event).is_none() {
            *lock(&self.trouble) = None;
        }
        // SAFETY: the event is valid; its opaque is the number given in `options`.
        let call = unsafe { sys::rd_kafka_event_opaque(event.as_ptr()) }.addr();
        if let Some(waiting) = lock(&self.waiting).remove(&call) {
            // If the caller has just given up, nobody receives the answer.
            drop(waiting.send(event));
        }
    }

    fn note_trouble(&self, event: &Event) {
        let Some(failure) = event_failure(event) else { return };
        tracing::debug!(bootstrap = self.bootstrap, code = ?failure.code, "{}", failure.message);
        // The message ends in conditions, which must stay the same. The part in brackets (milliseconds, repetitions) does not.
        let failure = Failure { message: without_figures(&failure.message).to_owned(), ..failure };
        let mut trouble = lock(&self.trouble);
        // "All brokers down" says less than the earlier error of a single broker.
        if failure.code != Code::AllBrokersDown || trouble.is_none() {
            *trouble = Some(failure);
        }
    }
}

/// A request that has been sent. If it is dropped, the answer is ignored.
pub(super) struct Call {
    client: Arc<Client>,
    id: usize,
    answer: oneshot::Receiver<Event>,
    deadline: Duration,
}

impl Call {
    /// Waits for the answer until [`GRACE`] after the deadline. An answer that failed as a whole is an error; the decoders find failures
    /// of its parts.
    pub(crate) async fn answer(mut self) -> Result<Event, Failure> {
        match tokio::time::timeout(self.deadline + GRACE, &mut self.answer).await {
            Ok(Ok(event)) => match event_failure(&event) {
                None => Ok(event),
                Some(failure) => Err(failure),
            },
            Ok(Err(_)) | Err(_) => {
                Err(Failure { code: Code::OperationTimedOut, message: "no answer from the Kafka client".into() })
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.client.waiting).remove(&self.id);
    }
}

/// The error of a configuration that librdkafka refuses. It does not contain the value of the property, which may be a secret.
fn refused(error: KafkaError) -> AdminError {
    let cause = match error {
        KafkaError::ClientConfig(_, complaint, key, _) => format!("{key}: {complaint}"),
        KafkaError::ClientCreation(complaint) => complaint,
        other => other.to_string(),
    };
    AdminError::InvalidClient { cause }
}

/// Locks a mutex, also after a panic of another thread: what these mutexes guard is consistent between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of librdkafka without the figures at its end, as in `Connection refused (after 0ms in state CONNECT)`.
fn without_figures(text: &str) -> &str {
    text.split(" (after ").next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn start(config: &ClientConfig) -> Result<Arc<Client>, AdminError> {
        Client::start(config, Arc::default(), None)
    }

    /// Nothing listens there, so calls stay open until their deadline.
    fn client() -> Arc<Client> {
        start(ClientConfig::new().set("bootstrap.servers", "127.0.0.1:1")).unwrap()
    }

    fn ask(client: &Arc<Client>, deadline: Duration) -> Call {
        let kind = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let sent = client.submit(kind, deadline, |rk, options, queue| {
            // SAFETY: `submit` passes valid pointers.
            unsafe { sys::rd_kafka_DescribeCluster(rk, options, queue) }
        });
        sent.map_err(|failure| failure.message).unwrap()
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
            std::thread::yield_now();
        }
    }

    /// Wrong: every change of a class's connections leaves a thread and its connections behind.
    #[test]
    fn the_client_ends_with_its_last_user_even_while_a_request_is_open() {
        let client = client();
        let watch = Arc::downgrade(&client);
        let call = ask(&client, Duration::from_secs(60));
        drop(client);
        assert!(watch.strong_count() > 1, "an open call keeps the client");
        drop(call);
        wait_until("the client is gone", || watch.strong_count() == 0);
    }

    /// Wrong: a cancelled pass leaves its entry behind for ever.
    #[test]
    fn a_call_given_up_is_forgotten_and_its_late_answer_dropped() {
        let client = client();
        // Long enough that nothing is answered before the assertions below, also on a busy machine.
        let (given_up, kept) = (ask(&client, Duration::from_secs(3)), ask(&client, Duration::from_secs(4)));
        assert_eq!(lock(&client.waiting).len(), 2);
        drop(given_up);
        assert_eq!(lock(&client.waiting).len(), 1);
        wait_until("the other call is answered", || lock(&client.waiting).is_empty());
        drop(kept);
    }

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("sasl.pasword", "hunter2");
        let error = start(&config).err().unwrap();
        assert!(error.to_string().contains("sasl.pasword"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = start(&ClientConfig::new()).err().unwrap();
        assert!(error.to_string().contains("bootstrap.servers"), "{error}");
    }
}
