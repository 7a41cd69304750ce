//! How much of a processor a process may take at most, by a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cgroup::{Hierarchy, mounted};

/// How long the kernel may take to release the cgroup once the process has left.
const RELEASE: Duration = Duration::from_secs(5);

/// A bound on the processor time of a process; ends when dropped, or with [`Quota::lift`].
#[derive(Debug)]
pub struct Quota {
    /// The cgroup.
    folder: PathBuf,
    /// Where the process was before.
    home: PathBuf,
    pid: u32,
    lifted: bool,
}

impl Quota {
    /// The process, and what it starts, gets so many microseconds of processor time in each period of so many. The kernel takes no quota
    /// below 1,000.
    ///
    /// # Errors
    /// This process may not make cgroups, or the machine has none for processors.
    pub fn of(pid: u32, (quota_us, period_us): (u64, u64)) -> Result<Self> {
        let hierarchy = of_processors(mounted()?)?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).with_context(|| format!("process {pid}"))?;
        let home = home(&groups, &hierarchy).with_context(|| format!("process {pid} is in no cgroup"))?;
        let folder = hierarchy.root.join(format!("coupon-quota-{pid}"));
        if hierarchy.version_2 {
            write(&hierarchy.root.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(&folder).with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
        // From here on it is removed again, whatever fails.
        let quota = Self { folder, home, pid, lifted: false };
        if hierarchy.version_2 {
            write(&quota.folder.join("cpu.max"), &format!("{quota_us} {period_us}"))?;
        } else {
            write(&quota.folder.join("cpu.cfs_period_us"), &period_us.to_string())?;
            write(&quota.folder.join("cpu.cfs_quota_us"), &quota_us.to_string())?;
        }
        write(&quota.folder.join("cgroup.procs"), &pid.to_string())?;
        Ok(quota)
    }

    /// Ends it.
    ///
    /// # Errors
    /// The process cannot be put back, or the cgroup cannot be removed.
    pub fn lift(mut self) -> Result<()> {
        self.lifted = true;
        self.put_back()
    }

    fn put_back(&self) -> Result<()> {
        // One that has ended is in no cgroup any more.
        if Path::new("/proc").join(self.pid.to_string()).exists() {
            write(&self.home.join("cgroup.procs"), &self.pid.to_string())?;
        }
        let deadline = Instant::now() + RELEASE;
        while let Err(error) = fs::remove_dir(&self.folder) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("cannot remove the cgroup {}", self.folder.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        if !self.lifted
            && let Err(error) = self.put_back()
        {
            eprintln!("{error:#}");
        }
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write `{text}` to {}", file.display()))
}

/// The hierarchy that bounds processor time.
fn of_processors(all: Vec<Hierarchy>) -> Result<Hierarchy> {
    let bounds = |hierarchy: &Hierarchy| match hierarchy.version_2 {
        true => fs::read_to_string(hierarchy.root.join("cgroup.controllers"))
            .is_ok_and(|controllers| controllers.split_whitespace().any(|controller| controller == "cpu")),
        false => hierarchy.root.join("cpu.cfs_quota_us").exists(),
    };
    match all.into_iter().find(bounds) {
        Some(hierarchy) => Ok(hierarchy),
        None => bail!("no cgroups that bound processor time are mounted on this machine"),
    }
}

/// The folder of the cgroup that a process is in, by what `/proc/PID/cgroup` says: `number:controllers:path`.
fn home(groups: &str, hierarchy: &Hierarchy) -> Option<PathBuf> {
    let is_it = |controllers: &str| match hierarchy.version_2 {
        true => controllers.is_empty(),
        false => controllers.split(',').any(|controller| controller == "cpu"),
    };
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        is_it(controllers).then(|| hierarchy.root.join(path.trim_start_matches('/')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: the process is put back into the cgroup of another hierarchy.
    #[test]
    fn where_a_process_was_is_found_in_either_version() {
        let groups = "9:name=systemd:/a\n3:cpuset:/b\n2:cpu,cpuacct:/c/d\n0::/e\n";
        let found = |version_2| home(groups, &Hierarchy { root: "/sys/fs/cgroup".into(), version_2 });
        assert_eq!(found(false), Some("/sys/fs/cgroup/c/d".into()));
        assert_eq!(found(true), Some("/sys/fs/cgroup/e".into()));
        assert_eq!(home("3:cpuset:/b\n", &Hierarchy { root: "/x".into(), version_2: false }), None);
    }
}
