//! The two processes inside a stack: `init`, which is process 1 there and collects orphans, and the supervisor, which starts the parts,
//! notices when one ends, and answers on the control socket. When either ends, the kernel ends everything else inside.

use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};

use crate::child::last_words;
use crate::control::{Action, Answer, Part, Request, State, Status, read_line, write_line};
use crate::install::Installed;
use crate::layout::Layout;
use crate::options::Options;
use crate::process::{Process, memory};
use crate::server::Server;
use crate::{namespace, plan};

/// How soon the end of a part is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// How long services may take to store what they have.
const GRACE: Duration = Duration::from_secs(20);
/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(5);

/// Process 1: runs the supervisor and collects every process that loses its parent, until the supervisor ends.
///
/// # Errors
/// If the supervisor cannot be started.
pub fn init(name: &str) -> Result<ExitCode> {
    let supervisor = Command::new(std::env::current_exe()?).args(["inside", "supervise", "--name", name]).spawn()?;
    loop {
        let (pid, code) = match wait()? {
            WaitStatus::Exited(pid, code) => (pid, u8::try_from(code).unwrap_or(1)),
            WaitStatus::Signaled(pid, ..) => (pid, 1),
            _ => continue,
        };
        if u32::try_from(pid.as_raw()) == Ok(supervisor.id()) {
            return Ok(ExitCode::from(code));
        }
    }
}

/// The supervisor: prepares the inside, starts everything, and serves the control socket until it is told to stop.
///
/// # Errors
/// If the inside cannot be prepared.
pub fn supervise(name: &str) -> Result<()> {
    let layout = Layout::new(name)?;
    let options = Options::load(&layout)?;
    namespace::prepare(&layout)?;
    let servers = plan::servers(&Installed::find()?, &layout, &options)?;
    let listener = UnixListener::bind(layout.control_socket()).context("cannot listen on the control socket")?;
    let parts = Arc::new(Parts::new(options, servers));
    parts.start_all();
    let watch = Arc::clone(&parts);
    std::thread::spawn(move || watch.look_after());
    for stream in listener.incoming() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // A shortage, say of file descriptors, may pass; ending would take everything down.
                eprintln!("control socket: {error}");
                std::thread::sleep(LOOK);
                continue;
            }
        };
        let parts = Arc::clone(&parts);
        std::thread::spawn(move || {
            if let Err(error) = parts.serve(&mut stream) {
                eprintln!("control connection: {error:#}");
            }
        });
    }
    Ok(())
}

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

struct Parts {
    options: Options,
    entries: Mutex<Vec<Entry>>,
    changed: Condvar,
}

impl Parts {
    fn new(options: Options, servers: Vec<Server>) -> Self {
        let entry = |server| Entry { server, process: None, state: State::Waiting, message: None, ready_after: None };
        Self { options, entries: Mutex::new(servers.into_iter().map(entry).collect()), changed: Condvar::new() }
    }

    /// A thread that panicked while holding the lock left whole entries behind: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts every part as soon as those it needs are ready.
    fn start_all(self: &Arc<Self>) {
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
    fn look_after(&self) {
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
            std::thread::sleep(LOOK);
        }
    }

    fn serve(&self, stream: &mut UnixStream) -> Result<()> {
        stream.set_read_timeout(Some(REQUEST))?;
        let answer = match read_line(stream)? {
            Request::Status => Answer::Status(self.status()),
            Request::Act { part, action } => match self.act(&part, action) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Refused(format!("{error:#}")),
            },
            Request::Stop { graceful } => {
                write_line(stream, &Answer::Done)?;
                if graceful {
                    self.end_gracefully();
                }
                std::process::exit(0);
            }
        };
        write_line(stream, &answer)
    }

    fn act(&self, name: &str, action: Action) -> Result<()> {
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

    /// Waits until the process has ended that was told to; kills it after [`GRACE`].
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
            std::thread::sleep(LOOK);
        }
    }

    fn status(&self) -> Status {
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
    fn end_gracefully(&self) {
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
            std::thread::sleep(LOOK);
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
mod tests {
    use super::*;
    use crate::probe::Probe;
    use crate::server::command;

    fn server(name: &str, command: Vec<String>, probe: &str, after: &[&str]) -> Server {
        Server {
            name: name.to_owned(),
            command,
            log: "/dev/null".into(),
            address: String::new(),
            probe: Probe::Command(command![probe]),
            once: None,
            ready_within: Duration::from_secs(10),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            stores: true,
        }
    }

    fn running(servers: Vec<Server>) -> Arc<Parts> {
        let parts = Arc::new(Parts::new(
            Options { brokers: 1, redis: Default::default(), without: Vec::new(), with: Vec::new() },
            servers,
        ));
        parts.start_all();
        let watch = Arc::clone(&parts);
        std::thread::spawn(move || watch.look_after());
        parts
    }

    fn until(parts: &Parts, name: &str, wanted: State) -> Part {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let part = parts.status().parts.into_iter().find(|part| part.name == name).unwrap();
            if part.state == wanted {
                return part;
            }
            assert!(Instant::now() < deadline, "{name} is {:?}, not {wanted:?}: {:?}", part.state, part.message);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_part_whose_need_fails_is_not_started_and_says_why() {
        let parts = running(vec![
            server("needy", command!["sleep", "60"], "true", &["broken"]),
            server("broken", command!["false"], "false", &[]),
        ]);
        assert_eq!(until(&parts, "broken", State::Failed).message.unwrap(), "ended by itself: exit status: 1");
        let needy = until(&parts, "needy", State::Failed);
        assert_eq!((needy.message.as_deref(), needy.pid), (Some("not started: broken failed"), None));
    }

    #[test]
    fn a_part_can_be_frozen_killed_and_started_again() {
        let parts = running(vec![
            server("a", command!["sleep", "60"], "true", &[]),
            server("b", command!["sleep", "60"], "true", &["a"]),
        ]);
        until(&parts, "b", State::Ready);
        assert!(parts.status().is_ready());
        let first = until(&parts, "a", State::Ready).pid;
        assert!(parts.act("a", Action::Start).is_err(), "it runs already");
        assert!(parts.status().is_ready(), "a refused order changes nothing");
        parts.act("a", Action::Pause).unwrap();
        until(&parts, "a", State::Paused);
        parts.act("a", Action::Resume).unwrap();
        until(&parts, "a", State::Ready);
        parts.act("a", Action::Kill).unwrap();
        assert_eq!(until(&parts, "a", State::Killed).pid, None);
        assert!(parts.act("a", Action::Kill).is_err() && parts.act("nobody", Action::Kill).is_err());
        parts.act("a", Action::Start).unwrap();
        assert_ne!(until(&parts, "a", State::Ready).pid, first);
    }

    #[test]
    fn a_part_can_be_stopped_also_when_it_is_frozen_and_has_ended_then() {
        let parts = running(vec![server("a", command!["sleep", "60"], "true", &[])]);
        until(&parts, "a", State::Ready);
        for frozen in [false, true] {
            if frozen {
                parts.act("a", Action::Pause).unwrap();
            }
            parts.act("a", Action::Stop).unwrap();
            let part = until(&parts, "a", State::Killed);
            assert_eq!((part.pid, part.message), (None, None), "it was told to end: nothing is wrong with it");
            assert!(parts.act("a", Action::Stop).is_err(), "it does not run");
            parts.act("a", Action::Start).unwrap();
            until(&parts, "a", State::Ready);
        }
    }

    #[test]
    fn a_graceful_end_wakes_what_is_frozen_and_waits_for_it() {
        let parts = running(vec![server("a", command!["sleep", "60"], "true", &[])]);
        until(&parts, "a", State::Ready);
        parts.act("a", Action::Pause).unwrap();
        parts.end_gracefully();
        assert!(matches!(parts.lock()[0].process.as_mut().map(Process::ended), None | Some(Ok(Some(_)))));
    }
}
