//! The real binary, for tests in which it dies or works without one of its defences.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use campaign::settings::Connections;
use campaign::yaml;

use super::fixture::{Fixture, TOKEN, Users, eventually};

/// A running `coupon-issuer`; killed when dropped.
pub struct Process {
    child: Child,
    folder: PathBuf,
    pub users: Users,
    control: String,
    probe: String,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Process {
    /// Starts one with these variables in its environment.
    pub fn start(fixture: &Fixture, connections: &Connections, variables: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("coupon-issuer-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let (file, token) = (folder.join("connections.yaml"), folder.join("control-token"));
        std::fs::write(&file, yaml::to_string(connections).unwrap()).unwrap();
        std::fs::write(&token, TOKEN).unwrap();
        let at = |port: u16| format!("127.0.0.1:{port}");
        let (public, control, probe) = (at(free_port()), at(free_port()), at(free_port()));
        let child = Command::new(env!("CARGO_BIN_EXE_coupon-issuer"))
            .env("COUPON_CAMPAIGN", fixture.campaign.to_string())
            .env("COUPON_CONNECTIONS", &file)
            .env("COUPON_CONTROL_TOKEN_FILE", &token)
            .env("COUPON_LISTEN", &public)
            .env("COUPON_CONTROL_LISTEN", &control)
            .env("COUPON_PROBE_LISTEN", &probe)
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let url = |address: String| format!("http://{address}");
        let users = Users::new(url(public), fixture.campaign.coupon_id());
        Self { child, folder, users, control: url(control), probe: url(probe) }
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("the process is ready", async || {
            let answer = self.users.http.get(format!("{}/readyz", self.probe)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Tells it to grant nothing below `floor`; whether it confirmed.
    pub async fn fence(&self, floor: u64) -> bool {
        let request = self.users.http.post(format!("{}/fence", self.control)).bearer_auth(TOKEN);
        self.users.send(request.json(&serde_json::json!({ "floor": floor }))).await.unwrap().status == 200
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the process has ended", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
