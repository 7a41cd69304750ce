//! What `--with monitoring` adds: Prometheus and Alertmanager, and the program `stack-monitoring` (`e2e/monitoring`), which writes what
//! they are told and stands for what is around them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::layout::{ALERTMANAGER_PORT, Layout, PROMETHEUS_PORT, RECEIVER_PORT, TARGETS_PORT, on_node};
use crate::probe::Probe;
use crate::run::run;
use crate::server::{Server, command};

/// What Prometheus scrapes and whom it tells, as JSON, in [`Layout::monitoring`].
pub const PROMETHEUS_FILE: &str = "prometheus.json";
/// Its rules, as YAML.
pub const RULES_FILE: &str = "coupon.rules.yaml";
/// Routes and inhibition, as JSON.
pub const ALERTMANAGER_FILE: &str = "alertmanager.json";
/// Where the receiver tells what came.
pub const RECEIVED: &str = "/received";

/// The names of the parts that [`servers`] makes.
pub(crate) const PART_NAMES: [&str; 4] = ["targets", "receiver", "prometheus", "alertmanager"];

/// The program, which lies beside this one.
///
/// # Errors
/// If it does not.
pub(crate) fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("stack-monitoring");
    let build = "`cargo build --workspace --bin stack-monitoring`";
    ensure!(program.is_file(), "{} is not there: build it with {build}", program.display());
    Ok(program)
}

/// Has the configuration written, and prepares the servers.
pub(crate) fn servers(layout: &Layout) -> Result<Vec<Server>> {
    let stack = program()?;
    run(Command::new(&stack).args(["configure", "--name", layout.name()]))?;
    let file = |name| format!("--config.file={}", layout.monitoring().join(name).display());
    let data = |name| layout.data().join(name).display().to_string();
    let listen = |port| format!("--web.listen-address={}", on_node(port));
    let [targets, receiver, prometheus, alertmanager] = PART_NAMES;
    let told = command![stack.display(), "targets", "--name", layout.name()];
    let heard = command![stack.display(), "receiver"];
    let watching = command![
        "prometheus",
        file(PROMETHEUS_FILE),
        format!("--storage.tsdb.path={}", data(prometheus)),
        listen(PROMETHEUS_PORT),
        // Who changes its files tells it so.
        "--web.enable-lifecycle",
        // What Alertmanager misses while it reads its files anew comes again soon.
        "--rules.alert.resend-delay=10s",
    ];
    let routing = command![
        "prometheus-alertmanager",
        file(ALERTMANAGER_FILE),
        format!("--storage.path={}", data(alertmanager)),
        listen(ALERTMANAGER_PORT),
        // There is one.
        "--cluster.listen-address=",
    ];
    Ok(vec![
        Server { after: vec!["kube-apiserver".to_owned()], ..part(layout, targets, (TARGETS_PORT, "/"), told) },
        part(layout, receiver, (RECEIVER_PORT, RECEIVED), heard),
        Server { stores: true, ..part(layout, prometheus, (PROMETHEUS_PORT, "/-/ready"), watching) },
        Server { stores: true, ..part(layout, alertmanager, (ALERTMANAGER_PORT, "/-/ready"), routing) },
    ])
}

fn part(layout: &Layout, name: &str, (port, ready): (u16, &'static str), command: Vec<String>) -> Server {
    Server {
        name: name.to_owned(),
        command,
        log: layout.log(name),
        address: on_node(port).to_string(),
        probe: Probe::Http(on_node(port), ready),
        once: None,
        ready_within: Duration::from_secs(30),
        after: Vec::new(),
        stores: false,
    }
}
