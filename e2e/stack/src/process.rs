//! Running servers as child processes that never outlive this one.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::Server;

/// A server's process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts the server; its output is appended to its log.
    pub(crate) fn start(server: &Server) -> io::Result<Self> {
        if let Some(folder) = server.log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&server.log)?;
        // setpriv turns into the program itself, so the process id is the server's.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&server.command);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { child: spawn(command)? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal. The process id cannot have been given to another: only `&mut self` collects the child.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Err(io::Error::other("the process has ended"));
        }
        let pid = i32::try_from(self.pid()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.kill();
    }
}

type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process from a thread that lives as long as this process: the kernel sends the parent-death signal when the *thread* that
/// started the child ends, and a test's thread ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::sync_channel::<Order>(16);
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // Nobody waits for the answer any more if this fails; the child is then dropped.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (sender, answer) = mpsc::sync_channel(1);
    spawner.send((command, sender)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// The last lines of a log file; empty if it cannot be read.
#[must_use]
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    const ENOUGH: u64 = 16 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        let mut end = Vec::new();
        file.take(ENOUGH).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&end);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The resident memory of a process in bytes, if it lives.
#[must_use]
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
