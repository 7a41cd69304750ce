//! Talking to a running stack: one line of JSON there, one back, on a Unix socket. It works inside the stack's namespaces and outside.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

use crate::containerd;
use crate::layout::Layout;
use crate::options::Options;

pub use crate::containerd::Loaded;

/// How long a question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long starting a part may take: it serves within 60 s, or fails.
const START: Duration = Duration::from_secs(90);
/// How long stopping a part may take: it ends within 20 s, or is killed.
const STOP: Duration = Duration::from_secs(30);

/// What can be done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and wait until it has ended: what a rolling restart does first. Refused after 20 s, when it is killed.
    Stop,
    /// Start a part that does not run, and wait until it serves.
    Start,
    /// SIGSTOP: it keeps its connections and answers nothing.
    Pause,
    /// SIGCONT.
    Resume,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    Status,
    Act { part: String, action: Action },
    Stop { graceful: bool },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Status(Status),
    Done,
    Refused(String),
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What it needs is not ready yet.
    Waiting,
    /// Started, does not serve yet.
    Starting,
    /// Serves.
    Ready,
    /// Stopped by [`Action::Pause`].
    Paused,
    /// Ended by [`Action::Kill`] or [`Action::Stop`].
    Killed,
    /// Ended by itself, or never served.
    Failed,
}

/// One part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Why it is so.
    pub message: Option<String>,
    /// Its process id inside the stack.
    pub pid: Option<u32>,
    /// Where clients reach it.
    pub address: String,
    /// Its log file.
    pub log: PathBuf,
    /// Resident memory, bytes.
    pub memory_bytes: Option<u64>,
    /// From its start until it served, milliseconds.
    pub ready_after_ms: Option<u64>,
}

/// A stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// How it was started.
    pub options: Options,
    /// Its parts.
    pub parts: Vec<Part>,
}

impl Status {
    /// Whether every part serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|part| part.state == State::Ready)
    }

    /// Whether a part is still on its way.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.state, State::Waiting | State::Starting))
    }
}

/// A stack's supervisor.
#[derive(Clone, Debug)]
pub struct Client {
    layout: Layout,
}

impl Client {
    /// The supervisor of the stack `name`; whether it runs shows at the first call.
    ///
    /// # Errors
    /// If no stack can have this name.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self { layout: Layout::new(name)? })
    }

    /// The stack in which this process runs.
    ///
    /// # Errors
    /// If it runs in none.
    pub fn from_env() -> Result<Self> {
        Self::new(&crate::Connections::from_env()?.stack)
    }

    /// The stack's files.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How the stack is; `None` if it does not run.
    ///
    /// # Errors
    /// If it runs and does not answer.
    pub fn status(&self) -> Result<Option<Status>> {
        match self.ask(&Request::Status)? {
            None => Ok(None),
            Some(Answer::Status(status)) => Ok(Some(status)),
            Some(other) => bail!("the supervisor answered {other:?} to a question for its status"),
        }
    }

    /// Does something to a part.
    ///
    /// # Errors
    /// If the stack does not run, has no such part, or the part's state does not allow it.
    pub fn act(&self, part: &str, action: Action) -> Result<()> {
        self.done(&Request::Act { part: part.to_owned(), action })
    }

    /// Loads an image archive into the stack's Kubernetes, unless the same image is there already.
    ///
    /// # Errors
    /// If containerd does not answer, or the archive is not one.
    pub fn load_image(&self, archive: &Path) -> Result<Loaded> {
        containerd::load(&self.layout, archive)
    }

    /// Asks the supervisor to end; `graceful` gives the services time to store what they have.
    pub(crate) fn stop(&self, graceful: bool) -> Result<()> {
        self.done(&Request::Stop { graceful })
    }

    /// The supervisor's process id as seen from here; `None` if the stack does not run.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn pid(&self) -> Result<Option<i32>> {
        Ok(match self.connect()? {
            Some(stream) => Some(getsockopt(&stream.as_fd(), PeerCredentials)?.pid()),
            None => None,
        })
    }

    fn done(&self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Some(Answer::Done) => Ok(()),
            Some(Answer::Refused(reason)) => bail!(reason),
            Some(Answer::Status(_)) => bail!("the supervisor answered with its status to an order"),
            None => bail!("stack {0} does not run: start it with `stack up --name {0}`", self.layout.name()),
        }
    }

    fn connect(&self) -> Result<Option<UnixStream>> {
        match UnixStream::connect(self.layout.control_socket()) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(error).with_context(|| {
                format!("cannot talk to stack {} (it belongs to the user that started it)", self.layout.name())
            }),
        }
    }

    fn ask(&self, request: &Request) -> Result<Option<Answer>> {
        let Some(mut stream) = self.connect()? else { return Ok(None) };
        let patience = match request {
            Request::Act { action: Action::Start, .. } => START,
            Request::Act { action: Action::Stop, .. } => STOP,
            _ => ANSWER,
        };
        stream.set_read_timeout(Some(patience))?;
        write_line(&mut stream, request)?;
        let answer = read_line(&stream)
            .with_context(|| format!("the supervisor of stack {} gave no answer", self.layout.name()))?;
        Ok(Some(answer))
    }
}

pub(crate) fn write_line(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

pub(crate) fn read_line<T: for<'de> Deserialize<'de>>(stream: &UnixStream) -> Result<T> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
