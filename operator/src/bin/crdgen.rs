//! Writes the custom resource definitions from the Rust types, or checks that the files on disk are not stale.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use operator::api::manifests::{self, COMMAND, Manifest};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    /// The repository's top folder: files go to DIR/crds and DIR/charts/coupon-operator/templates/crds.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write nothing; fail if a file is missing or differs.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let files = manifests::all()?;
    if arguments.check {
        return check(&arguments.out, &files);
    }
    for file in &files {
        let path = arguments.out.join(&file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        std::fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check(out: &Path, files: &[Manifest]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let path = out.join(&file.path);
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if found.as_deref() != Some(file.text.as_str()) {
            eprintln!("{} is stale; run `{COMMAND}`", path.display());
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
