//! What listens at an address: asked only once a server could not be used, to say what to change.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::System;

/// For a name to be resolved, and for a connection to come about.
const CONNECT: Duration = Duration::from_millis(1500);
/// For a server that speaks first to do so; it is also what is waited for with one that does not.
const GREETING: Duration = Duration::from_millis(400);
/// For an answer.
const ANSWER: Duration = Duration::from_millis(800);

/// What was found at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// The name has no address.
    UnknownHost,
    /// The machine answers that nobody listens there.
    Refused,
    /// No connection comes about.
    Unreachable,
    /// It takes connections and says nothing.
    Silent,
    /// It takes connections and ends them when it is spoken to.
    Closes,
    /// It speaks TLS.
    Tls,
    /// Redis, without TLS.
    Redis,
    /// MySQL or MariaDB.
    Database,
    /// Something else.
    Other,
}

/// The beginning of a TLS handshake: a server that speaks TLS answers it, if only with an alert; others take it for nonsense, or
/// wait for its end.
fn hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    bytes.extend([b'c'; 32]);
    bytes.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    bytes
}

/// What a server's first bytes tell.
fn greeted(bytes: &[u8]) -> Listener {
    match bytes {
        // Length, number 0, then the protocol's version or an error.
        [_, _, 0, 0, 10 | 0xff, ..] => Listener::Database,
        _ => Listener::Other,
    }
}

/// Makes Redis answer, if only that it wants a password.
const PING: &[u8] = b"PING\r\n";

/// What an answer to [`hello`] or [`PING`] tells.
fn answered(bytes: &[u8]) -> Listener {
    match bytes {
        [0x15 | 0x16, 3, ..] => Listener::Tls,
        [b'-' | b'+', ..] => Listener::Redis,
        _ => Listener::Other,
    }
}

/// Looks at `host:port`, for some four seconds at most.
pub(crate) async fn listener(address: &str) -> Listener {
    let found = match timeout(CONNECT, tokio::net::lookup_host(address)).await {
        Ok(Ok(mut found)) => found.next(),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(found) = found else { return Listener::UnknownHost };
    match said(found, &hello()).await {
        // It waits for more, as Redis does where no line ends.
        Listener::Silent => said(found, PING).await,
        heard => heard,
    }
}

/// What a server answers to some bytes, on a connection of its own.
async fn said(address: SocketAddr, bytes: &[u8]) -> Listener {
    let mut stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Listener::Refused,
        Ok(Err(_)) | Err(_) => return Listener::Unreachable,
    };
    let mut heard = [0; 64];
    match timeout(GREETING, stream.read(&mut heard)).await {
        Ok(Ok(0) | Err(_)) => return Listener::Closes,
        Ok(Ok(length)) => return greeted(&heard[..length]),
        Err(_) => {}
    }
    if stream.write_all(bytes).await.is_err() {
        return Listener::Closes;
    }
    match timeout(ANSWER, stream.read(&mut heard)).await {
        Ok(Ok(0) | Err(_)) => Listener::Closes,
        Ok(Ok(length)) => answered(&heard[..length]),
        Err(_) => Listener::Silent,
    }
}

/// What to change, if what listens there explains why `system` could not be used. `tls`: whether the class asks for it.
pub(crate) fn advice(listener: Listener, address: &str, system: System, tls: bool) -> Option<String> {
    let field = match system {
        System::Redis => "redis",
        System::Database => "database",
        System::Kafka => "kafka.bootstrapServers",
    };
    let encrypt = match system {
        System::Redis => "rediss:// in redis.url (or redis.sentinel.tls)",
        System::Database => "database.tls: Required or VerifyIdentity",
        System::Kafka => "kafka.security.protocol: Tls or SaslTls",
    };
    let plain = match system {
        System::Redis => "redis:// in redis.url (or no redis.sentinel.tls)",
        System::Database => "database.tls: Disabled",
        System::Kafka => "kafka.security.protocol: Plaintext or SaslPlaintext",
    };
    Some(match (listener, system) {
        (Listener::UnknownHost, _) => {
            format!("the host of {address} has no address: correct {field} in the CampaignClass")
        }
        (Listener::Refused, _) => {
            format!(
                "nothing listens at {address}: start the server, or correct host and port of {field} in the CampaignClass"
            )
        }
        (Listener::Unreachable, _) => format!(
            "no connection to {address} comes about: correct {field} in the CampaignClass, or let firewalls and network policies pass it"
        ),
        (Listener::Silent, System::Kafka) if !tls => return None,
        (Listener::Silent, _) => {
            format!("{address} takes connections and does not answer: look at the server, or correct {field}")
        }
        (Listener::Tls, System::Redis | System::Kafka) if !tls => format!("{address} speaks TLS: set {encrypt}"),
        (Listener::Tls, System::Redis | System::Kafka) => return None,
        (Listener::Tls, System::Database) => {
            format!("{address} speaks TLS from the first byte, as no database does: correct {field}")
        }
        (Listener::Redis, System::Redis) if tls => format!("{address} does not speak TLS: set {plain}"),
        (Listener::Redis, System::Redis) | (Listener::Database, System::Database) => return None,
        (Listener::Redis, _) => format!("a Redis answers at {address}: correct the port of {field}"),
        (Listener::Database, _) => format!("a MySQL or MariaDB answers at {address}: correct the port of {field}"),
        (Listener::Closes, System::Kafka) if tls => {
            format!("{address} does not speak TLS: set {plain}, or correct the port")
        }
        (Listener::Closes, System::Database) => {
            format!("{address} ends connections before it greets, as no database does: correct the port of {field}")
        }
        (Listener::Closes | Listener::Other, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_change() {
        use Listener as L;
        for (listener, system, tls, says) in [
            (L::UnknownHost, System::Kafka, false, Some("has no address: correct kafka.bootstrapServers")),
            (L::Refused, System::Redis, false, Some("nothing listens at h:1")),
            (L::Unreachable, System::Database, false, Some("correct database in the CampaignClass")),
            (L::Tls, System::Redis, false, Some("speaks TLS: set rediss://")),
            (L::Redis, System::Redis, true, Some("does not speak TLS: set redis://")),
            (L::Tls, System::Kafka, false, Some("kafka.security.protocol: Tls")),
            (L::Closes, System::Kafka, true, Some("Plaintext")),
            (L::Redis, System::Database, false, Some("a Redis answers at h:1")),
            (L::Database, System::Redis, false, Some("MariaDB answers at h:1: correct the port of redis")),
            (L::Silent, System::Database, false, Some("does not answer")),
            // Where it explains nothing, the error stands for itself.
            (L::Redis, System::Redis, false, None),
            (L::Database, System::Database, true, None),
            (L::Tls, System::Redis, true, None),
            (L::Closes, System::Kafka, false, None),
        ] {
            let found = advice(listener, "h:1", system, tls);
            match says {
                None => assert_eq!(found, None, "{listener:?} {system}"),
                Some(says) => assert!(found.as_ref().is_some_and(|found| found.contains(says)), "{found:?}: {says}"),
            }
        }
    }

    #[test]
    fn first_bytes() {
        assert_eq!(answered(&[0x15, 3, 3, 0, 2, 2, 40]), Listener::Tls);
        assert_eq!(answered(b"-ERR unknown command"), Listener::Redis);
        assert_eq!(answered(b"HTTP/1.1 400"), Listener::Other);
        assert_eq!(greeted(&[80, 0, 0, 0, 10, b'5']), Listener::Database);
        assert_eq!(greeted(b"SSH-2.0"), Listener::Other);
        let hello = hello();
        let (record, handshake) = (usize::from(hello[4]), usize::from(hello[8]));
        assert_eq!((record, handshake), (hello.len() - 5, hello.len() - 9), "the lengths are right");
    }

    #[tokio::test]
    async fn nothing_and_silence() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        assert_eq!(listener(&address).await, Listener::Silent);
        drop(silent);
        assert_eq!(listener(&address).await, Listener::Refused);
        assert_eq!(listener("no-such-host.invalid:1").await, Listener::UnknownHost);
    }
}
