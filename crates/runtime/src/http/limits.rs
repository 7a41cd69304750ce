//! How much a port may hold: numbers only.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Longest head of a request, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;
/// Longest body on the port for users, in bytes.
pub const MAX_BODY: usize = 16 * 1024;
/// Longest body on the other ports, in bytes: a fence is a number.
pub const MAX_INTERNAL_BODY: usize = 1024;
/// Most header fields of a request.
pub(super) const MAX_FIELDS: usize = 64;
/// Receive buffer that is asked for per connection, in bytes: a head and a body fit, and what nobody reads stays small. Linux
/// keeps twice as much for its own records.
pub(super) const RECEIVE_BUFFER: usize = 32 * 1024;
/// Send buffer that is asked for per connection, in bytes: the longest answer fits. Left alone, it grows to megabytes for a client that
/// asks again and again without reading, and each of its requests is answered.
pub(super) const SEND_BUFFER: usize = 32 * 1024;

/// What one connection may cost at worst, in bytes: the buffer of a head, the first [`FREE_BODY`] bytes of a body, the answer, and
/// the records of hyper, tokio and the kernel. Idle ones cost about 1 KiB.
const CONNECTION_COST: u64 = 32 * 1024;
/// What a process needs without any connection, in bytes: the Kafka client, the queue, the runtime.
const BASE_COST: u64 = 64 * 1024 * 1024;
/// Connections of each port that is not for users.
const INTERNAL_CONNECTIONS: usize = 250;
/// Ports of an issuer that are not for users.
const INTERNAL_PORTS: u64 = 2;
/// Never fewer connections for users, whatever the memory: a limit so small kills the process anyway.
const FEWEST: u64 = 256;
/// Never more, whatever the memory.
const MOST: u64 = 100_000;
/// Files that are kept for everything else: Kafka, Redis, the database, logs.
const FILES_KEPT: u64 = 512;
/// The part of the memory that bodies may have beyond [`FREE_BODY`] each: one in so many.
const BODIES_PART: u64 = 16;
/// Bytes of each body that count as part of its connection, and not into the budget of all bodies: nobody who sends what is asked
/// for is refused because others send more.
pub(super) const FREE_BODY: usize = 1024;

/// What one port may hold, and how long each state of a connection may last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of one body.
    pub longest_body: usize,
    /// Bytes of all bodies together, beyond the first [`FREE_BODY`] of each.
    pub body_bytes: usize,
    /// From a connection's begin, or the first byte of a head, to the head's end.
    pub head: Duration,
    /// From a head's end to the body's.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Nothing of an answer could be sent for so long.
    pub write: Duration,
    /// For the client to read the last answer, and to stop sending.
    pub linger: Duration,
}

/// Above the 60 s after which the usual load balancers close a kept connection themselves: they must be the first, or they send a
/// request to a connection that is closed that moment.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);

impl Limits {
    /// Of the port for users, in a process that may have `memory` bytes and `files` open files.
    pub fn for_users(memory: u64, files: u64, keep_alive: Duration) -> Self {
        let bodies = memory / BODIES_PART;
        let internal = INTERNAL_PORTS * INTERNAL_CONNECTIONS as u64;
        let kept = BASE_COST + bodies + internal * CONNECTION_COST;
        let by_memory = memory.saturating_sub(kept) / CONNECTION_COST;
        let by_files = files.saturating_sub(FILES_KEPT + internal);
        let connections = by_memory.min(by_files).clamp(FEWEST, MOST);
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            longest_body: MAX_BODY,
            body_bytes: usize::try_from(bodies).unwrap_or(usize::MAX),
            idle: keep_alive,
            ..Self::internal()
        }
    }

    /// Of a port for probes, metrics or the operator.
    pub fn internal() -> Self {
        Self {
            connections: INTERNAL_CONNECTIONS,
            longest_body: MAX_INTERNAL_BODY,
            body_bytes: 1024 * 1024,
            head: Duration::from_secs(5),
            // The users' port gives a body 5 s and answers itself.
            body: Duration::from_secs(6),
            idle: KEEP_ALIVE,
            write: Duration::from_secs(5),
            linger: Duration::from_secs(1),
        }
    }
}

/// Lets this process have as many open files as it may, and says how many that is. Container runtimes leave the soft limit at 1,024.
///
/// # Errors
/// The system refuses to say or to set it.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn connections_follow_memory_and_files() {
        for (memory, files, connections) in [
            (256 * MIB, 1_000_000, 5_132),
            (512 * MIB, 1_000_000, 12_812),
            (1024 * MIB, 1_000_000, 28_172),
            (64 * MIB, 1_000_000, 256),
            (256 * MIB, 4_096, 3_084),
            (256 * MIB, 100, 256),
            (0, 0, 256),
            (u64::MAX, u64::MAX, 100_000),
        ] {
            let limits = Limits::for_users(memory, files, KEEP_ALIVE);
            assert_eq!(limits.connections, connections, "{memory} bytes, {files} files");
        }
    }

    #[test]
    fn what_is_promised_fits_into_the_memory() {
        for mib in [128, 256, 384, 512, 1024, 4096] {
            let limits = Limits::for_users(mib * MIB, 1 << 20, KEEP_ALIVE);
            let all = limits.connections as u64 + INTERNAL_PORTS * INTERNAL_CONNECTIONS as u64;
            let worst = BASE_COST + limits.body_bytes as u64 + all * CONNECTION_COST;
            assert!(worst <= mib * MIB, "{mib} MiB: {limits:?}");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_the_hard_one() {
        let files = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (files, files));
    }
}
