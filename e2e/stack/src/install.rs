//! Getting everything that the stack needs, once.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::cache::Cache;
use crate::kafka::Kafka;
use crate::options::Addition;
use crate::packages::{self, Need};
use crate::tools::Tool;

/// The folders of the installed tools.
#[derive(Clone, Debug)]
pub struct Installed {
    /// kube-apiserver and its kin, kubectl, etcd.
    pub kubernetes: PathBuf,
    /// helm.
    pub helm: PathBuf,
    /// What the brokers run from.
    pub kafka: Kafka,
    /// An empty MariaDB data folder.
    pub mariadb: PathBuf,
    /// The pause image's archive.
    pub pause: PathBuf,
}

impl Installed {
    /// What is installed.
    ///
    /// # Errors
    /// If something is missing.
    pub fn find() -> Result<Self> {
        let cache = Cache::locate()?;
        Ok(Self {
            kubernetes: Tool::Kubernetes.find(&cache)?,
            helm: Tool::Helm.find(&cache)?,
            kafka: Tool::find_kafka(&cache)?,
            mariadb: Tool::MariaDb.find(&cache)?,
            pause: Tool::Pause.find(&cache)?.join("pause.tar"),
        })
    }
}

/// Installs the Debian packages that are missing.
///
/// # Errors
/// If one cannot be installed.
pub fn packages() -> Result<()> {
    install_for(packages::NEEDS, "1 to 3 min")
}

/// Installs the Debian packages that are missing and that only tests need, and the definition of HTTPRoute.
///
/// # Errors
/// If one cannot be installed.
pub fn test_packages() -> Result<()> {
    install_for(packages::NEEDS_OF_TESTS, "20 s")?;
    let cache = Cache::locate()?;
    if Tool::GatewayApi.find(&cache).is_err() {
        let (title, expected) = Tool::GatewayApi.describe();
        step(title, expected, || Tool::GatewayApi.build(&cache).map(drop))?;
    }
    Ok(())
}

/// Installs the Debian packages that are missing and that only a stack with monitoring needs.
pub(crate) fn monitoring_packages() -> Result<()> {
    install_for(packages::NEEDS_OF_MONITORING, "20 s")
}

fn install_for(needs: &[Need], expected: &str) -> Result<()> {
    let missing = packages::missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    step(&format!("Debian packages {}", missing.join(" ")), expected, || packages::install(needs))
}

/// Installs what is missing of what every stack has and of `additions`, and prints a line for each step that has work to do.
///
/// # Errors
/// If a package cannot be installed, or a tool cannot be built.
pub fn install(additions: &[Addition]) -> Result<Installed> {
    packages()?;
    let cache = Cache::locate()?;
    let mut tools = Tool::ALL.to_vec();
    let has_contour = additions.contains(&Addition::Contour);
    if has_contour || additions.contains(&Addition::Gateway) {
        install_for(packages::NEEDS_OF_GATEWAYS, "20 s")?;
        tools.push(Tool::Envoy);
    }
    tools.extend(has_contour.then_some(Tool::Contour));
    if additions.contains(&Addition::Browser) {
        install_for(packages::NEEDS_OF_BROWSERS, "1 min")?;
    }
    for tool in tools {
        if tool.find(&cache).is_err() {
            let (title, expected) = tool.describe();
            step(title, expected, || tool.build(&cache).map(drop))?;
        }
    }
    Installed::find()
}

fn step(title: &str, expected: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("installing {title} (takes about {expected})");
    let start = Instant::now();
    work()?;
    // By name: the programs are compiled beside it, and say their own.
    println!("installed {title} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
