//! The cache of built and downloaded programs, shared by all clones of the project.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// One folder in the cache, named after what it holds and a hash of everything that decides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    name: &'static str,
    key: String,
}

impl Entry {
    /// The entry `name`, whose content follows from `inputs` alone.
    #[must_use]
    pub fn new(name: &'static str, inputs: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for input in inputs {
            hash.update(input.len().to_le_bytes());
            hash.update(input.as_bytes());
        }
        Self { name, key: hex(&hash.finalize()[..8]) }
    }
}

impl Cache {
    /// `COUPON_CACHE`, else `coupon-operator` in `XDG_CACHE_HOME`, else in `~/.cache`.
    ///
    /// # Errors
    /// If none of the three can be determined.
    pub fn locate() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("COUPON_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join("coupon-operator")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/coupon-operator")))
            .context("there is no cache folder: set COUPON_CACHE, XDG_CACHE_HOME or HOME")?;
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// The cache folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry's folder, if it has been built.
    #[must_use]
    pub fn find(&self, entry: &Entry) -> Option<PathBuf> {
        Some(self.path(entry)).filter(|path| path.is_dir())
    }

    /// The entry's folder; `make` fills it if it is not there yet. What `make` leaves half done is never seen: it works in a folder that
    /// gets its name only afterwards. Two processes that want the same entry build it once.
    ///
    /// # Errors
    /// If `make` fails, or the cache folder cannot be written.
    pub fn build(&self, entry: &Entry, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(path) = self.find(entry) {
            return Ok(path);
        }
        fs::create_dir_all(&self.root).with_context(|| format!("cannot create the cache {}", self.root.display()))?;
        let lock = File::create(self.root.join(format!("{}.lock", entry.name)))?;
        lock.lock()?;
        if let Some(path) = self.find(entry) {
            return Ok(path);
        }
        let partial = self.root.join(format!(".{}-{}.partial", entry.name, entry.key));
        remove_folder(&partial)?;
        fs::create_dir_all(&partial)?;
        make(&partial)?;
        let path = self.path(entry);
        fs::rename(&partial, &path)?;
        Ok(path)
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.root.join(format!("{}-{}", entry.name, entry.key))
    }
}

/// Removes a folder and what is in it; a missing one is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_build_leaves_nothing_and_the_next_one_starts_afresh() {
        let root = std::env::temp_dir().join(format!("coupon-cache-test-{}", std::process::id()));
        let cache = Cache { root: root.clone() };
        let entry = Entry::new("thing", &["v1"]);
        let failed = cache.build(&entry, |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("interrupted")
        });
        assert!(failed.is_err());
        assert_eq!(cache.find(&entry), None);
        let path = cache.build(&entry, |folder| Ok(fs::write(folder.join("whole"), "")?)).unwrap();
        assert!(path.join("whole").exists() && !path.join("half").exists());
        cache.build(&entry, |_| anyhow::bail!("must not be built twice")).unwrap();
        remove_folder(&root).unwrap();
    }

    #[test]
    fn the_key_depends_on_every_input_and_on_their_borders() {
        let key = |inputs: &[&str]| Entry::new("x", inputs).key;
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["a", "b"]), key(&["a", "c"]));
    }
}
