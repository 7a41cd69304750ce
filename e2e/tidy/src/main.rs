//! `tidy`: what must hold of the sources' structure and no compiler checks. See `tidy --help`.

mod circles;
mod crates;
mod dependencies;
mod imports;
mod modules;
mod names;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// Checks that no files of a crate import each other in a circle: what two files share lives in a third. And that each dependency is
/// named by the sources of the crate that has it.
#[derive(Debug, Parser)]
struct Options {
    /// The folder of the workspace.
    #[arg(default_value = ".")]
    workspace: PathBuf,
    /// Folders that are not looked at, as long as they are not clean.
    #[arg(long)]
    except: Vec<PathBuf>,
    /// Each import that closes a circle, by name.
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    // As cargo names it.
    options.workspace = options.workspace.canonicalize().unwrap_or(options.workspace);
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tidy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The number of faults, each of which is printed.
fn run(options: &Options) -> Result<usize> {
    let packages = crates::packages(&options.workspace)?;
    let circles = print_circles(options, &packages)?;
    if circles > 0 {
        println!("{circles} circles of files: move what they share to a file that imports none of them");
    }
    let unused = dependencies::unused(&options.workspace, &packages)?;
    unused.iter().for_each(|fault| println!("{fault}"));
    Ok(circles + unused.len())
}

/// The number of circles.
fn print_circles(options: &Options, packages: &[crates::Package]) -> Result<usize> {
    let mut found = 0;
    let excepted: Vec<PathBuf> = options.except.iter().map(|folder| options.workspace.join(folder)).collect();
    for root in crates::roots(packages) {
        if excepted.iter().any(|folder| root.starts_with(folder)) {
            continue;
        }
        let tree = modules::Tree::read(&root).with_context(|| format!("read {}", root.display()))?;
        let imports = imports::imports(&tree);
        for circle in circles::circles(tree.files().len(), &imports) {
            found += 1;
            print(options, &tree, &imports, &circle);
        }
    }
    Ok(found)
}

fn print(options: &Options, tree: &modules::Tree, imports: &[imports::Import], circle: &[usize]) {
    let shown = |file: usize| {
        let path = &tree.files()[file].path;
        path.strip_prefix(&options.workspace).unwrap_or(path).display().to_string()
    };
    println!("circle of {}: {}", circle.len(), circle.iter().map(|file| shown(*file)).collect::<Vec<_>>().join(" "));
    if options.verbose {
        for import in imports.iter().filter(|import| circle.contains(&import.from) && circle.contains(&import.to)) {
            println!("  {} takes {} of {}", shown(import.from), import.name, shown(import.to));
        }
    }
}
