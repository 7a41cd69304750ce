//! One attempt to find out whether a server serves, in its own protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::secured::redis_cli::redis_cli;

/// A network attempt takes no longer than this.
const ATTEMPT: Duration = Duration::from_secs(2);
/// A command may have to start a large program on a busy machine.
const COMMAND_ATTEMPT: Duration = Duration::from_secs(20);

/// How one knows that a server serves.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// It accepts connections.
    Tcp(SocketAddr),
    /// A GET of this path answers 200.
    Http(SocketAddr, &'static str),
    /// Redis or Sentinel: the answer to `command` contains `expect`.
    Redis { address: SocketAddr, password: Option<&'static str>, command: &'static str, expect: &'static str },
    /// The same over TLS, with a login; the server's certificate must be trusted by this authority.
    RedisTls {
        address: SocketAddr,
        login: (&'static str, &'static str),
        trusted: PathBuf,
        command: &'static str,
        expect: &'static str,
    },
    /// A broker answers a request for its versions: it is registered and unfenced, since it answers nothing before.
    Kafka(SocketAddr),
    /// MariaDB greets.
    MariaDb(SocketAddr),
    /// The command succeeds.
    Command(Vec<String>),
}

impl Probe {
    /// Tries once, in bounded time.
    ///
    /// # Errors
    /// A sentence that says what was seen instead.
    pub(crate) fn attempt(&self) -> Result<(), String> {
        match self {
            Self::Tcp(address) => connect(*address).map(drop),
            Self::Http(address, path) => {
                let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
                exchange(*address, request.as_bytes(), |answer| answer.windows(5).any(|part| part == b" 200 "))
            }
            Self::Redis { address, password, command, expect } => {
                let login = password.map(|password| format!("AUTH {password}\r\n")).unwrap_or_default();
                let request = format!("{login}{command}\r\n");
                exchange(*address, request.as_bytes(), |answer| String::from_utf8_lossy(answer).contains(expect))
            }
            Self::RedisTls { address, login, trusted, command, expect } => {
                let mut words = redis_cli(*address, *login, trusted);
                words.extend(command.split(' ').map(str::to_owned));
                let answer = attempt_command(&words)?;
                let told = String::from_utf8_lossy(&answer).contains(expect.trim_start_matches('+'));
                if told { Ok(()) } else { Err(format!("{address}: the answer is not the expected one")) }
            }
            // Length, ApiVersions (18), version 0, correlation id, no client id. A complete answer is longer than its length field.
            Self::Kafka(address) => {
                exchange(*address, &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff], |answer| answer.len() > 10)
            }
            // Three bytes of length, a sequence number, then protocol version 10.
            Self::MariaDb(address) => exchange(*address, &[], |answer| answer.get(4) == Some(&10)),
            Self::Command(command) => attempt_command(command).map(drop),
        }
    }

    /// The pause between two attempts: those that start a program are dear.
    pub(crate) fn pause(&self) -> Duration {
        match self {
            Self::Command(_) | Self::RedisTls { .. } => Duration::from_millis(250),
            _ => Duration::from_millis(50),
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&address, ATTEMPT).map_err(|error| format!("{address}: {error}"))
}

/// Sends a request and reads until the answer is `enough`, ends, or time is up.
fn exchange(address: SocketAddr, request: &[u8], enough: impl Fn(&[u8]) -> bool) -> Result<(), String> {
    let mut stream = connect(address)?;
    let fail = |error: std::io::Error| format!("{address}: {error}");
    stream.write_all(request).map_err(fail)?;
    let deadline = Instant::now() + ATTEMPT;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !enough(&answer) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > 1 << 20 {
            return Err(format!("{address}: the answer is not the expected one"));
        }
        stream.set_read_timeout(Some(left)).map_err(fail)?;
        match stream.read(&mut buffer).map_err(fail)? {
            0 => return Err(format!("{address}: the connection ended before the expected answer")),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

/// What the command wrote, if it succeeded: no more than fits into a pipe.
fn attempt_command(command: &[String]) -> Result<Vec<u8>, String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let deadline = Instant::now() + COMMAND_ATTEMPT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                let mut written = Vec::new();
                let output = child.stdout.as_mut().map(|output| output.read_to_end(&mut written));
                return output.transpose().map(|_| written).map_err(|error| error.to_string());
            }
            Ok(Some(status)) => return Err(format!("`{}`: {status}", command.join(" "))),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It may end by itself at this moment; either way it is gone after the wait.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{}` did not end in time", command.join(" ")));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers every connection with these pieces.
    fn answering(pieces: &'static [&'static [u8]]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for piece in pieces {
                    stream.write_all(piece).unwrap();
                    stream.flush().unwrap();
                }
                // Wait for the client to close, lest unread input resets the connection.
                let _ = stream.read(&mut [0; 64]);
            }
        });
        address
    }

    #[test]
    fn redis_is_ready_when_the_expected_words_come_even_in_pieces() {
        let address = answering(&[b"+OK\r\n$30\r\nmaster_link_", b"status:up\r\n"]);
        let probe = |expect| Probe::Redis { address, password: Some("p"), command: "INFO replication", expect };
        assert_eq!(probe("master_link_status:up").attempt(), Ok(()));
        assert!(probe("master_link_status:down").attempt().is_err());
    }

    #[test]
    fn mariadb_greets_with_its_protocol_version_and_refuses_with_another_packet() {
        assert_eq!(Probe::MariaDb(answering(&[&[90, 0, 0, 0, 10, b'1']])).attempt(), Ok(()));
        assert!(Probe::MariaDb(answering(&[&[90, 0, 0, 0, 0xff, 1]])).attempt().is_err());
    }

    #[test]
    fn a_closed_port_is_not_ready() {
        // The port of `discard`, on which nobody listens, and which nobody is given who asks for a free one.
        assert!(Probe::Tcp("127.0.0.1:9".parse().unwrap()).attempt().is_err());
    }

    #[test]
    fn a_command_counts_by_its_exit_status() {
        assert_eq!(Probe::Command(vec!["true".into()]).attempt(), Ok(()));
        assert!(Probe::Command(vec!["false".into()]).attempt().is_err());
    }
}
