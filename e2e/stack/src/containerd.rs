//! containerd: its configuration, and images for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::connections::STACK;
use crate::image;
use crate::layout::Layout;
use crate::probe::Probe;
use crate::run::run;
use crate::server::{Server, command};
use crate::tools::PAUSE_IMAGE;

/// Where Kubernetes looks for images.
const NAMESPACE: &str = "k8s.io";

/// Writes the configuration and prepares the server. It is ready when the pause image is in it.
pub(crate) fn server(layout: &Layout, pause: &Path) -> Result<Server> {
    let config = layout.config();
    fs::create_dir_all(&config)?;
    let file = config.join("containerd.toml");
    fs::write(&file, configuration(layout, plugins_folder()))?;
    let usual = Command::new("ctr").args(["oci", "spec"]).output().context("cannot run ctr: run `stack install`")?;
    ensure!(usual.status.success(), "ctr oci spec: {}", String::from_utf8_lossy(&usual.stderr).trim());
    let container = every_container(serde_json::from_slice(&usual.stdout)?, layout.name())?;
    fs::write(container_file(layout), serde_json::to_vec(&container)?)?;
    let socket = layout.containerd_socket();
    Ok(Server {
        name: "containerd".to_owned(),
        command: command!["containerd", "--config", file.display()],
        log: layout.log("containerd"),
        address: socket.display().to_string(),
        probe: Probe::Command(command![
            "ctr",
            "--address",
            socket.display(),
            "--namespace",
            NAMESPACE,
            "images",
            "import",
            pause.display()
        ]),
        once: None,
        ready_within: Duration::from_secs(30),
        after: Vec::new(),
        stores: true,
    })
}

/// Imports an image archive, unless the same image is there already.
///
/// # Errors
/// If containerd does not answer, or the archive is not one.
pub(crate) fn load(layout: &Layout, archive: &Path) -> Result<Loaded> {
    let (name, digest) = image::identify(archive)?;
    let socket = layout.containerd_socket();
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&socket).args(["--namespace", NAMESPACE, "images"]).args(arguments);
        command
    };
    let listing = ctr(&["list", &format!("name=={name}")]).output().context("cannot run ctr: run `stack install`")?;
    ensure!(
        listing.status.success(),
        "containerd of stack {} does not answer: {}",
        layout.name(),
        String::from_utf8_lossy(&listing.stderr).trim()
    );
    if String::from_utf8_lossy(&listing.stdout).contains(&digest) {
        return Ok(Loaded { name, was_there: true });
    }
    run(ctr(&["import"]).arg(archive))?;
    Ok(Loaded { name, was_there: false })
}

/// An image in a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its full name.
    pub name: String,
    /// Whether the very same image was there already.
    pub was_there: bool,
}

fn container_file(layout: &Layout) -> PathBuf {
    layout.config().join("container.json")
}

/// What every container begins with: containerd's own specification, and the name of the stack in its environment. It is not in the image,
/// which would then say so wherever it runs.
fn every_container(mut usual: Value, stack: &str) -> Result<Value> {
    let process =
        usual.get_mut("process").and_then(Value::as_object_mut).context("containerd's specification has no process")?;
    // As containerd does where no specification is given: the limits are those of the node.
    process.remove("rlimits");
    let variables = process.entry("env").or_insert_with(|| json!([]));
    variables.as_array_mut().context("its environment is no list")?.push(json!(format!("{STACK}={stack}")));
    Ok(usual)
}

/// Distributions disagree on where the network plugins belong.
fn plugins_folder() -> &'static str {
    if Path::new("/usr/lib/cni/bridge").exists() { "/usr/lib/cni" } else { "/opt/cni/bin" }
}

fn configuration(layout: &Layout, plugins: &str) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without the capability to lower it, every pod would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{container}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        root = layout.data().join("containerd").display(),
        state = layout.run().join("containerd").display(),
        socket = layout.containerd_socket().display(),
        network = layout.config().join("cni").display(),
        container = container_file(layout).display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_hears_the_name_of_its_stack_and_is_as_usual_else() {
        let usual =
            json!({"root": {}, "process": {"cwd": "/", "env": ["PATH=/bin"], "rlimits": [{"type": "RLIMIT_NOFILE"}]}});
        let expected = json!({"root": {}, "process": {"cwd": "/", "env": ["PATH=/bin", "COUPON_STACK=demo"]}});
        assert_eq!(every_container(usual, "demo").unwrap(), expected);
        assert!(every_container(json!({}), "demo").is_err());
    }
}
