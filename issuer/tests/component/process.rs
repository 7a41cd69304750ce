//! The real binary, for tests in which it dies or works without one of its defences.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use coupon_core::connections::Connections;
use coupon_core::yaml;
use nix::sys::signal::Signal;
use stack::child::{self, Running};

use super::fixture::{Fixture, TOKEN, Users};

/// How long anything may take that is waited for, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `coupon-issuer`; killed when dropped.
pub(crate) struct Process {
    running: Running,
    pub users: Users,
    control: String,
    probe: String,
}

impl Process {
    /// Starts one with these variables in its environment, and waits until it listens.
    pub(crate) fn start(fixture: &Fixture, connections: &Connections, variables: &[(&str, &str)]) -> Self {
        let folder = child::folder("coupon-issuer").unwrap();
        let (file, token) = (folder.join("connections.yaml"), folder.join("control-token"));
        std::fs::write(&file, yaml::to_string(connections).unwrap()).unwrap();
        std::fs::write(&token, TOKEN).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"));
        command
            .env("COUPON_CAMPAIGN", fixture.campaign.to_string())
            .env("COUPON_CONNECTIONS", &file)
            .env("COUPON_CONTROL_TOKEN_FILE", &token)
            .env("COUPON_LISTEN", "127.0.0.1:0")
            .env("COUPON_CONTROL_LISTEN", "127.0.0.1:0")
            .env("COUPON_PROBE_LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied());
        let running = Running::start("coupon-issuer", command, folder).unwrap();
        let addresses = running.addresses(PATIENCE).unwrap();
        let url = |name: &str| format!("http://{}", addresses[name]);
        let users = Users::new(url("public"), fixture.campaign.coupon_id());
        Self { users, control: url("control"), probe: url("probe"), running }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal).unwrap();
    }

    /// Waits for what this process brings about; fails at once if it dies.
    pub(crate) async fn eventually<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        let found = self.running.eventually(what, PATIENCE, look).await;
        found.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What `/readyz` answers; nothing if it cannot be reached.
    pub(crate) async fn readiness(&self) -> Option<u16> {
        let answer = self.users.http.get(format!("{}/readyz", self.probe)).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        self.eventually("ready", async || (self.readiness().await == Some(200)).then_some(())).await;
    }

    /// Tells it to grant nothing below `floor`; whether it confirmed.
    pub(crate) async fn fence(&self, floor: u64) -> bool {
        let request = self.users.http.post(format!("{}/fence", self.control)).bearer_auth(TOKEN);
        self.users.send(request.json(&serde_json::json!({ "floor": floor }))).await.unwrap().status == 200
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> ExitStatus {
        self.running.ended(PATIENCE).await.unwrap()
    }
}
