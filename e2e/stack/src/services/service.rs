//! A server's process, with its folder and ports.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::folder::Folder;
use crate::ports::Port;
use crate::process::{Process, tail};
use crate::server::Server;

/// What can be done to every kind of server.
macro_rules! control {
    ($($kind:ty),+) => { $(
        impl $kind {
            /// Its process, for whoever reads in `/proc` what it takes.
            ///
            /// # Errors
            /// If it does not run.
            pub fn pid(&self) -> ::anyhow::Result<u32> {
                self.service.pid()
            }

            /// Kills it (SIGKILL); its data stay.
            ///
            /// # Errors
            /// If it does not run.
            pub fn kill(&self) -> ::anyhow::Result<()> {
                self.service.kill()
            }

            /// Freezes it (SIGSTOP): it keeps its connections and answers nothing.
            ///
            /// # Errors
            /// If it does not run.
            pub fn pause(&self) -> ::anyhow::Result<()> {
                self.service.signal(::nix::sys::signal::Signal::SIGSTOP)
            }

            /// Lets it go on (SIGCONT).
            ///
            /// # Errors
            /// If it does not run.
            pub fn resume(&self) -> ::anyhow::Result<()> {
                self.service.signal(::nix::sys::signal::Signal::SIGCONT)
            }

            /// Starts it again on the same port with the same data, after killing it if it runs, and waits until it serves.
            ///
            /// # Errors
            /// If it does not become ready; then with the end of its log.
            pub fn restart(&self) -> ::anyhow::Result<()> {
                self.service.restart()
            }
        }
    )+ };
}
pub(super) use control;

/// A server with all that belongs to it. The fields are dropped in this order: first the process, then its folder, then its ports.
#[derive(Debug)]
pub(super) struct Service {
    process: Mutex<Option<Process>>,
    pub(super) folder: Folder,
    server: Server,
    pub(super) ports: Vec<Port>,
}

impl Service {
    pub(super) fn start(server: Server, folder: Folder, ports: Vec<Port>) -> Result<Self> {
        let service = Self { process: Mutex::new(None), folder, server, ports };
        service.restart()?;
        Ok(service)
    }

    /// A test that panicked while holding the lock left the process as it was.
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let mut process = self.process();
        let process = process.as_mut().with_context(|| format!("{} does not run", self.server.name))?;
        Ok(process.signal(signal)?)
    }

    pub(super) fn pid(&self) -> Result<u32> {
        let process = self.process();
        Ok(process.as_ref().with_context(|| format!("{} does not run", self.server.name))?.pid())
    }

    pub(super) fn kill(&self) -> Result<()> {
        let mut process = self.process().take().with_context(|| format!("{} does not run", self.server.name))?;
        Ok(process.kill()?)
    }

    pub(super) fn restart(&self) -> Result<()> {
        let Server { name, log, probe, ready_within, .. } = &self.server;
        let mut slot = self.process();
        // The old one must be gone before the new one takes its port.
        drop(slot.take());
        let mut process =
            Process::start(&self.server).with_context(|| format!("cannot start {name}: run `stack install`"))?;
        let deadline = Instant::now() + *ready_within;
        while let Err(seen) = self.server.attempt() {
            if let Some(status) = process.ended()? {
                bail!("{name} ended while it started ({status}):\n{}", tail(log, 20));
            }
            if Instant::now() > deadline {
                bail!("{name} is not ready after {} s ({seen}):\n{}", ready_within.as_secs(), tail(log, 20));
            }
            std::thread::sleep(probe.pause());
        }
        *slot = Some(process);
        Ok(())
    }
}
