//! The one connection to Redis, and the task that keeps it connected.
//!
//! Callers take the live connection and report when it fails; a supervisor makes the next one, outside of the request
//! path. A connection is not trusted until a call on it has succeeded: one that breaks before that counts as Redis being
//! away, and while Redis is away callers fail at once instead of waiting. A server that answers with a refusal keeps its
//! connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_core::connections::Redis;
use coupon_ledger::redis::{Afterwards, RedisError, connect};
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log_throttle::LogThrottle;

/// How long one call may take. Two of them and a reconnect fit into a batch's deadline.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(800);
/// Shortest and longest pause between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A connection that works as far as is known.
#[derive(Clone)]
pub struct Live {
    /// For calls; clones share one socket.
    pub connection: MultiplexedConnection,
    number: u64,
    proved: Arc<AtomicBool>,
    throttle: Arc<LogThrottle>,
}

impl Live {
    /// A call on it succeeded.
    pub fn works(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    /// The same, for a call that gives ranks: a server that refuses these may answer others well.
    pub fn serves(&self) {
        self.works();
        if self.throttle.recovered() {
            tracing::info!("Redis serves again");
        }
    }
}

#[derive(Clone)]
enum Link {
    /// Being connected; `away` says why the last attempt failed, if it did.
    Down {
        away: Option<Arc<str>>,
    },
    Up(Live),
}

/// Handle to the connection. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink {
    link: Arc<watch::Sender<Link>>,
    throttle: Arc<LogThrottle>,
}

/// Why a read of Redis has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// No connection now.
    #[error("Redis is away")]
    Away,
    /// The call failed.
    #[error("{0}")]
    Failed(Arc<RedisError>),
}

impl RedisLink {
    /// A handle, and the task that keeps it connected; the task ends when it is dropped or aborted.
    pub fn new(settings: Redis) -> (Self, impl Future<Output = ()> + Send) {
        let (link, throttle) = (Arc::new(watch::Sender::new(Link::Down { away: None })), Arc::<LogThrottle>::default());
        (Self { link: Arc::clone(&link), throttle: Arc::clone(&throttle) }, supervise(settings, link, throttle))
    }

    /// The connection, if there is one now.
    pub fn live(&self) -> Option<Live> {
        match &*self.link.borrow() {
            Link::Up(live) => Some(live.clone()),
            Link::Down { .. } => None,
        }
    }

    /// Whether the last attempt to reach Redis failed.
    pub fn is_away(&self) -> bool {
        self.why_away().is_some()
    }

    /// Why the last attempt to reach Redis failed, if it did.
    pub fn why_away(&self) -> Option<Arc<str>> {
        match &*self.link.borrow() {
            Link::Down { away } => away.clone(),
            Link::Up(_) => None,
        }
    }

    /// The connection, waiting for one until `deadline`.
    pub async fn live_by(&self, deadline: Instant) -> Option<Live> {
        let mut changes = self.link.subscribe();
        let up = async { changes.wait_for(|link| matches!(link, Link::Up(_))).await.ok().map(|link| link.clone()) };
        match tokio::time::timeout_at(deadline, up).await {
            Ok(Some(Link::Up(live))) => Some(live),
            _ => None,
        }
    }

    /// A call on `live` failed. If the connection is spoiled it is given up, and a new one is made; reports about an older connection
    /// are ignored.
    pub fn failed(&self, live: &Live, error: &RedisError) {
        let gives_up = error.connection() == Afterwards::GivenUp;
        let given_up = gives_up
            && self.link.send_if_modified(|link| match link {
                Link::Up(current) if current.number == live.number => {
                    let proved = live.proved.load(Ordering::Relaxed);
                    *link = Link::Down { away: (!proved).then(|| error.to_string().into()) };
                    true
                }
                _ => false,
            });
        if (given_up || !gives_up) && self.throttle.should_log(&error.cause(), Instant::now()) {
            tracing::warn!(%error, reconnects = given_up, "a call to Redis failed");
        }
    }

    /// The primary is another server now: any present connection leads to the wrong one.
    pub fn renew(&self) {
        self.link.send_if_modified(|link| match link {
            Link::Up(_) => {
                *link = Link::Down { away: None };
                true
            }
            Link::Down { .. } => false,
        });
    }

    /// One read, at most [`CALL_TIMEOUT`] long; not repeated.
    pub async fn read<T, F>(&self, call: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let live = self.live().ok_or(LinkError::Away)?;
        let result = match tokio::time::timeout(CALL_TIMEOUT, call(live.connection.clone())).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::Timeout(CALL_TIMEOUT.as_millis())),
        };
        match result {
            Ok(value) => {
                live.works();
                Ok(value)
            }
            Err(error) => {
                self.failed(&live, &error);
                Err(LinkError::Failed(Arc::new(error)))
            }
        }
    }
}

async fn supervise(settings: Redis, link: Arc<watch::Sender<Link>>, throttle: Arc<LogThrottle>) {
    let mut changes = link.subscribe();
    let mut number = 0;
    let mut pause = BACKOFF.0;
    let mut proved = Arc::new(AtomicBool::new(true));
    while changes.wait_for(|link| matches!(link, Link::Down { .. })).await.is_ok() {
        if proved.load(Ordering::Relaxed) {
            // The first attempt after a connection that worked is made at once.
            pause = BACKOFF.0;
        } else {
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
        match connect::connect(&settings, CALL_TIMEOUT).await {
            Ok(connection) => {
                number += 1;
                proved = Arc::new(AtomicBool::new(false));
                if number == 1 {
                    tracing::info!("connected to Redis");
                }
                let (proved, throttle) = (Arc::clone(&proved), Arc::clone(&throttle));
                link.send_replace(Link::Up(Live { connection, number, proved, throttle }));
            }
            Err(error) => {
                proved = Arc::new(AtomicBool::new(false));
                link.send_replace(Link::Down { away: Some(error.to_string().into()) });
                if throttle.should_log(&error.cause(), Instant::now()) {
                    tracing::warn!(%error, "Redis cannot be reached; trying again and again");
                }
            }
        }
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
