//! Where a stack keeps its files, and the fixed facts of every stack: addresses, ports, names and development passwords.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The node's address. Every stack has a network of its own, so all of them use the same.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// The node's name in Kubernetes.
pub const NODE_NAME: &str = "node1";
/// The database that every stack has.
pub const DATABASE: &str = "coupons";
/// The user with all rights on the stack's database, and in Redis.
pub const OPERATOR_USER: &str = "coupon_operator";
/// The user with the rights of the workloads.
pub const WORKLOAD_USER: &str = "coupon_workload";
/// The development password of [`OPERATOR_USER`], and of Redis' default user.
pub const OPERATOR_PASSWORD: &str = "operator-dev";
/// The development password of [`WORKLOAD_USER`].
pub const WORKLOAD_PASSWORD: &str = "workload-dev";
/// The name under which the Sentinels know the primary.
pub const SENTINEL_MASTER: &str = "coupons";
/// The port of Redis; the replica listens on the next one.
pub const REDIS_PORT: u16 = 6379;
/// The port of the first Sentinel.
pub const SENTINEL_PORT: u16 = 26379;
/// The port of MariaDB.
pub const MARIADB_PORT: u16 = 3306;
/// The port of the first broker; each broker takes two: clients, then the controller quorum.
pub const KAFKA_PORT: u16 = 9092;
/// The port of the first broker's second listener, one for each broker: clients that come in this way are told to come to
/// [`KAFKA_PROXY_PORT`].
pub const KAFKA_PROXIED_PORT: u16 = 19092;
/// Where a test that wants to stand between clients and brokers listens, one port for each broker. Nobody does by default.
pub const KAFKA_PROXY_PORT: u16 = 29092;

/// The port of the first broker's listener for administration, of brokers that ask for a login; one port for each broker.
pub const KAFKA_ADMIN_PORT: u16 = 39092;
/// The port of Prometheus.
pub const PROMETHEUS_PORT: u16 = 9190;
/// The port of Alertmanager.
pub const ALERTMANAGER_PORT: u16 = 9191;
/// The port on which somebody stands for Slack and PagerDuty.
pub const RECEIVER_PORT: u16 = 9192;
/// The port on which Prometheus is told which pods there are.
pub const TARGETS_PORT: u16 = 9193;
/// The realms in which operator and pods have rights, at servers that go by them.
pub const REALMS: [&str; 2] = ["local", "chaos"];

/// An address on the node.
#[must_use]
pub fn on_node(port: u16) -> SocketAddr {
    SocketAddr::from((NODE_IP, port))
}

/// The files of one stack, below one folder with a short path (a Unix socket's path is limited to 108 bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    name: String,
    root: PathBuf,
}

impl Layout {
    /// The layout of the stack `name`.
    ///
    /// # Errors
    /// If the name is not 1 to 20 lower-case letters, digits and hyphens: it becomes part of paths and cgroup names.
    pub fn new(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            (1..=20).contains(&name.len()) && name.chars().all(fits),
            "`{name}` cannot name a stack: use 1 to 20 lower-case letters, digits or hyphens"
        );
        let root = std::env::temp_dir().join(format!("coupon-stack-{name}"));
        ensure!(
            root.as_os_str().len() <= 80,
            "the path {} is too long for the sockets below it: set TMPDIR to a shorter one",
            root.display()
        );
        Ok(Self { name: name.to_owned(), root })
    }

    /// The stack's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds everything of this stack.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the services store; survives `down --keep-data`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// One log file per part; survives `down`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log file of one part.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    /// Configuration files, written at every start.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// What Prometheus and Alertmanager are told.
    #[must_use]
    pub fn monitoring(&self) -> PathBuf {
        self.config().join("monitoring")
    }

    /// Certificates and kubeconfigs.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.data().join("pki")
    }

    /// The authority of secured servers, and their certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.data().join("authority")
    }

    /// Sockets and other things that are worth nothing once the stack is down.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The socket on which the supervisor answers.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// containerd's socket.
    #[must_use]
    pub fn containerd_socket(&self) -> PathBuf {
        self.run().join("containerd.sock")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki().join("admin.kubeconfig")
    }

    /// Holds the process id of the stack's outermost process.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("pid")
    }

    /// The options with which the stack was started, as JSON.
    #[must_use]
    pub fn options_file(&self) -> PathBuf {
        self.root.join("options.json")
    }

    /// Creates the root folder, for this user only.
    ///
    /// # Errors
    /// If it cannot be created, or exists and belongs to another user (it lies in a shared folder).
    pub fn create(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .with_context(|| format!("cannot create {}", self.root.display()))?;
        let owner = std::fs::symlink_metadata(&self.root)?.uid();
        ensure!(
            owner == nix::unistd::geteuid().as_raw(),
            "{} belongs to another user: remove it, or choose another stack name",
            self.root.display()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_a_path_is_refused() {
        for bad in ["", "a/b", "Upper", "..", "a-name-that-is-far-too-long"] {
            assert!(Layout::new(bad).is_err(), "{bad} was accepted");
        }
        assert!(Layout::new("h1-a").is_ok());
    }

    #[test]
    fn sockets_fit_into_their_limit() {
        let layout = Layout::new("12345678901234567890").unwrap();
        assert!(layout.containerd_socket().as_os_str().len() + ".ttrpc".len() < 108);
    }
}
