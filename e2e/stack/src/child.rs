//! A process that a test started: whoever waits for it hears of its death at once, with its last words.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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
    child: Child,
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

impl Running {
    /// Starts `command`, whose output goes to a file in `folder` ([`folder`]), which is the process' from now on. It is told in
    /// `COUPON_ADDRESSES_FILE` where to say on which ports it listens.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: PathBuf) -> Result<Self> {
        // Appending: standard output and standard error share the file.
        let open = || File::options().create(true).append(true).mode(0o600).open(folder.join("output"));
        let child = command
            .env("COUPON_ADDRESSES_FILE", folder.join("addresses"))
            .stdin(std::process::Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, folder })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        std::fs::read(self.folder.join("output"))
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .unwrap_or_default()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails if it has ended, with how, and with its last words.
    ///
    /// # Errors
    /// If it has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}{}", self.name, last_words(&self.folder.join("output"))),
        }
    }

    /// Looks until `look` finds something; fails at once if the process ends, or at the deadline.
    ///
    /// # Errors
    /// If the process has ended, or nothing was found in time; both with its last words.
    pub fn until<T>(&mut self, what: &str, within: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            // Looked at before: what a process did before it ended counts.
            let alive = self.alive();
            if let Some(found) = look(self) {
                return Ok(found);
            }
            alive.with_context(|| format!("while waiting for this: {what}"))?;
            if Instant::now() >= deadline {
                bail!("not within {} s: {what}{}", within.as_secs(), last_words(&self.folder.join("output")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// On which addresses it listens, by their names, once it has bound them all.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn addresses(&mut self, within: Duration) -> Result<BTreeMap<String, SocketAddr>> {
        self.until("it says where it listens", within, |running| {
            serde_json::from_slice(&std::fs::read(running.folder.join("addresses")).ok()?).ok()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}{}", self.name, last_words(&self.folder.join("output")));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
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
        let mut running = shell("seq 1 50; echo 'the port is taken' >&2; exit 7");
        let error = format!("{:#}", running.addresses(LONG).unwrap_err());
        assert!(begun.elapsed() < LONG / 2, "only after {:?}", begun.elapsed());
        assert!(error.contains("it says where it listens"), "{error}");
        assert!(error.contains("it has ended: exit status: 7; its last words:\n"), "{error}");
        assert!(error.ends_with("    50\n    the port is taken") && error.contains("    32\n"), "{error}");
        assert!(!error.contains("    31\n"), "only the last lines: {error}");
    }

    #[test]
    fn addresses_are_those_that_the_process_wrote() {
        let mut running = shell(
            r#"echo '{"probe":"127.0.0.1:1234"}' > "$COUPON_ADDRESSES_FILE.new";
            mv "$COUPON_ADDRESSES_FILE.new" "$COUPON_ADDRESSES_FILE"; exec sleep 60"#,
        );
        assert_eq!(running.addresses(LONG).unwrap()["probe"], "127.0.0.1:1234".parse().unwrap());
        running.alive().unwrap();
    }

    #[test]
    fn a_process_that_lives_and_does_not_come_ends_the_wait_at_its_deadline() {
        let mut running = shell("echo thinking; exec sleep 60");
        running.until("it speaks", LONG, |running| (running.said() == "thinking\n").then_some(())).unwrap();
        let error = running.until("a miracle", Duration::from_millis(50), |_| None::<()>).unwrap_err().to_string();
        assert_eq!(error, "not within 0 s: a miracle; its last words:\n    thinking");
    }

    #[test]
    fn nothing_is_left_of_it() {
        let running = shell("exec sleep 60");
        let (folder, id) = (running.folder.clone(), running.id());
        drop(running);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{id}")).exists());
    }
}
