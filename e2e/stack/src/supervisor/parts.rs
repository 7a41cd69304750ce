//! The parts of a stack: each starts once those that it needs are ready, and is watched from then on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::child::last_words;
use crate::control::{Action, Part, State, Status};
use crate::options::Options;
use crate::process::{Process, memory};
use crate::server::Server;

/// How soon the end of a part is noticed.
const POLL: Duration = Duration::from_millis(50);
/// How long services may take to store what they have.
const GRACE: Duration = Duration::from_secs(20);

struct Entry {
    server: Server,
    process: Option<Process>,
    state: State,
    message: Option<String>,
    ready_after: Option<Duration>,
}

/// A part that was started and may not serve yet.
struct Launched {
    server: Server,
    pid: u32,
    at: Instant,
}

/// The parts of a stack.
pub(super) struct Parts {
    options: Options,
    entries: Mutex<Vec<Entry>>,
    changed: Condvar,
}

impl Parts {
    /// Nothing is started yet.
    pub(super) fn new(options: Options, servers: Vec<Server>) -> Self {
        let entry = |server| Entry { server, process: None, state: State::Waiting, message: None, ready_after: None };
        Self { options, entries: Mutex::new(servers.into_iter().map(entry).collect()), changed: Condvar::new() }
    }

    /// A thread that panicked while holding the lock left whole entries behind: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts every part as soon as those it needs are ready.
    pub(super) fn start_all(self: &Arc<Self>) {
        let names: Vec<_> = self.lock().iter().map(|entry| entry.server.name.clone()).collect();
        for name in names {
            let parts = Arc::clone(self);
            std::thread::spawn(move || {
                let outcome =
                    parts.await_needs(&name).and_then(|()| parts.launch(&name)).and_then(|it| parts.await_ready(&it));
                if let Err(error) = outcome {
                    parts.fail(&name, format!("{error:#}"));
                }
            });
        }
    }

    fn await_needs(&self, name: &str) -> Result<()> {
        let mut entries = self.lock();
        let needs = find(&mut entries, name)?.server.after.clone();
        loop {
            let mut ready = true;
            for need in &needs {
                match find(&mut entries, need)?.state {
                    State::Ready => {}
                    State::Failed | State::Killed => bail!("not started: {need} failed"),
                    State::Waiting | State::Starting | State::Paused => ready = false,
                }
            }
            if ready {
                return Ok(());
            }
            // Every part that is waited for becomes ready or fails in bounded time.
            entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn launch(&self, name: &str) -> Result<Launched> {
        let mut entries = self.lock();
        let entry = find(&mut entries, name)?;
        ensure!(entry.process.is_none(), "{name} runs already");
        let process = Process::start(&entry.server).with_context(|| format!("cannot start {name}"))?;
        let launched = Launched { server: entry.server.clone(), pid: process.pid(), at: Instant::now() };
        (entry.process, entry.state, entry.message, entry.ready_after) = (Some(process), State::Starting, None, None);
        self.changed.notify_all();
        Ok(launched)
    }

    /// Waits until a part serves.
    fn await_ready(&self, Launched { server, pid, at }: &Launched) -> Result<()> {
        let name = &server.name;
        loop {
            let attempt = server.attempt();
            let mut entries = self.lock();
            let entry = find(&mut entries, name)?;
            if entry.process.as_ref().map(Process::pid) != Some(*pid) {
                bail!("{}", entry.message.clone().unwrap_or_else(|| format!("{name} ended while it started")));
            }
            match attempt {
                Ok(()) => {
                    if entry.state == State::Starting {
                        entry.state = State::Ready;
                    }
                    entry.ready_after = Some(at.elapsed());
                    self.changed.notify_all();
                    return Ok(());
                }
                Err(seen) if at.elapsed() > server.ready_within => {
                    let said = last_words(&server.log);
                    bail!("not ready after {} s: {seen}{said}", server.ready_within.as_secs());
                }
                Err(_) => {}
            }
            drop(entries);
            std::thread::sleep(server.probe.pause());
        }
    }

    fn fail(&self, name: &str, message: String) {
        eprintln!("{name}: {message}");
        if let Ok(entry) = find(&mut self.lock(), name) {
            entry.state = State::Failed;
            entry.message.get_or_insert(message);
        }
        self.changed.notify_all();
    }

    /// Notices parts that end.
    pub(super) fn watch(&self) {
        loop {
            for entry in self.lock().iter_mut() {
                let ended = match entry.process.as_mut().map(Process::ended) {
                    Some(Ok(Some(status))) => format!("ended by itself: {status}{}", last_words(&entry.server.log)),
                    Some(Err(error)) => format!("cannot be watched: {error}"),
                    Some(Ok(None)) | None => continue,
                };
                entry.process = None;
                if entry.state != State::Killed {
                    entry.state = State::Failed;
                    eprintln!("{}: {ended}", entry.server.name);
                    entry.message = Some(ended);
                }
                self.changed.notify_all();
            }
            std::thread::sleep(POLL);
        }
    }

    /// Carries out what a client asks for.
    pub(super) fn act(&self, name: &str, action: Action) -> Result<()> {
        if action == Action::Start {
            let launched = self.launch(name)?;
            return self.await_ready(&launched).inspect_err(|error| self.fail(name, format!("{error:#}")));
        }
        let mut entries = self.lock();
        let entry = find(&mut entries, name)?;
        let process = entry.process.as_mut().with_context(|| format!("{name} does not run"))?;
        let (signal, state) = match action {
            Action::Kill => (Signal::SIGKILL, State::Killed),
            Action::Stop => (Signal::SIGTERM, State::Killed),
            Action::Pause => (Signal::SIGSTOP, State::Paused),
            Action::Resume | Action::Start => (Signal::SIGCONT, State::Ready),
        };
        process.signal(signal)?;
        if action == Action::Stop {
            // One that is frozen would never hear of it.
            process.signal(Signal::SIGCONT)?;
            let pid = process.pid();
            (entry.state, entry.message) = (state, None);
            self.changed.notify_all();
            drop(entries);
            return self.await_end(name, pid);
        }
        if action == Action::Kill {
            process.kill()?;
            entry.process = None;
        }
        (entry.state, entry.message) = (state, None);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until the process has ended that was asked to; kills it after [`GRACE`].
    fn await_end(&self, name: &str, pid: u32) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let mut entries = self.lock();
            let entry = find(&mut entries, name)?;
            let Some(process) = entry.process.as_mut().filter(|process| process.pid() == pid) else { return Ok(()) };
            if process.ended()?.is_some() {
                entry.process = None;
                return Ok(());
            }
            if Instant::now() >= deadline {
                process.kill()?;
                entry.process = None;
                bail!("{name} did not end within {} s of SIGTERM, and was killed", GRACE.as_secs());
            }
            drop(entries);
            std::thread::sleep(POLL);
        }
    }

    /// How each part is.
    pub(super) fn status(&self) -> Status {
        let part = |entry: &Entry| {
            let pid = entry.process.as_ref().map(Process::pid);
            Part {
                name: entry.server.name.clone(),
                state: entry.state,
                message: entry.message.clone(),
                pid,
                address: entry.server.address.clone(),
                log: entry.server.log.clone(),
                memory_bytes: pid.and_then(memory),
                ready_after_ms: entry.ready_after.and_then(|after| u64::try_from(after.as_millis()).ok()),
            }
        };
        Status { options: self.options.clone(), parts: self.lock().iter().map(part).collect() }
    }

    /// Lets the parts that store something finish; what is not done in time is killed with the rest.
    pub(super) fn end_gracefully(&self) {
        let mut entries = self.lock();
        let deadline = Instant::now() + GRACE;
        for entry in entries.iter_mut().filter(|entry| entry.server.stores) {
            entry.state = State::Killed;
            if let Some(process) = &mut entry.process {
                for signal in [Signal::SIGTERM, Signal::SIGCONT] {
                    // An error means that it has ended already.
                    let _ = process.signal(signal);
                }
            }
        }
        let runs =
            |entry: &mut Entry| entry.process.as_mut().is_some_and(|process| matches!(process.ended(), Ok(None)));
        while entries.iter_mut().filter(|entry| entry.server.stores).any(runs) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

fn find<'a>(entries: &'a mut [Entry], name: &str) -> Result<&'a mut Entry> {
    let names: Vec<_> = entries.iter().map(|entry| entry.server.name.clone()).collect();
    entries
        .iter_mut()
        .find(|entry| entry.server.name == name)
        .with_context(|| format!("there is no part `{name}`; there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests;
