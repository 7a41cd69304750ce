//! The command `stack`: see the library.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use stack::cache::Cache;
use stack::control::{Action, Client};
use stack::image::{Image, Source};
use stack::options::{Addition, Options};
use stack::{down, enter, install, status, supervisor, up};

/// A real Kubernetes, Kafka, Redis and MariaDB on this machine, without Docker, in namespaces of their own.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(clap::Args)]
struct Name {
    /// Which stack; several can run side by side.
    #[arg(long, default_value = "default", env = "COUPON_STACK")]
    name: String,
}

#[derive(clap::Args)]
struct Part {
    /// The part, as `status` names it.
    part: String,
    #[command(flatten)]
    stack: Name,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Install and build what is missing.
    Install {
        /// Debian packages only.
        #[arg(long)]
        packages: bool,
        /// Only the Debian packages that tests need beside those of a stack.
        #[arg(long, conflicts_with = "packages")]
        test_packages: bool,
        /// Also what these additions need.
        #[arg(long = "with", value_enum, value_delimiter = ',', conflicts_with_all = ["packages", "test_packages"])]
        with: Vec<Addition>,
    },
    /// Start a stack and wait until it is ready; installs first what is missing.
    Up {
        #[command(flatten)]
        stack: Name,
        #[command(flatten)]
        options: Options,
    },
    /// Show the parts of a stack; fails if one does not serve.
    Status {
        #[command(flatten)]
        stack: Name,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop a stack and remove what it stored, but for the logs.
    Down {
        #[command(flatten)]
        stack: Name,
        /// Stop gracefully and keep what is stored, for the next start.
        #[arg(long)]
        keep_data: bool,
    },
    /// Open a shell inside a stack.
    Shell {
        #[command(flatten)]
        stack: Name,
    },
    /// Run a command inside a stack.
    Exec {
        #[command(flatten)]
        stack: Name,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Write a container image archive from files; binaries bring their shared libraries.
    Image {
        /// Name and tag of the image.
        #[arg(long)]
        name_tag: String,
        /// A word of the command that a container runs; repeat it for arguments.
        #[arg(long)]
        entrypoint: Vec<String>,
        /// A file or folder to put into the image.
        #[arg(long = "file", value_name = "SOURCE:DESTINATION")]
        files: Vec<Source>,
        /// Add this machine's certificate authorities.
        #[arg(long)]
        ca_certificates: bool,
        /// The archive; by default in the cache.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Instead of an archive, write the files into this folder, which must not be there yet.
        #[arg(long, conflicts_with = "out")]
        root: Option<PathBuf>,
        /// Write what it is made of to this file (CycloneDX).
        #[arg(long, requires = "packages")]
        sbom: Option<PathBuf>,
        /// For `--sbom`: a package of the workspace that a program is of.
        #[arg(long = "package")]
        packages: Vec<String>,
    },
    /// Load an image archive into a stack's Kubernetes.
    LoadImage {
        /// The archive.
        archive: PathBuf,
        #[command(flatten)]
        stack: Name,
    },
    /// Kill a part (SIGKILL).
    Kill(Part),
    /// Stop a part (SIGTERM), and wait until it has ended.
    Stop(Part),
    /// Start a part that does not run, and wait until it serves.
    Start(Part),
    /// Freeze a part (SIGSTOP).
    Pause(Part),
    /// Let a frozen part go on (SIGCONT).
    Resume(Part),
    #[command(subcommand, hide = true)]
    Inside(Inside),
}

/// What runs inside a stack's namespaces.
#[derive(Subcommand)]
enum Inside {
    /// Process 1.
    Init(Name),
    /// The parent of the parts.
    Supervise(Name),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Subcommands) -> Result<ExitCode> {
    match command {
        Subcommands::Install { packages: true, .. } => install::packages()?,
        Subcommands::Install { test_packages: true, .. } => install::test_packages()?,
        Subcommands::Install { with, .. } => install::install(&with).map(|_| println!("everything is installed"))?,
        Subcommands::Up { stack, options } => up::up(&stack.name, &options)?,
        Subcommands::Status { stack, json } => status::status(&stack.name, json)?,
        Subcommands::Down { stack, keep_data } => down::down(&stack.name, keep_data)?,
        Subcommands::Shell { stack } => enter::shell(&stack.name)?,
        Subcommands::Exec { stack, command } => enter::exec(&stack.name, &command)?,
        Subcommands::Image { name_tag, entrypoint, files, ca_certificates, out, root, sbom, packages } => {
            let image = Image { name: name_tag, entrypoint, files, ca_certificates };
            let packed = image.pack()?;
            if let Some(document) = sbom {
                packed.write_sbom(&packages, &document)?;
            }
            if let Some(root) = root {
                packed.write_root(&root)?;
                println!("{}", root.display());
            } else {
                let out = out.map_or_else(|| default_archive(&image.name), Ok)?;
                packed.write(&out)?;
                println!("{}", out.display());
            }
        }
        Subcommands::LoadImage { archive, stack } => {
            let loaded = Client::new(&stack.name)?.load_image(&archive)?;
            println!("{} {}", loaded.name, if loaded.was_there { "is there already" } else { "is loaded" });
        }
        Subcommands::Kill(Part { part, stack }) => Client::new(&stack.name)?.act(&part, Action::Kill)?,
        Subcommands::Stop(Part { part, stack }) => Client::new(&stack.name)?.act(&part, Action::Stop)?,
        Subcommands::Start(Part { part, stack }) => Client::new(&stack.name)?.act(&part, Action::Start)?,
        Subcommands::Pause(Part { part, stack }) => Client::new(&stack.name)?.act(&part, Action::Pause)?,
        Subcommands::Resume(Part { part, stack }) => Client::new(&stack.name)?.act(&part, Action::Resume)?,
        Subcommands::Inside(Inside::Init(stack)) => return supervisor::init(&stack.name),
        Subcommands::Inside(Inside::Supervise(stack)) => supervisor::supervise(&stack.name)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn default_archive(name_tag: &str) -> Result<PathBuf> {
    let folder = Cache::locate()?.root().join("images");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.join(format!("{}.tar", name_tag.replace(['/', ':'], "_"))))
}
