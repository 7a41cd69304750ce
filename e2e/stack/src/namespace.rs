//! Making the inside of a stack: its network and its mounts. Runs in namespaces of its own, so nothing here reaches the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::layout::{Layout, NODE_IP, NODE_NAME};
use crate::run::run;

/// Sets up host name, network and mounts.
pub(crate) fn prepare(layout: &Layout) -> Result<()> {
    nix::unistd::sethostname(NODE_NAME)?;
    network().context("setting up the network failed")?;
    // Containers leave sockets and network namespaces there.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))
        .context("cannot mount a tmpfs on /run")?;
    fs::create_dir_all("/run/netns")?;
    names(layout)?;
    let data = layout.data();
    // Addresses that pods of an earlier run held are free again.
    crate::cache::remove_folder(&data.join("cni"))?;
    bind(&data.join("cni"), Path::new("/var/lib/cni"))?;
    bind(&data.join("kubelet"), Path::new("/var/lib/kubelet"))?;
    bind(&layout.logs().join("containers"), Path::new("/var/log/containers"))
}

/// An interface with the node's address and a default route: the API server and the kubelet look for both. It leads nowhere.
fn network() -> Result<()> {
    let address = format!("{NODE_IP}/24");
    let [a, b, c, _] = NODE_IP.octets();
    let gateway = format!("{a}.{b}.{c}.1");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0-peer"],
        &["address", "add", &address, "dev", "eth0"],
        &["link", "set", "eth0", "up"],
        &["link", "set", "eth0-peer", "up"],
        &["route", "add", "default", "via", &gateway, "dev", "eth0"],
    ] {
        run(Command::new("ip").args(arguments))?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot enable forwarding")
}

/// The node knows its own name and asks nobody for others: a name server of the machine could not be reached, and waiting for one takes long.
fn names(layout: &Layout) -> Result<()> {
    let contents = [
        ("hosts", format!("127.0.0.1 localhost\n::1 localhost\n{NODE_IP} {NODE_NAME}\n")),
        ("resolv.conf", "# There is no name server.\n".to_owned()),
    ];
    for (file, content) in contents {
        let (source, target) = (layout.config().join(file), Path::new("/etc").join(file));
        fs::write(&source, content)?;
        // It may be a link into /run, where nothing is now.
        if target.exists() {
            mount_on(&source, &target)?;
        }
    }
    Ok(())
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    for folder in [source, target] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    mount_on(source, target)
}

fn mount_on(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", source.display(), target.display()))
}
