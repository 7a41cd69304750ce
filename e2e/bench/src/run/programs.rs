//! Starts the programs that are measured: processes of their own, that end with this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use coupon_core::connections::Connections;
use coupon_core::contract::{Acknowledge, Authentication, authentication, environment};
use stack::child::{self, Running};

use super::campaign::Campaign;
use super::stage::{PATIENCE, Stage};

const TOKEN: &str = "a-token-of-the-benchmark-0123456789";
const ANY_PORT: &str = "127.0.0.1:0";

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    running: Running,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Program {
    /// Starts the service that does nothing but answer.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn bare() -> Result<Self> {
        let mut command = bench()?;
        command.arg("serve-bare");
        Self::start("serve-bare", command, |_, _| Ok(()))
    }

    /// Starts the plain service of a campaign.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn plain(stage: &Stage, campaign: &Campaign) -> Result<Self> {
        let (redis, kafka, total) = (stage.servers.redis_url(), stage.servers.kafka_url(), campaign.total.to_string());
        let mut command = bench()?;
        command.args(["serve-plain", "--redis", &redis, "--kafka", &kafka, "--total", &total]);
        command.args(["--topic", &campaign.id.topic(), "--coupon", campaign.id.coupon_id()]);
        Self::start("serve-plain", command, |_, _| Ok(()))
    }

    /// Starts an issuer, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub(crate) async fn issuer(stage: &Stage, campaign: &Campaign, acknowledge: Acknowledge) -> Result<Self> {
        Self::issuer_with(stage, &stage.workload, campaign, acknowledge, &Authentication::None).await
    }

    /// The same, with connections and a way to know users of its own.
    ///
    /// # Errors
    /// As [`Self::issuer`].
    pub(crate) async fn issuer_with(
        stage: &Stage,
        workload: &Connections,
        campaign: &Campaign,
        acknowledge: Acknowledge,
        authentication: &Authentication,
    ) -> Result<Self> {
        let mut command = under_us(&stage.programs.join("coupon-issuer"));
        command
            .env(environment::LISTEN, ANY_PORT)
            .env(environment::CONTROL_LISTEN, ANY_PORT)
            .env(environment::ACKNOWLEDGE, acknowledge.to_string())
            .args([authentication::ARGUMENT, &authentication.to_string()]);
        let issuer = Self::pod(workload, campaign, "coupon-issuer", command)?;
        issuer.ready(stage).await?;
        Ok(issuer)
    }

    /// Starts a consumer, which may be at work before it says that it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn consumer(stage: &Stage, campaign: &Campaign) -> Result<Self> {
        let command = under_us(&stage.programs.join("coupon-consumer"));
        Self::pod(&stage.workload, campaign, "coupon-consumer", command)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub(crate) async fn ready(&self, stage: &Stage) -> Result<()> {
        let ready = async || self.get(stage, "/readyz").await.ok().filter(|(status, _)| *status == 200);
        self.running.eventually("it is ready", PATIENCE, ready).await?;
        Ok(())
    }

    /// What issuers and consumers are told.
    fn pod(workload: &Connections, campaign: &Campaign, name: &str, mut command: Command) -> Result<Self> {
        let connections = workload.to_yaml()?;
        command.env(environment::CAMPAIGN, campaign.id.to_string()).env(environment::PROBE_LISTEN, ANY_PORT);
        command.env(environment::POD_NAME, name).env_remove("RUST_LOG");
        Self::start(name, command, |folder, command| {
            let (file, token) = (folder.join("connections.yaml"), folder.join("control-token"));
            std::fs::write(&file, connections)?;
            std::fs::write(&token, TOKEN)?;
            command.env(environment::CONNECTIONS, file).env(environment::CONTROL_TOKEN_FILE, token);
            Ok(())
        })
    }

    /// `prepare` puts files into the folder of the process, and names them to it.
    fn start(
        name: &str,
        mut command: Command,
        prepare: impl FnOnce(&Path, &mut Command) -> Result<()>,
    ) -> Result<Self> {
        let folder = child::folder(name)?;
        prepare(&folder, &mut command)?;
        let running = Running::start(name, command, folder)?;
        let addresses = running.addresses(PATIENCE)?;
        Ok(Self { running, addresses })
    }

    /// Where users ask.
    ///
    /// # Errors
    /// It serves none.
    pub(crate) fn users(&self) -> Result<SocketAddr> {
        self.addresses.get("public").copied().context("it has no port for users")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// With its last words.
    pub(crate) fn alive(&self) -> Result<()> {
        self.running.alive()
    }

    /// Its metrics; nothing of a program that has none.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn metrics(&self, stage: &Stage) -> Result<String> {
        if !self.addresses.contains_key("probe") {
            return Ok(String::new());
        }
        Ok(self.get(stage, "/metrics").await?.1)
    }

    async fn get(&self, stage: &Stage, path: &str) -> Result<(u16, String)> {
        let probe = self.addresses.get("probe").context("it has no port for probes")?;
        let answer = stage.http.get(format!("http://{probe}{path}")).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

/// This program.
///
/// # Errors
/// If the system does not know it.
pub(crate) fn bench() -> Result<Command> {
    Ok(under_us(&std::env::current_exe().context("where is this program?")?))
}

/// A command that is killed with this process. `setpriv` turns into the program itself, so the process id is the program's. The signal comes
/// when the thread ends that started it: that is the main thread.
fn under_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
