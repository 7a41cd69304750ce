//! A process that a test started: a test that waits for it hears of its end at once, with its last words.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::connections::STACK;

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(20);
/// Of its output this much is read, from the end.
const TAIL_BYTES: u64 = 8 * 1024;
/// And so many lines are shown.
const TAIL_LINES: usize = 20;

/// A running process; killed when dropped, and its folder removed. If that happens while a test fails, its last words are shown.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Mutex<Child>,
    folder: PathBuf,
}

/// A folder of its own, which nobody else has or guesses.
///
/// # Errors
/// If it cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let mut random = [0_u8; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let path = std::env::temp_dir().join(format!("{name}-{:016x}", u64::from_ne_bytes(random)));
    std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Runs `command` to its end and answers what it wrote, apart by standard output and standard error. One that does not end is
/// killed at the deadline.
///
/// # Errors
/// It cannot be started, or did not end in time; then with its last words.
pub fn output(name: &str, mut command: Command, within: Duration) -> Result<Output> {
    let folder = folder(name)?;
    command.stdout(File::create(folder.join("stdout"))?);
    let running = Running::launch(name, command, folder)?;
    let status = running.until("it ends", within, |running| running.status().ok().flatten())?;
    let read = |file| std::fs::read(running.folder.join(file));
    Ok(Output { status, stdout: read("stdout")?, stderr: read("output")? })
}

impl Running {
    /// Starts `command`, whose output goes to a file in `folder` ([`folder`]), which is the process' from now on. It is told in
    /// `COUPON_ADDRESSES_FILE` where to say on which ports it listens.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: PathBuf) -> Result<Self> {
        command.env("COUPON_ADDRESSES_FILE", folder.join("addresses")).stdout(log(&folder)?);
        Self::launch(name, command, folder)
    }

    fn launch(name: &str, mut command: Command, folder: PathBuf) -> Result<Self> {
        // A test that needs no server may run without a stack, and is one for what it starts, unless it says otherwise.
        let decided = command.get_envs().any(|(variable, _)| variable == STACK);
        if !decided && std::env::var_os(STACK).is_none() {
            command.env(STACK, "of-a-test");
        }
        let child = command
            .stdin(std::process::Stdio::null())
            .stderr(log(&folder)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), folder })
    }

    /// A test that panicked while holding the lock left the process as it was.
    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process, for whoever reads in `/proc` what it takes.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        std::fs::read(self.folder.join("output"))
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .unwrap_or_default()
    }

    fn last_words(&self) -> String {
        last_words(&self.folder.join("output"))
    }

    /// Sends a signal. Its id cannot have been given to another: it is collected under the same lock.
    ///
    /// # Errors
    /// It has ended, with its last words.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if let Some(status) = child.try_wait()? {
            bail!("{} has ended before {signal}: {status}{}", self.name, self.last_words());
        }
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub fn status(&self) -> io::Result<Option<ExitStatus>> {
        self.child().try_wait()
    }

    /// Fails if it has ended, with how, and with its last words.
    ///
    /// # Errors
    /// If it has ended.
    pub fn alive(&self) -> Result<()> {
        match self.status()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}{}", self.name, self.last_words()),
        }
    }

    /// Looks until `look` finds something; fails at once if the process ends, or at the deadline.
    ///
    /// # Errors
    /// If the process has ended, or nothing was found in time; both with its last words.
    pub fn until<T>(&self, what: &str, within: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            // Looked at before: what a process did before it ended counts.
            let alive = self.alive();
            if let Some(found) = look(self) {
                return Ok(found);
            }
            self.go_on(alive, what, within, deadline)?;
            std::thread::sleep(LOOK);
        }
    }

    /// The same for asynchronous callers.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn eventually<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let alive = self.alive();
            if let Some(found) = look().await {
                return Ok(found);
            }
            self.go_on(alive, what, within, deadline)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has ended, by itself or by a signal.
    ///
    /// # Errors
    /// It lives at the deadline; with its last words.
    pub async fn ended(&self, within: Duration) -> Result<ExitStatus> {
        self.eventually("it ends", within, async || self.status().ok().flatten()).await
    }

    /// Whether a wait that has found nothing goes on.
    fn go_on(&self, alive: Result<()>, what: &str, within: Duration, deadline: Instant) -> Result<()> {
        alive.with_context(|| format!("while waiting for this: {what}"))?;
        if Instant::now() >= deadline {
            bail!("not within {} s: {what}{}", within.as_secs(), self.last_words());
        }
        Ok(())
    }

    /// On which addresses it listens, by their names, once it has bound them all.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn addresses(&self, within: Duration) -> Result<BTreeMap<String, SocketAddr>> {
        self.until("it says where it listens", within, |running| {
            serde_json::from_slice(&std::fs::read(running.folder.join("addresses")).ok()?).ok()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.child();
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        if std::thread::panicking() {
            eprintln!("{}{}", self.name, self.last_words());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where its output goes. Appending: standard output and standard error may share the file.
fn log(folder: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(folder.join("output"))
}

/// The last lines of a log, with a heading; nothing if it has none.
pub fn last_words(log: &Path) -> String {
    let tail = || {
        let mut file = File::open(log).ok().filter(|file| file.metadata().is_ok_and(|of| of.is_file()))?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = tail().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    match lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default() {
        [] => String::new(),
        last => format!("; its last words:\n    {}", last.join("\n    ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start("it", command, folder("coupon-child").unwrap()).unwrap()
    }

    /// Wrong: a test waits half a minute for a process that is dead, and does not say why it died.
    #[test]
    fn a_death_is_noticed_at_once_with_its_last_words() {
        let begun = Instant::now();
        let running = shell("seq 1 50; echo 'the port is taken' >&2; exit 7");
        let error = format!("{:#}", running.addresses(LONG).unwrap_err());
        assert!(begun.elapsed() < LONG / 2, "only after {:?}", begun.elapsed());
        assert!(error.contains("it says where it listens"), "{error}");
        assert!(error.contains("it has ended: exit status: 7; its last words:\n"), "{error}");
        assert!(error.ends_with("    50\n    the port is taken") && error.contains("    32\n"), "{error}");
        assert!(!error.contains("    31\n"), "only the last lines: {error}");
    }

    #[test]
    fn addresses_are_those_that_the_process_wrote() {
        let running = shell(
            r#"echo '{"probe":"127.0.0.1:1234"}' > "$COUPON_ADDRESSES_FILE.new";
            mv "$COUPON_ADDRESSES_FILE.new" "$COUPON_ADDRESSES_FILE"; exec sleep 60"#,
        );
        assert_eq!(running.addresses(LONG).unwrap()["probe"], "127.0.0.1:1234".parse().unwrap());
        running.alive().unwrap();
    }

    #[test]
    fn a_process_that_lives_and_does_not_come_ends_the_wait_at_its_deadline() {
        let running = shell("echo thinking; exec sleep 60");
        running.until("it speaks", LONG, |running| (running.said() == "thinking\n").then_some(())).unwrap();
        let error = running.until("a miracle", Duration::from_millis(50), |_| None::<()>).unwrap_err().to_string();
        assert_eq!(error, "not within 0 s: a miracle; its last words:\n    thinking");
    }

    /// Wrong: a test that polls something else, such as a database, waits for what a dead process was to bring.
    #[tokio::test]
    async fn who_looks_elsewhere_hears_of_a_death_too() {
        let begun = Instant::now();
        let running = shell("echo 'no database'; exit 3");
        let error = running.eventually("rows", LONG, async || None::<()>).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(begun.elapsed() < LONG / 2, "only after {:?}", begun.elapsed());
        assert!(error.starts_with("while waiting for this: rows: it has ended: exit status: 3"), "{error}");
        assert!(error.ends_with("    no database"), "{error}");
        // What it did before it ended counts, and so does an end that was asked for.
        assert_eq!(running.eventually("rows", LONG, async || Some(7)).await.unwrap(), 7);
        assert_eq!(running.ended(LONG).await.unwrap().code(), Some(3));
        let late = running.signal(Signal::SIGTERM).unwrap_err().to_string();
        assert!(late.starts_with("it has ended before SIGTERM: exit status: 3; its last words:"), "{late}");
        let asleep = shell("exec sleep 60");
        let error = asleep.ended(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert_eq!(error, "not within 0 s: it ends");
    }

    #[test]
    fn what_a_program_wrote_is_told_apart_and_one_that_hangs_is_ended() {
        let run = |script: &str, within| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            output("it", command, within)
        };
        let ran = run("echo result; echo complaint >&2; exit 4", LONG).unwrap();
        assert_eq!((ran.stdout, ran.stderr), (b"result\n".to_vec(), b"complaint\n".to_vec()));
        assert_eq!(ran.status.code(), Some(4));
        let error = run("echo thinking >&2; exec sleep 60", Duration::from_millis(500)).unwrap_err().to_string();
        assert!(error.starts_with("not within 0 s: it ends"), "{error}");
    }

    #[test]
    fn nothing_is_left_of_it() {
        let running = shell("exec sleep 60");
        let (folder, id) = (running.folder.clone(), running.child().id());
        drop(running);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{id}")).exists());
    }
}
