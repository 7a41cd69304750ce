//! Which file takes what of which other.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use crate::modules::{Module, Tree};
use crate::names::find;

/// A file takes a name of another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Import {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) name: String,
}

/// All imports between the files of a crate. A `pub use` alone takes nothing: it says where something is to be found.
pub(crate) fn imports(tree: &Tree) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for (number, module) in tree.modules().iter().enumerate() {
        for (path, is_glob) in paths(module) {
            let Some((to, name)) = find(tree, number, &path) else { continue };
            let to = tree.modules()[to].file;
            // A module by itself is nothing yet: what is taken by it has a path too.
            if to != module.file && (name != "*" || is_glob) {
                found.insert(Import { from: module.file, to, name });
            }
        }
    }
    found.into_iter().collect()
}

/// Every path that a module takes something by, and whether it is all that is there.
fn paths(module: &Module) -> Vec<(Vec<String>, bool)> {
    let mut paths = Vec::new();
    written(module.tokens.clone(), &mut paths);
    let said: BTreeSet<String> = paths.iter().filter_map(|path| path.first().cloned()).collect();
    // A single name is something of the module's own, of a function's, or what a `use` brought.
    paths.retain(|path| path.len() > 1);
    let taken = module.uses.iter().filter(|used| !used.is_public || said.contains(&used.name));
    let taken = taken.map(|used| (used.path.clone(), used.name == "*"));
    paths.into_iter().map(|path| (path, false)).chain(taken).collect()
}

/// Each `a::b::c` of the tokens, those of macros and single names included.
fn written(tokens: TokenStream, paths: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 && !path.is_empty() {
                    paths.push(std::mem::take(&mut path));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                if !path.is_empty() {
                    paths.push(std::mem::take(&mut path));
                }
                colons = 0;
                if let TokenTree::Group(group) = other {
                    written(group.stream(), paths);
                }
            }
        }
    }
    if !path.is_empty() {
        paths.push(path);
    }
}
