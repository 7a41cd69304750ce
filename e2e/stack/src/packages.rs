//! The programs and headers that the stack and the project's build take from the machine, and the Debian packages that bring them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

enum Sign {
    /// A program on the search path, or in one of the folders for system programs.
    Program(&'static str),
    /// A file at one of these places.
    File(&'static [&'static str]),
}

/// Something that a Debian package brings.
pub(crate) struct Need {
    package: &'static str,
    sign: Sign,
}

const fn program(package: &'static str, name: &'static str) -> Need {
    Need { package, sign: Sign::Program(name) }
}

const fn file(package: &'static str, places: &'static [&'static str]) -> Need {
    Need { package, sign: Sign::File(places) }
}

/// What the stack and the project's build take.
pub(crate) const NEEDS: &[Need] = &[
    // Kubernetes
    program("containerd", "containerd"),
    program("containerd", "ctr"),
    program("runc", "runc"),
    file("containernetworking-plugins", &["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"]),
    program("nftables", "nft"),
    program("iptables", "iptables"),
    program("iproute2", "ip"),
    program("util-linux", "unshare"),
    program("util-linux", "setpriv"),
    program("openssl", "openssl"),
    // services
    program("redis-server", "redis-server"),
    program("redis-sentinel", "redis-sentinel"),
    program("mariadb-server", "mariadbd"),
    program("mariadb-server", "mariadb-install-db"),
    program("default-jre-headless", "java"),
    program("maven", "mvn"),
    // builds: the pause image, and the native parts of the project's own crates
    program("g++", "g++"),
    program("binutils", "strip"),
    program("cmake", "cmake"),
    program("pkg-config", "pkg-config"),
    file("libssl-dev", &["/usr/include/openssl/ssl.h"]),
    file("libsasl2-dev", &["/usr/include/sasl/sasl.h"]),
    file("zlib1g-dev", &["/usr/include/zlib.h"]),
    file("libzstd-dev", &["/usr/include/zstd.h"]),
    file(
        "libcurl4-openssl-dev",
        &[
            "/usr/include/curl/curl.h",
            "/usr/include/x86_64-linux-gnu/curl/curl.h",
            "/usr/include/aarch64-linux-gnu/curl/curl.h",
        ],
    ),
];

/// What only tests take: rules and routes of alerts are tried with the programs that read them.
pub(crate) const NEEDS_OF_TESTS: &[Need] =
    &[program("prometheus", "promtool"), program("prometheus-alertmanager", "amtool")];

/// What only a stack with monitoring takes. The same packages.
pub(crate) const NEEDS_OF_MONITORING: &[Need] =
    &[program("prometheus", "prometheus"), program("prometheus-alertmanager", "prometheus-alertmanager")];

/// What only a stack with gateways takes: one of them, what fetches the other, and what calls them as users do.
pub(crate) const NEEDS_OF_GATEWAYS: &[Need] =
    &[program("nginx", "nginx"), program("python3-pip", "pip3"), program("curl", "curl")];

/// What only a stack with a browser takes. Both are of one source, and so of one version.
pub(crate) const NEEDS_OF_BROWSERS: &[Need] =
    &[program("chromium", "chromium"), program("chromium-driver", "chromedriver")];

const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/cni"];

/// Whether a program can be found.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(Into::into)).any(|folder| folder.join(name).is_file())
}

/// The packages that are missing, each once.
pub(crate) fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|need| match need.sign {
            Sign::Program(name) => !has_program(name),
            Sign::File(places) => !places.iter().any(|place| Path::new(place).exists()),
        })
        .map(|need| need.package)
        .collect();
    packages.dedup();
    packages
}

/// Installs the packages of these needs that are missing; starts none of their services.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    ensure!(
        has_program("apt-get"),
        "these are missing, and this is not a Debian machine: install what your distribution calls {}",
        packages.join(", ")
    );
    ensure!(
        nix::unistd::geteuid().is_root(),
        "these Debian packages are missing: run `apt-get install {}` as root",
        packages.join(" ")
    );
    let _policy = NoServices::set()?;
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments)?;
    let left = missing(needs);
    ensure!(left.is_empty(), "installed, and still not found: {}", left.join(", "));
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .arg("--quiet=2")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    if !output.status.success() {
        bail!("`apt-get {}` failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// While this lives, package scripts start no daemons (Debian's `policy-rc.d`); a policy that is there already is left alone.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn set() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!("cannot remove {POLICY}: remove it by hand, or services will not start when they are installed");
        }
    }
}
