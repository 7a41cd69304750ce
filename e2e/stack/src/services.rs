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
use crate::connections::{self, Connections};
use crate::kafka::Doors;
use crate::layout::{OPERATOR_PASSWORD, SENTINEL_MASTER};
use crate::ports::Port;
use crate::process::{Process, tail};
use crate::secured::administrator::Administrator;
use crate::secured::{self, Authority};
use crate::server::Server;
use crate::tools::Tool;
use crate::{kafka, mariadb, redis};

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
        let file = |name: &str| self.folder.path.join(name);
        redis::tls(port.port(), &file("server.crt"), &file("server.key"), &file("ca.crt"))
    }
}

/// Whether a Redis speaks TLS.
#[derive(Clone, Copy, Debug)]
enum Tls<'a> {
    None,
    /// On another port, beside the plain one.
    Beside(&'a Certificate),
    /// It is secured, and there is no plain port.
    Only(&'a Authority),
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
        Self::launch(None, Tls::None)
    }

    /// Starts one that follows `primary`, and waits until it has its data.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_replica_of(primary: &Self) -> Result<Self> {
        Self::launch(Some(primary.address), Tls::None)
    }

    /// Starts one that speaks TLS as well, on another port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_tls(certificate: &Certificate) -> Result<Self> {
        Self::launch(None, Tls::Beside(certificate))
    }

    fn launch(primary: Option<SocketAddr>, tls: Tls<'_>) -> Result<Self> {
        let (folder, port, secure) = (Folder::create("redis")?, Port::free()?, Port::free()?);
        let address = port.address();
        let (authority, further, tls) = match tls {
            Tls::None => (None, String::new(), None),
            Tls::Beside(certificate) => (None, certificate.settings(secure.address()), Some(secure.address())),
            Tls::Only(authority) => (Some(authority), String::new(), Some(address)),
        };
        let setup = redis::Setup { authority, further: &further };
        let server = redis::server("redis", address, &folder.path.join("data"), &folder.log(), primary, setup)?;
        Ok(Self { service: Service::start(server, folder, vec![port, secure])?, address, tls })
    }

    /// Where it listens for TLS; nowhere unless it was started so.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
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
        let further = if protected { Self::client() } else { String::new() };
        Self::launch(vec![port], &address.ip().to_string(), address.port(), &further, password)
    }

    /// The line of configuration that makes [`Self::CLIENT`].
    pub(crate) fn client() -> String {
        let (user, password) = Self::CLIENT;
        format!("user {user} on >{password} {}\n", Self::CLIENT_RIGHTS)
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
        let watched = redis::Watched { host, port, quorum: 1, further, password, authority: None, expect: "status=ok" };
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
        Self::launch(kafka::Setup::default())
    }

    /// The user, with its password, that no ACL holds back at [`Self::start_with_acls`].
    pub const ADMIN: (&str, &str) = secured::ADMIN;

    /// Starts one that asks for a login (SASL PLAIN, without TLS) and goes by ACLs, of which there are none at first. `users`: names
    /// with passwords, beside [`Self::ADMIN`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_acls(users: &[(&str, &str)]) -> Result<Self> {
        Self::launch(kafka::Setup { doors: Doors::Guarded(users), ..kafka::Setup::default() })
    }

    /// Starts one with further lines of configuration, such as `delete.topic.enable=false`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(lines: &str) -> Result<Self> {
        Self::launch(kafka::Setup { further: &format!("{lines}\n"), ..kafka::Setup::default() })
    }

    fn launch(setup: kafka::Setup<'_>) -> Result<Self> {
        let installed = Tool::find_kafka(&Cache::locate()?)?;
        let (folder, clients, controller) = (Folder::create("kafka")?, Port::free()?, Port::free()?);
        let address = clients.address();
        let cluster = [kafka::Listeners { clients: address, controller: controller.address(), proxied: None }];
        let data = folder.path.join("broker");
        let id = kafka::cluster_id(&data)?;
        let server = kafka::server(&installed, 1, &cluster, &id, &data, &folder.log(), setup)?;
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
        Self::launch(None, options)
    }

    fn launch(authority: Option<&Authority>, options: &[String]) -> Result<Self> {
        let installed = Tool::MariaDb.find(&Cache::locate()?)?;
        let (folder, port) = (Folder::create("mariadb")?, Port::free()?);
        let address = port.address();
        let mut server = mariadb::server(&installed, address, &folder.path.join("sql"), &folder.log(), authority)?;
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
        mariadb::socket(&self.service.folder.path.join("sql"))
    }
}

/// All three, secured: TLS by an authority of their own, and logins with the rights that README lists for the realms of
/// [`crate::layout::REALMS`]. Users and passwords are those of a stack, also Kafka's.
#[derive(Debug)]
pub struct Secured {
    /// Kafka.
    pub kafka: Kafka,
    /// Redis.
    pub redis: Redis,
    /// The database.
    pub database: MariaDb,
    /// Changes passwords and certificates.
    pub administrator: Administrator,
    _folder: Folder,
    _port: Port,
}

impl Secured {
    /// Starts them together; takes some seconds.
    ///
    /// # Errors
    /// As each of them.
    pub fn start() -> Result<Self> {
        let (folder, port) = (Folder::create("authority")?, Port::free()?);
        let (authority, admin) = (Authority::create(&folder.path.join("authority"))?, port.address());
        let all = &authority;
        let (kafka, redis, database) = std::thread::scope(|scope| {
            let kafka = scope.spawn(move || {
                let doors = Doors::Secured { authority: all, admin };
                Kafka::launch(kafka::Setup { doors, ..kafka::Setup::default() })
            });
            let database = scope.spawn(move || MariaDb::launch(Some(all), &[]));
            let redis = Redis::launch(None, Tls::Only(all));
            (kafka.join(), redis, database.join())
        });
        let panicked = |_| anyhow::Error::msg("a server's start panicked");
        let (kafka, redis, database) = (kafka.map_err(panicked)??, redis?, database.map_err(panicked)??);
        let administrator =
            Administrator { authority, redis: redis.address, kafka: admin, database: database.socket() };
        Ok(Self { kafka, redis, database, administrator, _folder: folder, _port: port })
    }

    /// Where they are, as [`Connections`] of a stack says it; the stack is none.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let folder = self.administrator.authority.folder().to_owned();
        Connections {
            stack: String::new(),
            state: folder.clone(),
            node_ip: self.redis.address.ip().to_string(),
            kafka: Some(self.kafka.url()),
            redis: Some(connections::secured_redis_url(self.redis.address)),
            redis_workload: Some(connections::secured_redis_workload_url(self.redis.address)),
            redis_sentinels: None,
            redis_master: None,
            database: Some(connections::secured_database_url(self.database.address)),
            database_workload: Some(self.database.workload_url()),
            authority: Some(folder),
        }
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
        while let Err(seen) = self.server.attempt() {
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
