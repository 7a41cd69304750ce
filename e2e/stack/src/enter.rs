//! Running commands inside a stack.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::connections::Connections;
use crate::control::Client;
use crate::layout::Layout;
use crate::options::{Component, Options};
use crate::plan;
use crate::tools::Tool;

/// Nothing outside can be reached from within a stack, so a proxy would only break connections.
pub(crate) const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// Replaces this process by a command inside the stack, with the same folder, input, output and exit status.
///
/// # Errors
/// If the stack does not run, or the command cannot be run. Does not return otherwise.
pub fn exec(name: &str, command: &[OsString]) -> Result<()> {
    let client = Client::new(name)?;
    let layout = client.layout();
    let (program, arguments) = command.split_first().context("there is no command: use `stack exec -- COMMAND`")?;
    let pid =
        client.pid()?.with_context(|| format!("stack {name} does not run: start it with `stack up --name {name}`"))?;
    let mut command = if is_inside(pid)? {
        Command::new(program)
    } else {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--target={pid}")).args(["--mount", "--net", "--pid", "--uts", "--ipc"]);
        let mut folder = OsString::from("--wdns=");
        folder.push(std::env::current_dir()?);
        enter.arg(folder);
        // nsenter stays outside as the parent; when it is killed, so is the command.
        enter.args(["--", "setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        enter
    };
    command.args(arguments);
    environment(&mut command, layout, &Options::load(layout)?)?;
    let error = command.exec();
    bail!("cannot run {}: {error}", program.display())
}

/// Replaces this process by an interactive shell inside the stack.
///
/// # Errors
/// As [`exec`].
pub fn shell(name: &str) -> Result<()> {
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    exec(name, &[shell])
}

/// Refuses what can only be done from outside.
pub(crate) fn refuse_inside(what: &str) -> Result<()> {
    if let Ok(inside) = Connections::from_env() {
        bail!("`stack {what}` must run outside, and this is inside stack {}", inside.stack);
    }
    Ok(())
}

fn is_inside(pid: i32) -> Result<bool> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid"));
    Ok(namespace(&pid.to_string()).context("cannot look at the stack's namespaces: run this as root")?
        == namespace("self")?)
}

fn environment(command: &mut Command, layout: &Layout, options: &Options) -> Result<()> {
    let mut tools = Vec::new();
    if options.has(Component::Kubernetes) {
        let cache = Cache::locate()?;
        tools.extend([Tool::Kubernetes.find(&cache)?, Tool::Helm.find(&cache)?]);
        command.env("KUBECONFIG", layout.kubeconfig());
        // Only tests have it.
        if let Ok(folder) = Tool::GatewayApi.find(&cache) {
            command.env("COUPON_GATEWAY_API", folder);
        }
    }
    if options.has_gateways() {
        tools.push(Tool::Envoy.find(&Cache::locate()?)?);
    }
    if options.has_contour() {
        let folder = Tool::Contour.find(&Cache::locate()?)?;
        command.env("COUPON_CONTOUR", &folder);
        tools.push(folder);
    }
    command.env("PATH", search_path(&tools)?);
    for (name, value) in plan::connections(layout, options).variables() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for proxy in PROXIES {
        command.env_remove(proxy);
    }
    Ok(())
}

/// The search path: first `tools`, last the folders of system programs, which a user's path may lack.
pub(crate) fn search_path(tools: &[PathBuf]) -> Result<OsString> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = tools.to_vec();
    for folder in std::env::split_paths(&own).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(std::env::join_paths(folders)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_come_first_and_system_programs_are_found() {
        let path = search_path(&["/tools".into()]).unwrap();
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        assert_eq!(folders[0], PathBuf::from("/tools"));
        assert_eq!(folders.iter().filter(|folder| folder.ends_with("usr/sbin")).count(), 1);
    }
}
