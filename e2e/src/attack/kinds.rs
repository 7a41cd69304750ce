//! What is done to the doors.

use std::net::SocketAddr;
use std::time::Duration;

use super::swarm::Script;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The issuer's port for users.
    pub users: SocketAddr,
    /// Ports that users have no business with, of issuer, consumer and operator.
    pub internal: Vec<SocketAddr>,
    /// The campaign's path, such as `/api/coupons/spring`.
    pub path: String,
}

/// One way to be in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumIter, clap::ValueEnum)]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// Heads that never end, a byte a second.
    SlowHeads,
    /// Bodies that never end, large at first.
    SlowBodies,
    /// Heads of 380 KB.
    LargeHeads,
    /// Bodies of 1 MB where 16 KiB are taken.
    LargeBodies,
    /// 20,000 connections that say nothing.
    Connections,
    /// Requests without a pause, and nobody who reads the answers.
    Pipelining,
    /// Two lengths, two hosts, two requests in one.
    Smuggling,
    /// The same on the ports for probes and for the operator.
    InternalPorts,
}

impl Kind {
    /// Who is pressed by how many, and how.
    pub fn plan(self, targets: &Targets) -> (Vec<SocketAddr>, usize, Script) {
        let Targets { users, internal, path } = targets;
        let users = vec![*users];
        let slow = Duration::from_secs(1);
        let script = |first: String, again: Vec<u8>, pause, reads| Script { first: first.into(), again, pause, reads };
        let post = format!("POST {path}/issue HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n");
        let half = format!("{post}Content-Length: 16000\r\n\r\n{{\"userId\":\"{}", "x".repeat(15_900));
        let head = format!("{post}X-A: {}", "a".repeat(380_000));
        match self {
            Self::SlowHeads => (users, 6_000, script(format!("{post}X-A: "), b"a".to_vec(), slow, true)),
            Self::SlowBodies => (users, 6_000, script(half, b"x".to_vec(), slow, true)),
            Self::LargeHeads => (users, 1_000, script(head, b"a".to_vec(), slow, true)),
            Self::LargeBodies => {
                let body = format!("{post}Content-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
                (users, 200, script(body, Vec::new(), slow, true))
            }
            Self::Connections => (users, 20_000, script(String::new(), Vec::new(), slow, true)),
            Self::Pipelining => {
                let many = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").repeat(100);
                (users, 200, script(many.clone(), many.into_bytes(), Duration::from_millis(200), false))
            }
            Self::Smuggling => (users, 50, script(smuggled(path, &post), Vec::new(), slow, true)),
            Self::InternalPorts => (
                internal.clone(),
                4_000,
                script(format!("GET /x HTTP/1.1\r\nX-A: {}", "a".repeat(20_000)), b"a".to_vec(), slow, true),
            ),
        }
    }
}

/// A request that two readers may divide in two ways; a part that is no request ends the connection.
fn smuggled(path: &str, post: &str) -> String {
    let inner = format!("GET {path} HTTP/1.1\r\nHost: other\r\n\r\n");
    format!("{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", inner.len() + 5)
}
