//! Which dependencies no source names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::crates::{Dependency, Package};
use crate::modules::Tree;

#[cfg(test)]
mod tests;

/// Crate and dependency of those that are needed although no source names them.
const EXCEPTIONS: [(&str, &str); 1] = [
    // It turns on a feature, so that programs and tests share one build: e2e/Cargo.toml has the details.
    ("e2e", "byteorder"),
];

/// The dependencies to remove, each with the file that lists it and the reason.
///
/// # Errors
/// If a source cannot be read, or is no Rust.
pub(crate) fn unused(workspace: &Path, packages: &[Package]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let folders: Vec<PathBuf> = packages.iter().map(folder).collect();
    for package in packages {
        let product = names_of_product(package)?;
        let all = names_below(&folder(package), &folders)?;
        let manifest = package.manifest_path.strip_prefix(workspace).unwrap_or(&package.manifest_path);
        for fault in package.dependencies.iter().filter_map(|it| fault(&package.name, it, &product, &all)) {
            found.push(format!("{}: {fault}", manifest.display()));
        }
    }
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).context("Cargo.toml")?;
    let taken = packages.iter().flat_map(|package| &package.dependencies).map(|it| it.name.as_str()).collect();
    let left = left_in_workspace(&manifest, &taken);
    found.extend(left.into_iter().map(|name| format!("Cargo.toml: no crate of the workspace takes {name}")));
    Ok(found)
}

fn folder(package: &Package) -> PathBuf {
    package.manifest_path.parent().unwrap_or(Path::new(".")).to_owned()
}

/// What is wrong with a dependency, given the names in what is not for tests, and in all sources of the crate.
fn fault(package: &str, dependency: &Dependency, product: &BTreeSet<String>, all: &BTreeSet<String>) -> Option<String> {
    let name = dependency.name_in_sources();
    let is_needed = if dependency.is_normal() { product.contains(&name) } else { all.contains(&name) };
    let is_excepted = EXCEPTIONS.contains(&(package, dependency.name.as_str()));
    match (is_needed, is_excepted) {
        (true, false) | (false, true) => None,
        (true, true) => Some(format!("{} is named by a source: remove the exception of tidy", dependency.name)),
        (false, false) if all.contains(&name) => {
            Some(format!("only tests name {}: move it to [dev-dependencies]", dependency.name))
        }
        (false, false) => Some(format!("no source names {}: remove it", dependency.name)),
    }
}

/// Names in the libraries and programs of a crate, without what is compiled for tests only.
fn names_of_product(package: &Package) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for target in package.targets.iter().filter(|target| target.is_product()) {
        let tree = Tree::read(&target.src_path).with_context(|| format!("read {}", target.src_path.display()))?;
        for module in tree.modules() {
            names.extend(module.uses.iter().filter_map(|used| used.path.first().cloned()));
            first_names(module.tokens.clone(), &mut names);
        }
    }
    Ok(names)
}

/// Names in all sources below a crate's folder, except below those of other crates.
fn names_below(folder: &Path, crates: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                if !crates.contains(&path) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let tokens: TokenStream =
                    text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
                first_names(tokens, &mut names);
            }
        }
    }
    Ok(names)
}

/// Adds the first name of each path, such as `a` of `a::b` and of `use a::{b, c};`, and `a` of `use a;`.
fn first_names(tokens: TokenStream, names: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let (before, after) = tokens.split_at(at);
        match token {
            TokenTree::Ident(ident) => {
                let is_imported = matches!(before.last(), Some(TokenTree::Ident(word)) if word == "use");
                // `use ::a::b` begins with a word that is no name.
                let is_path = ident != "use" && begins_with_colons(&after[1..]);
                if !is_within_path(before) && (is_path || is_imported) {
                    names.insert(ident.to_string());
                }
            }
            // What stands in the braces of `use a::{b::c}` is found in `a`.
            TokenTree::Group(group) if !is_within_path(before) => first_names(group.stream(), names),
            _ => {}
        }
    }
}

/// Whether what follows these tokens belongs to a path that has begun: they end with `a::`.
fn is_within_path(before: &[TokenTree]) -> bool {
    match before {
        [.., begin, first, second] if is_colon(first) && is_colon(second) => match begin {
            TokenTree::Ident(word) => word != "use",
            TokenTree::Punct(punct) => punct.as_char() == '>',
            _ => false,
        },
        _ => false,
    }
}

fn begins_with_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_colon(first) && is_colon(second))
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

/// The entries of `[workspace.dependencies]` that no crate takes.
fn left_in_workspace(manifest: &str, taken: &BTreeSet<&str>) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != "[workspace.dependencies]").skip(1);
    let entries = lines.take_while(|line| !line.starts_with('['));
    let names = entries.filter_map(|line| Some(line.split_once('=')?.0.trim())).filter(|name| !name.starts_with('#'));
    names.filter(|name| !taken.contains(name)).map(str::to_owned).collect()
}
