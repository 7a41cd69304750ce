//! Kafka brokers, each also a controller (KRaft).

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, REALMS, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::ports::Port;
use crate::probe::Probe;
use crate::process::{Process, tail};
use crate::run::run;
use crate::secured::{ADMIN, Authority, rights};
use crate::server::{Server, Users, command};

const CHECKPOINT: &str = "bootstrap.checkpoint";
/// The archive's name in its folder.
pub(crate) const CLASSES: &str = "classes.jsa";

/// What the brokers run from.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `libs/*.jar`, and `bootstrap.checkpoint` as a formatted folder has it.
    pub program: PathBuf,
    /// The classes that a broker loads, as Java maps them into memory: halves the processor time of a start.
    pub classes: PathBuf,
}

/// Where one broker listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listeners {
    pub(crate) clients: SocketAddr,
    pub(crate) controller: SocketAddr,
    pub(crate) proxied: Option<Proxied>,
}

/// A second way in for clients, which a test puts a proxy in front of: who bootstraps through the proxy is sent back to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxied {
    /// Where the broker listens.
    pub(crate) listener: SocketAddr,
    /// Where the proxy will listen: what the broker tells clients that came in this way.
    pub(crate) advertised: SocketAddr,
}

/// What a broker has beside the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) doors: Doors<'a>,
    /// More lines of its configuration; the last word of a key counts.
    pub(crate) further: &'a str,
}

/// Whom a broker lets in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Doors<'a> {
    /// Everybody, who may do everything.
    #[default]
    Open,
    /// Those with a login, without TLS: these, beside [`ADMIN`]. They may do what ACLs say, of which there are none at first.
    Guarded(&'a [(&'a str, &'a str)]),
    /// Operator and pods, over TLS, with the rights that README lists; at `admin` the brokers themselves and [`ADMIN`].
    Secured { authority: &'a Authority, admin: SocketAddr },
}

/// What makes a broker speak TLS to clients, ask for SCRAM logins and go by ACLs. Brokers and controllers log in to each other, too.
fn secured(here: Listeners, authority: &Authority, internal: SocketAddr) -> String {
    let (user, password) = ADMIN;
    let Listeners { clients, controller, proxied } = here;
    let (listener, advertised) = proxied.map_or_else(Default::default, |Proxied { listener, advertised }| {
        (format!(",PROXIED://{listener}"), format!(",PROXIED://{advertised}"))
    });
    let plain = format!(
        "plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"{user}\" password=\"{password}\" user_{user}=\"{password}\";"
    );
    let scram = "scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;";
    format!(
        "listeners=CLIENTS://{clients},INTERNAL://{internal},CONTROLLER://{controller}{listener}\n\
         advertised.listeners=CLIENTS://{clients},INTERNAL://{internal}{advertised}\n\
         listener.security.protocol.map=CLIENTS:SASL_SSL,PROXIED:SASL_SSL,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT\n\
         inter.broker.listener.name=INTERNAL\n\
         sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         sasl.mechanism.inter.broker.protocol=PLAIN\n\
         sasl.mechanism.controller.protocol=PLAIN\n\
         listener.name.internal.sasl.enabled.mechanisms=PLAIN\n\
         listener.name.controller.sasl.enabled.mechanisms=PLAIN\n\
         listener.name.internal.{plain}\n\
         listener.name.controller.{plain}\n\
         listener.name.clients.{scram}\n\
         listener.name.proxied.{scram}\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={}\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:{user}\n",
        authority.both().display(),
    )
}

/// The users of a secured cluster, and their rights.
fn users(admin: SocketAddr, folder: &Path) -> Result<Users> {
    let mut all = Vec::new();
    for realm in REALMS {
        all.extend(rights::kafka(realm, OPERATOR_USER, WORKLOAD_USER)?);
    }
    let users = vec![ADMIN, (OPERATOR_USER, OPERATOR_PASSWORD), (WORKLOAD_USER, WORKLOAD_PASSWORD)];
    Ok(Users { admin, login: ADMIN, users, rights: all, made: folder.join("users-made") })
}

/// What makes a broker ask clients for a login (SASL PLAIN, without TLS) and go by ACLs. It stands behind the rest of its
/// configuration, and the last word of a key counts.
fn guarded(clients: SocketAddr, controller: SocketAddr, users: &[(&str, &str)]) -> String {
    let (admin, password) = ADMIN;
    let all = users.iter().chain([&ADMIN]);
    let users: String = all.map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
    format!(
        "listeners=CLIENTS://{clients},CONTROLLER://{controller}\n\
         advertised.listeners=CLIENTS://{clients}\n\
         listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=CLIENTS\n\
         sasl.enabled.mechanisms=PLAIN\n\
         sasl.mechanism.inter.broker.protocol=PLAIN\n\
         listener.name.clients.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"{admin}\" password=\"{password}\"{users};\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         # The broker itself, at its controller; clients cannot come without a login.\n\
         super.users=User:{admin};User:ANONYMOUS\n"
    )
}

/// Where a broker that works in `folder` keeps its partitions.
pub(crate) fn logs(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Prepares the broker with the number `id` (from 1) of a cluster whose brokers listen at `cluster`.
pub(crate) fn server(
    installed: &Kafka,
    id: usize,
    cluster: &[Listeners],
    cluster_id: &str,
    folder: &Path,
    log: &Path,
    setup: Setup<'_>,
) -> Result<Server> {
    let here = cluster.get(id.wrapping_sub(1)).context("there is no broker with this number")?;
    fs::create_dir_all(folder.join("data"))?;
    let meta = folder.join("data/meta.properties");
    // What Kafka's own formatting tool would write, without starting a Java machine for it.
    if !meta.exists() {
        fs::copy(installed.program.join(CHECKPOINT), folder.join("data").join(CHECKPOINT))?;
        let directory_id = random_id()?;
        fs::write(&meta, format!("version=1\nnode.id={id}\ncluster.id={cluster_id}\ndirectory.id={directory_id}\n"))?;
    }
    let file = folder.join("server.properties");
    let (guards, probed, once) = match setup.doors {
        Doors::Open => (String::new(), here.clients, None),
        Doors::Guarded(users) => (guarded(here.clients, here.controller, users), here.clients, None),
        Doors::Secured { authority, admin } => {
            // One for all: what it is told is in the cluster's own log.
            let once = if id == 1 { Some(users(admin, folder)?) } else { None };
            (secured(*here, authority, admin), admin, once)
        }
    };
    fs::write(&file, configuration(id, cluster, *here, &logs(folder)) + &guards + setup.further)?;
    let libraries = installed.program.join("libs/*");
    Ok(Server {
        name: format!("kafka-{id}"),
        command: command![
            "java",
            "-Xms256m",
            "-Xmx512m",
            "-XX:+UseG1GC",
            format!("-XX:SharedArchiveFile={}", installed.classes.display()),
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            libraries.display(),
            "kafka.Kafka",
            file.display(),
        ],
        log: log.to_owned(),
        address: here.clients.to_string(),
        probe: Probe::Kafka(probed),
        once,
        ready_within: Duration::from_secs(60),
        after: Vec::new(),
        stores: true,
    })
}

/// A cluster id of a folder's brokers: the one they have, or a new one. A new cluster must not look like an old one.
pub(crate) fn cluster_id(folder: &Path) -> Result<String> {
    match fs::read_to_string(folder.join("data/meta.properties")) {
        Ok(text) => text
            .lines()
            .find_map(|line| line.strip_prefix("cluster.id="))
            .map(str::to_owned)
            .with_context(|| format!("the Kafka data in {} names no cluster", folder.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => random_id(),
        Err(error) => Err(error.into()),
    }
}

/// Formats a folder with Kafka's own tool, and keeps the part that does not depend on the node.
pub(crate) fn format(installed: &Path) -> Result<()> {
    let here =
        Listeners { clients: ([127, 0, 0, 1], 9092).into(), controller: ([127, 0, 0, 1], 9093).into(), proxied: None };
    let (file, data) = (installed.join("server.properties"), installed.join("formatted"));
    fs::write(&file, configuration(1, &[here], here, &data))?;
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(installed.join("libs/*"))
        .args(["kafka.tools.StorageTool", "format", "-t", &random_id()?, "-c"])
        .arg(&file);
    run(&mut command).context("formatting a Kafka folder failed")?;
    fs::rename(data.join(CHECKPOINT), installed.join(CHECKPOINT))
        .context("formatting a Kafka folder left no bootstrap checkpoint")?;
    fs::remove_dir_all(&data)?;
    Ok(fs::remove_file(&file)?)
}

/// The Java version, which the archive of classes belongs to.
pub(crate) fn java_version() -> Result<String> {
    let output = Command::new("java").arg("-version").output().context("cannot run java: run `stack install`")?;
    ensure!(output.status.success(), "`java -version` failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Runs a broker once, and has Java write the classes that it loaded to `classes.jsa` in the folder.
pub(crate) fn archive_classes(program: &Path, folder: &Path) -> Result<()> {
    let archive = folder.join(CLASSES);
    let installed = Kafka { program: program.to_owned(), classes: archive.clone() };
    let (clients, controller) = (Port::free()?, Port::free()?);
    let cluster = [Listeners { clients: clients.address(), controller: controller.address(), proxied: None }];
    let (data, log) = (folder.join("broker"), folder.join("log"));
    let mut server = server(&installed, 1, &cluster, &random_id()?, &data, &log, Setup::default())?;
    for word in &mut server.command {
        if word.starts_with("-XX:SharedArchiveFile=") {
            *word = format!("-XX:ArchiveClassesAtExit={}", archive.display());
        }
    }
    let mut process = Process::start(&server)?;
    let deadline = Instant::now() + server.ready_within;
    let mut seen = server.probe.attempt();
    loop {
        if let Some(status) = process.ended()? {
            ensure!(
                seen.is_ok() && archive.exists(),
                "Kafka ended without its classes ({status}):\n{}",
                tail(&log, 20)
            );
            break;
        }
        ensure!(Instant::now() < deadline, "Kafka did not start and stop in time:\n{}", tail(&log, 20));
        if seen.is_ok() {
            process.signal(Signal::SIGTERM)?;
        } else {
            seen = server.probe.attempt();
        }
        std::thread::sleep(server.probe.pause());
    }
    Ok(fs::remove_dir_all(&data)?)
}

fn configuration(id: usize, cluster: &[Listeners], here: Listeners, data: &Path) -> String {
    let voters: Vec<_> = (1..).zip(cluster).map(|(id, broker)| format!("{id}@{}", broker.controller)).collect();
    let copies = cluster.len();
    let in_sync = if copies > 1 { 2 } else { 1 };
    let Listeners { clients, controller, proxied } = here;
    let (listener, advertised) = proxied.map_or_else(Default::default, |Proxied { listener, advertised }| {
        (format!(",PROXIED://{listener}"), format!(",PROXIED://{advertised}"))
    });
    format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         listeners=PLAINTEXT://{clients},CONTROLLER://{controller}{listener}\n\
         advertised.listeners=PLAINTEXT://{clients}{advertised}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.quorum.voters={}\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         default.replication.factor={copies}\n\
         offsets.topic.replication.factor={copies}\n\
         offsets.topic.num.partitions=10\n\
         transaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions=5\n\
         share.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n\
         # Leaders go back to where they belong when somebody asks for it, not at some moment of the next five minutes.\n\
         auto.leader.rebalance.enable=false\n\
         # A broker that was killed may come back only when this has passed.\n\
         broker.session.timeout.ms=4000\n\
         broker.heartbeat.interval.ms=1000\n",
        voters.join(","),
        data.display(),
    )
}

/// 16 random bytes in Kafka's notation: base64 for URLs, without padding, and not beginning with a hyphen (its tools would take that for an option).
fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(encode_id(bytes))
}

fn encode_id(mut bytes: [u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // A first bit of 0 keeps the first letter among the first half of the alphabet.
    bytes[0] &= 0x7f;
    // 128 bits and four zeros are 22 letters of six bits.
    let number = u128::from_be_bytes(bytes);
    (0..22u32)
        .map(|place| {
            let bits = if place == 21 { number << 4 } else { number >> (122 - 6 * place) };
            char::from(ALPHABET[(bits & 0x3f) as usize])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        let mut bytes = [0; 16];
        assert_eq!(encode_id(bytes), "AAAAAAAAAAAAAAAAAAAAAA");
        bytes[15] = 1;
        assert_eq!(encode_id(bytes), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(encode_id([0xff; 16]), "f____________________w");
    }

    #[test]
    fn three_brokers_know_each_other_and_keep_three_copies() {
        let at = |port| SocketAddr::from(([10, 200, 0, 2], port));
        let cluster = [9092, 9094, 9096].map(|port| {
            let proxied = Some(Proxied { listener: at(port + 10_000), advertised: at(port + 20_000) });
            Listeners { clients: at(port), controller: at(port + 1), proxied }
        });
        let text = configuration(2, &cluster, cluster[1], Path::new("/d"));
        assert!(text.contains("controller.quorum.voters=1@10.200.0.2:9093,2@10.200.0.2:9095,3@10.200.0.2:9097\n"));
        assert!(
            text.contains("advertised.listeners=PLAINTEXT://10.200.0.2:9094,PROXIED://10.200.0.2:29094\n"),
            "who comes through the proxy is sent back to it: {text}"
        );
        assert!(text.contains("default.replication.factor=3\n") && text.contains("transaction.state.log.min.isr=2\n"));
    }
}
