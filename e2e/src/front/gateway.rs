//! The gateways of `examples/gateway`, with this stack's addresses in place of those that the files have.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use stack::child::{Running, folder, output};

/// How long one may take to start, and to check its file.
const START: Duration = Duration::from_secs(30);
/// How long one may take to end.
const END: Duration = Duration::from_secs(2);

/// Where Envoy's examples have the campaign's Service.
pub const ENVOY_ISSUERS: &str = "address: first-hundred-issuer.shop.svc.cluster.local, port_value: 80";
/// Where the provider of tokens is.
pub const ENVOY_LOGIN: &str = "address: login.example.com, port_value: 443";
/// Who has signed the provider's certificate.
pub const ENVOY_AUTHORITY: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where nginx' example has the campaign's Service.
pub const NGINX_ISSUERS: &str = "first-hundred-issuer.shop.svc.cluster.local:80";
/// Where the service is that knows sessions.
pub const NGINX_LOGIN: &str = "login.shop.svc.cluster.local:8080";

/// A gateway that runs; ended when dropped.
pub struct Gateway {
    /// Which one.
    pub name: &'static str,
    /// Where users come in.
    pub address: SocketAddr,
    /// Where it tells its figures.
    admin: Option<SocketAddr>,
    process: Running,
}

/// A part of an example, and what is in its place here.
pub type Change = (&'static str, String);

/// The example with these changes.
///
/// # Errors
/// It does not have one of the parts: then something else would be tried than the example.
pub fn changed(example: &str, changes: &[Change]) -> Result<String> {
    let mut text = example.to_owned();
    for (part, here) in changes {
        ensure!(text.contains(part), "the example says `{part}` no more");
        text = text.replace(part, here);
    }
    Ok(text)
}

fn example(file: &str) -> Result<String> {
    let path = format!("{}/../examples/gateway/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// Ended with the thread that starts it at the latest.
pub(super) fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", name]);
    command
}

/// Has the program say whether it understands its file.
fn understood(name: &str, command: Command) -> Result<()> {
    let said = output(name, command, START)?;
    ensure!(
        said.status.success(),
        "{name} does not take the example, or is not there (stack up --with gateway): {}",
        String::from_utf8_lossy(&said.stderr).trim()
    );
    Ok(())
}

impl Gateway {
    /// Envoy, as `file` of the examples says; `changes` are those beside its own two addresses.
    ///
    /// # Errors
    /// Envoy does not take it, or does not come up.
    pub async fn envoy(
        name: &'static str,
        file: &str,
        address: SocketAddr,
        admin: SocketAddr,
        changes: &[Change],
    ) -> Result<Self> {
        let own =
            [("address: 0.0.0.0, port_value: 8080", at(address)), ("address: 127.0.0.1, port_value: 9901", at(admin))];
        let text = changed(&example(file)?, &[&own[..], changes].concat())?;
        let folder = folder("coupon-envoy")?;
        let config = folder.join("envoy.yaml");
        std::fs::write(&config, text)?;
        let with = |more: &[&str]| {
            let mut command = program("envoy");
            command.arg("-c").arg(&config).args(more);
            command
        };
        understood("envoy", with(&["--mode", "validate"]))?;
        let run = with(&["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let gateway = Self { name, address, admin: Some(admin), process: Running::start("envoy", run, folder)? };
        let http = reqwest::Client::new();
        let ready = async || {
            let answer = http.get(format!("http://{admin}/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        gateway.process.eventually("it says that it is ready", START, ready).await?;
        Ok(gateway)
    }

    /// nginx, as the example says.
    ///
    /// # Errors
    /// nginx does not take it, or does not come up.
    pub async fn nginx(address: SocketAddr, changes: &[Change]) -> Result<Self> {
        let own = [("listen 8080;", format!("listen {address};"))];
        let text = changed(&example("nginx.conf")?, &[&own[..], changes].concat())?;
        Self::nginx_of("nginx", address, &text).await
    }

    /// nginx, as this says.
    ///
    /// # Errors
    /// nginx does not take it, or does not come up.
    pub async fn nginx_of(name: &'static str, address: SocketAddr, config: &str) -> Result<Self> {
        let folder = folder("coupon-nginx")?;
        std::fs::write(folder.join("nginx.conf"), config)?;
        let with = |folder: &Path, more: &[&str]| {
            let mut command = program("nginx");
            command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(more);
            command
        };
        understood("nginx", with(&folder, &["-t"]))?;
        let run = with(&folder, &["-g", "daemon off;"]);
        let gateway = Self { name, address, admin: None, process: Running::start("nginx", run, folder)? };
        let listens = async || tokio::net::TcpStream::connect(address).await.ok().map(drop);
        gateway.process.eventually("it listens", START, listens).await?;
        Ok(gateway)
    }

    /// These of its figures; one that it does not know is 0.
    ///
    /// # Errors
    /// It has ended, or tells none.
    pub async fn figures(&self, names: &[&'static str]) -> Result<BTreeMap<&'static str, u64>> {
        self.process.alive()?;
        let Some(admin) = self.admin else { bail!("{} tells no figures", self.name) };
        let told = reqwest::get(format!("http://{admin}/stats")).await?.text().await?;
        let all: BTreeMap<&str, &str> = told.lines().filter_map(|line| line.split_once(": ")).collect();
        Ok(names.iter().map(|name| (*name, all.get(name).and_then(|text| text.parse().ok()).unwrap_or(0))).collect())
    }

    /// Where people call it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Workers of nginx outlive a parent that is killed, and not one that is told to end.
        let begin = std::time::Instant::now();
        if self.process.signal(Signal::SIGTERM).is_ok() {
            while matches!(self.process.status(), Ok(None)) && begin.elapsed() < END {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// As Envoy's examples write an address.
pub fn at(address: SocketAddr) -> String {
    format!("address: {}, port_value: {}", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_changed_where_it_says_so_and_nowhere_else() {
        let text = "listen 8080; server a:80; server a:80;";
        let changes = [("listen 8080;", "listen 10.0.0.1:81;".to_owned()), ("a:80", "10.0.0.2:80".to_owned())];
        assert_eq!(changed(text, &changes).unwrap(), "listen 10.0.0.1:81; server 10.0.0.2:80; server 10.0.0.2:80;");
        let error = changed(text, &[("b:80", String::new())]).unwrap_err().to_string();
        assert_eq!(error, "the example says `b:80` no more");
    }

    /// Wrong: an example loses what this stands on, and only the demo finds out.
    #[test]
    fn the_examples_have_the_addresses_that_are_changed() {
        for (file, parts) in [
            ("envoy.yaml", &[ENVOY_ISSUERS][..]),
            ("envoy-header.yaml", &[ENVOY_ISSUERS, ENVOY_LOGIN, ENVOY_AUTHORITY]),
            ("nginx.conf", &[NGINX_ISSUERS, NGINX_LOGIN]),
        ] {
            let text = example(file).unwrap();
            for part in parts {
                assert!(text.contains(part), "{file}: {part}");
            }
        }
    }
}
