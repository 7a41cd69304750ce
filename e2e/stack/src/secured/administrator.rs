//! Who may do everything at the servers: changes passwords and certificates while they run. Everything blocks, for some seconds at most.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::brokers::Brokers;
use super::redis_cli::redis_cli;
use super::{ADMIN, Authority};
use crate::connections::Connections;
use crate::layout::{KAFKA_ADMIN_PORT, REDIS_PORT, on_node};
use crate::run::run;

/// The administrator of a set of secured servers.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// The authority that all clients of these servers trust.
    pub authority: Authority,
    pub(crate) redis: SocketAddr,
    /// A broker's listener for administration.
    pub(crate) kafka: SocketAddr,
    /// MariaDB's socket.
    pub(crate) database: PathBuf,
}

impl Administrator {
    /// Of the stack in which this process runs.
    ///
    /// # Errors
    /// Its servers are not secured.
    pub fn of_stack(connections: &Connections) -> Result<Self> {
        let authority =
            connections.authority().context("this needs a stack with secured servers: `stack up --with secured`")?;
        let database = crate::mariadb::socket(&connections.state.join("data/mariadb"));
        Ok(Self { authority, redis: on_node(REDIS_PORT), kafka: on_node(KAFKA_ADMIN_PORT), database })
    }

    /// Changes a user's password, and ends the connections that came in with the old one.
    ///
    /// # Errors
    /// Redis does not.
    pub fn set_redis_password(&self, user: &str, password: &str) -> Result<()> {
        self.redis(&["ACL", "SETUSER", user, "resetpass", &format!(">{password}")])?;
        self.redis(&["ACL", "SAVE"])?;
        self.redis(&["CLIENT", "KILL", "USER", user]).map(drop)
    }

    /// Changes a user's password, and ends the connections that came in with the old one.
    ///
    /// # Errors
    /// The database does not.
    pub fn set_database_password(&self, user: &str, password: &str) -> Result<()> {
        self.sql(&format!("ALTER USER '{user}'@'%' IDENTIFIED BY '{password}'; KILL USER '{user}'"))
    }

    /// Changes a user's password. Connections that came in with the old one stay until the broker is restarted.
    ///
    /// # Errors
    /// Kafka does not.
    pub fn set_kafka_password(&self, user: &str, password: &str) -> Result<()> {
        Brokers::login(self.kafka, ADMIN)?.set_scram_user(user, password)
    }

    /// Redis and the database show the certificate that the authority has issued last; a broker does so when it is restarted.
    ///
    /// # Errors
    /// One of them does not.
    pub fn show_certificates(&self) -> Result<()> {
        let (certificate, key, trusted) =
            (self.authority.certificate(), self.authority.key(), self.authority.trusted());
        let path = |path: &Path| path.display().to_string();
        self.redis(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &path(&certificate),
            "tls-key-file",
            &path(&key),
            "tls-ca-cert-file",
            &path(&trusted),
        ])?;
        self.sql("FLUSH SSL")
    }

    /// A command of Redis, and its answer.
    ///
    /// # Errors
    /// Redis refuses it, or is away.
    pub fn redis(&self, command: &[&str]) -> Result<String> {
        let mut cli = Command::new("redis-cli");
        let words = redis_cli(self.redis, ADMIN, &self.authority.trusted());
        let output = cli.args(&words[1..]).args(command).output().context("cannot run redis-cli")?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Redis: {} {answer}", complaint.trim());
        Ok(answer)
    }

    /// Statements of MariaDB, as root.
    ///
    /// # Errors
    /// The database refuses one, or is away.
    pub fn sql(&self, statements: &str) -> Result<()> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--batch"]);
        client.arg(format!("--socket={}", self.database.display())).arg(format!("--execute={statements}"));
        run(&mut client)
    }
}
