//! Folders of servers, removed with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// A folder that nobody has locked for this long was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// A folder for one server, removed when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Locked as long as this process lives: tells others that the folder is in use.
    _lock: File,
}

const PREFIX: &str = "coupon-service-";
const LOCK: &str = "lock";

impl Folder {
    pub(super) fn create(kind: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::temp_dir();
        remove_abandoned(&parent, ABANDONED)?;
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{kind}-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // A process in other namespaces may have the same number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("cannot create {}", path.display()))?,
            }
            let lock = File::create(path.join(LOCK))?;
            lock.lock()?;
            return Ok(Self { path, _lock: lock });
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the folders of processes that could not do it themselves.
fn remove_abandoned(parent: &Path, age: Duration) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        let old = lock.metadata()?.modified()?.elapsed().is_ok_and(|since| since >= age);
        if named && old && lock.try_lock().is_ok() {
            crate::cache::remove_folder(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_nobody_uses_are_removed() {
        let parent = std::env::temp_dir().join(format!("coupon-abandoned-test-{}", std::process::id()));
        let make = |name: &str| {
            fs::create_dir_all(parent.join(name)).unwrap();
            File::create(parent.join(name).join(LOCK)).unwrap()
        };
        drop(make("coupon-service-dead"));
        drop(make("other"));
        let used = make("coupon-service-used");
        used.lock().unwrap();
        remove_abandoned(&parent, Duration::from_secs(3600)).unwrap();
        assert!(parent.join("coupon-service-dead").exists(), "it is too young to be abandoned");
        remove_abandoned(&parent, Duration::ZERO).unwrap();
        assert!(!parent.join("coupon-service-dead").exists());
        assert!(parent.join("coupon-service-used").exists() && parent.join("other").exists());
        fs::remove_dir_all(&parent).unwrap();
    }
}
