//! What one server needs to run: its command line, its log, and how one knows that it serves.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::probe::Probe;
use crate::secured::brokers::{Acl, Brokers};

/// A server, prepared: its configuration is written, its data folder exists.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Unique within a stack.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// Where clients reach it; for people.
    pub(crate) address: String,
    /// How one knows that it serves.
    pub(crate) probe: Probe,
    /// What it is told when it serves for the first time.
    pub(crate) once: Option<Users>,
    /// How long it may take until the probe succeeds.
    pub(crate) ready_within: Duration,
    /// The servers that must be ready before it starts.
    pub(crate) after: Vec<String>,
    /// Whether it stores something that a graceful stop should complete.
    pub(crate) stores: bool,
}

impl Server {
    /// Tries once, in bounded time, whether it serves, and makes its users then if it has none yet.
    ///
    /// # Errors
    /// A sentence that says what was seen instead.
    pub(crate) fn attempt(&self) -> Result<(), String> {
        self.probe.attempt()?;
        self.once.as_ref().map_or(Ok(()), |users| users.make().map_err(|error| format!("{error:#}")))
    }
}

/// The users of a Kafka cluster and their rights, made over the network, as its disk knows them only from then on.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    /// A broker's listener for administration.
    pub(crate) admin: SocketAddr,
    /// Who may do everything there.
    pub(crate) login: (&'static str, &'static str),
    /// Names and passwords.
    pub(crate) users: Vec<(&'static str, &'static str)>,
    /// What they may do.
    pub(crate) rights: Vec<Acl>,
    /// Is there once they are made: passwords that somebody has changed since stay.
    pub(crate) made: PathBuf,
}

impl Users {
    fn make(&self) -> Result<()> {
        if self.made.exists() {
            return Ok(());
        }
        let mut brokers = Brokers::login(self.admin, self.login)?;
        self.users.iter().try_for_each(|(user, password)| brokers.set_scram_user(user, password))?;
        self.rights.iter().try_for_each(|acl| brokers.add(acl))?;
        Ok(fs::write(&self.made, "")?)
    }
}

/// A command line from things that can be shown.
macro_rules! command {
    ($($word:expr),+ $(,)?) => { vec![$($word.to_string()),+] };
}
pub(crate) use command;
