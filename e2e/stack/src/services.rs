//! Private servers for component tests: real ones, on free loopback ports, with data folders of their own. Dropping one kills it and removes
//! its data; should the test's process be killed, the kernel kills the server too.
//!
//! All calls block until they are done, for some seconds at most.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::cache::Cache;
use crate::layout::{OPERATOR_PASSWORD, SENTINEL_MASTER};
use crate::ports::Port;
use crate::process::{Process, tail};
use crate::server::Server;
use crate::tools::Tool;
use crate::{connections, kafka, mariadb, redis};

/// A folder that nobody has locked for this long was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// A certificate for servers, and the authority that signed it.
#[derive(Debug)]
pub struct Certificate {
    folder: Folder,
}

impl Certificate {
    /// Makes both. `names`: what the server is reached by, as OpenSSL writes it: `DNS:localhost` or `IP:127.0.0.1`.
    ///
    /// # Errors
    /// If OpenSSL is not installed, or refuses.
    pub fn naming(names: &str) -> Result<Self> {
        let folder = Folder::create("certificate")?;
        fs::write(folder.path.join("names"), format!("subjectAltName={names}\n"))?;
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for line in [
            format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt"),
            format!("req {new} -subj /CN=server -keyout server.key -out server.csr"),
            "x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt"
                .into(),
        ] {
            let made = Command::new("openssl").args(line.split(' ')).current_dir(&folder.path).output()?;
            if !made.status.success() {
                bail!("openssl {line}: {}", String::from_utf8_lossy(&made.stderr));
            }
        }
        Ok(Self { folder })
    }

    /// The authority's certificate, PEM.
    ///
    /// # Errors
    /// If the file was removed.
    pub fn authority(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path.join("ca.crt"))?)
    }

    /// Redis' settings, or Sentinel's, for TLS on `port`.
    fn settings(&self, port: SocketAddr) -> String {
        let folder = self.folder.path.display();
        format!(
            "tls-port {}\ntls-cert-file {folder}/server.crt\ntls-key-file {folder}/server.key\n\
             tls-ca-cert-file {folder}/ca.crt\ntls-auth-clients no\ntls-replication yes\n",
            port.port()
        )
    }
}

/// A Redis, with the same users as in a stack.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    address: SocketAddr,
    tls: Option<SocketAddr>,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::launch(None, None)
    }

    /// Starts one that follows `primary`, and waits until it has its data.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_replica_of(primary: &Self) -> Result<Self> {
        Self::launch(Some(primary.address), None)
    }

    /// Starts one that speaks TLS as well, on another port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_tls(certificate: &Certificate) -> Result<Self> {
        Self::launch(None, Some(certificate))
    }

    fn launch(primary: Option<SocketAddr>, certificate: Option<&Certificate>) -> Result<Self> {
        let (folder, port, secure) = (Folder::create("redis")?, Port::free()?, Port::free()?);
        let (address, tls) = (port.address(), certificate.map(|_| secure.address()));
        let further = certificate.map(|certificate| certificate.settings(secure.address())).unwrap_or_default();
        let server = redis::server("redis", address, &folder.path.join("data"), &folder.log(), primary, &further)?;
        Ok(Self { service: Service::start(server, folder, vec![port, secure])?, address, tls })
    }

    /// Where it listens for TLS; nowhere unless it was started so.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// The rights that README lists, as `ACL SETUSER` takes them: the pods', and all of the operator's.
    #[must_use]
    pub fn documented_rights() -> [String; 2] {
        [redis::POD_RIGHTS.to_owned(), format!("{} {}", redis::POD_RIGHTS, redis::MORE_RIGHTS)]
    }

    /// `redis://..`, with all rights.
    #[must_use]
    pub fn url(&self) -> String {
        connections::redis_url(self.address)
    }

    /// `redis://..`, with the rights of the workloads.
    #[must_use]
    pub fn workload_url(&self) -> String {
        connections::redis_workload_url(self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it stores: the append-only file. A test may put an older copy there while the server is down.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.service.folder.path.join("data")
    }
}

/// A Sentinel that watches a Redis alone.
#[derive(Debug)]
pub struct Sentinel {
    service: Service,
    address: SocketAddr,
}

impl Sentinel {
    /// The name under which it watches.
    pub const MASTER: &str = SENTINEL_MASTER;
    /// The user, with its password, whom a protected one lets do what clients need, and no more; its default user has another
    /// password.
    pub const CLIENT: (&str, &str) = ("coupon-watch", "watch-dev");
    /// The rights of that user, as README lists them.
    pub const CLIENT_RIGHTS: &str = "resetchannels &+switch-master -@all +sentinel|get-master-addr-by-name +subscribe";

    /// Starts one; with `protected`, it asks everybody for a login.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start(primary: &Redis, protected: bool) -> Result<Self> {
        let (port, address) = (Port::free()?, primary.address);
        let password = protected.then_some(OPERATOR_PASSWORD);
        let further = password.map_or_else(String::new, |password| {
            let (user, its_password) = Self::CLIENT;
            format!("requirepass {password}\nuser {user} on >{its_password} {}\n", Self::CLIENT_RIGHTS)
        });
        Self::launch(vec![port], &address.ip().to_string(), address.port(), &further, password)
    }

    /// Starts one that speaks TLS, and tells of a primary that does, by this name of its or this address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_tls(primary: &Redis, certificate: &Certificate, host: &str) -> Result<Self> {
        let (secure, port) = (Port::free()?, Port::free()?);
        let further = certificate.settings(secure.address())
            + "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
        let primary = primary.tls.context("the primary speaks no TLS")?;
        let mut sentinel = Self::launch(vec![port, secure], host, primary.port(), &further, None)?;
        sentinel.address = sentinel.service.ports[1].address();
        Ok(sentinel)
    }

    fn launch(ports: Vec<Port>, host: &str, port: u16, further: &str, password: Option<&'static str>) -> Result<Self> {
        let (folder, address) = (Folder::create("sentinel")?, ports[0].address());
        let watched = redis::Watched { host, port, quorum: 1, further, password, expect: "status=ok" };
        let server = redis::sentinel("sentinel", address, &folder.path.join("data"), &folder.log(), &watched)?;
        Ok(Self { service: Service::start(server, folder, ports)?, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A Kafka cluster of one broker.
#[derive(Debug)]
pub struct Kafka {
    service: Service,
    address: SocketAddr,
}

impl Kafka {
    /// Starts one; takes some seconds.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::launch(|_, _| String::new())
    }

    /// The user, with its password, that no ACL holds back at [`Self::start_with_acls`].
    pub const ADMIN: (&str, &str) = kafka::ADMIN;

    /// Starts one that asks for a login (SASL PLAIN, without TLS) and goes by ACLs, of which there are none at first. `users`: names
    /// with passwords, beside [`Self::ADMIN`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_acls(users: &[(&str, &str)]) -> Result<Self> {
        Self::launch(|clients, controller| kafka::guarded(clients, controller, users))
    }

    /// Starts one with further lines of configuration, such as `delete.topic.enable=false`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(lines: &str) -> Result<Self> {
        Self::launch(|_, _| format!("{lines}\n"))
    }

    fn launch(further: impl FnOnce(SocketAddr, SocketAddr) -> String) -> Result<Self> {
        let installed = Tool::find_kafka(&Cache::locate()?)?;
        let (folder, clients, controller) = (Folder::create("kafka")?, Port::free()?, Port::free()?);
        let address = clients.address();
        let cluster = [kafka::Listeners { clients: address, controller: controller.address(), proxied: None }];
        let data = folder.path.join("broker");
        let further = further(address, controller.address());
        let id = kafka::cluster_id(&data)?;
        let server = kafka::server(&installed, 1, &cluster, &id, &data, &folder.log(), &further)?;
        Ok(Self { service: Service::start(server, folder, vec![clients, controller])?, address })
    }

    /// The bootstrap server, `host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.address.to_string()
    }
}

/// A MariaDB, with the same database and users as in a stack.
#[derive(Debug)]
pub struct MariaDb {
    service: Service,
    address: SocketAddr,
}

impl MariaDb {
    /// Starts one.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with more options of `mariadbd`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: &[String]) -> Result<Self> {
        let installed = Tool::MariaDb.find(&Cache::locate()?)?;
        let (folder, port) = (Folder::create("mariadb")?, Port::free()?);
        let address = port.address();
        let mut server = mariadb::server(&installed, address, &folder.path.join("sql"), &folder.log())?;
        server.command.extend(options.iter().cloned());
        Ok(Self { service: Service::start(server, folder, vec![port])?, address })
    }

    /// `mysql://..`, with all rights on the database `coupons` and on those named `coupons_...`.
    #[must_use]
    pub fn url(&self) -> String {
        connections::database_url(self.address)
    }

    /// `mysql://..`, with the rights of the workloads.
    #[must_use]
    pub fn workload_url(&self) -> String {
        connections::database_workload_url(self.address)
    }

    /// The socket by which `root` comes in without a password, with every right.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.service.folder.path.join("sql").join("sql.sock")
    }
}

/// What can be done to every kind of server.
macro_rules! control {
    ($($kind:ty),+) => { $(
        impl $kind {
            /// Kills it (SIGKILL); its data stay.
            ///
            /// # Errors
            /// If it does not run.
            pub fn kill(&self) -> Result<()> {
                self.service.kill()
            }

            /// Freezes it (SIGSTOP): it keeps its connections and answers nothing.
            ///
            /// # Errors
            /// If it does not run.
            pub fn pause(&self) -> Result<()> {
                self.service.signal(Signal::SIGSTOP)
            }

            /// Lets it go on (SIGCONT).
            ///
            /// # Errors
            /// If it does not run.
            pub fn resume(&self) -> Result<()> {
                self.service.signal(Signal::SIGCONT)
            }

            /// Starts it again on the same port with the same data, after killing it if it runs, and waits until it serves.
            ///
            /// # Errors
            /// If it does not become ready; then with the end of its log.
            pub fn restart(&self) -> Result<()> {
                self.service.restart()
            }
        }
    )+ };
}
control!(Redis, Sentinel, Kafka, MariaDb);

/// A server with all that belongs to it. The fields are dropped in this order: first the process, then its folder, then its ports.
#[derive(Debug)]
struct Service {
    process: Mutex<Option<Process>>,
    folder: Folder,
    server: Server,
    ports: Vec<Port>,
}

impl Service {
    fn start(server: Server, folder: Folder, ports: Vec<Port>) -> Result<Self> {
        let service = Self { process: Mutex::new(None), folder, server, ports };
        service.restart()?;
        Ok(service)
    }

    /// A test that panicked while holding the lock left the process as it was.
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let mut process = self.process();
        let process = process.as_mut().with_context(|| format!("{} does not run", self.server.name))?;
        Ok(process.signal(signal)?)
    }

    fn kill(&self) -> Result<()> {
        let mut process = self.process().take().with_context(|| format!("{} does not run", self.server.name))?;
        Ok(process.kill()?)
    }

    fn restart(&self) -> Result<()> {
        let Server { name, log, probe, ready_within, .. } = &self.server;
        let mut slot = self.process();
        // The old one must be gone before the new one takes its port.
        drop(slot.take());
        let mut process =
            Process::start(&self.server).with_context(|| format!("cannot start {name}: run `stack install`"))?;
        let deadline = Instant::now() + *ready_within;
        while let Err(seen) = probe.attempt() {
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

/// A folder for one server, removed when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Locked as long as this process lives: tells others that the folder is in use.
    _lock: File,
}

const PREFIX: &str = "coupon-service-";
const LOCK: &str = "lock";

impl Folder {
    fn create(kind: &str) -> Result<Self> {
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

    fn log(&self) -> PathBuf {
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
