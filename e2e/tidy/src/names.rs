//! What a path means: which module has the thing that it names.

use crate::modules::Tree;

/// Imports of imports are followed so far; deeper ones are circles of re-exports.
const DEPTH: u32 = 16;

/// The module that has what `path` names, seen from the module `from`, and the name there; nothing if it is of another crate.
pub(crate) fn find(tree: &Tree, from: usize, path: &[String]) -> Option<(usize, String)> {
    find_within(tree, from, path, DEPTH)
}

fn find_within(tree: &Tree, from: usize, path: &[String], depth: u32) -> Option<(usize, String)> {
    let modules = tree.modules();
    let (first, rest) = path.split_first()?;
    let depth = depth.checked_sub(1)?;
    match first.as_str() {
        "crate" => descend(tree, 0, rest, depth),
        "self" => descend(tree, from, rest, depth),
        "super" => {
            let parent = modules[from].parent;
            // `super::super::x`, which only the first places of a path can be.
            match rest.first().map(String::as_str) {
                Some("super") => find_within(tree, parent, rest, depth),
                _ => descend(tree, parent, rest, depth),
            }
        }
        name if modules[from].children.contains_key(name) => descend(tree, from, path, depth),
        name => {
            // A path that begins with what was imported.
            let used = modules[from].uses.iter().find(|used| used.name == name && used.path.len() != 1)?;
            let whole: Vec<String> = used.path.iter().chain(rest).cloned().collect();
            find_within(tree, from, &whole, depth)
        }
    }
}

/// Follows `path` from within `module`.
fn descend(tree: &Tree, module: usize, path: &[String], depth: u32) -> Option<(usize, String)> {
    let modules = tree.modules();
    let Some((first, rest)) = path.split_first() else { return Some((module, "*".to_owned())) };
    if let Some(child) = modules[module].children.get(first) {
        return descend(tree, *child, rest, depth);
    }
    // Re-exported by name, or with whatever else a module has.
    if let Some(used) = modules[module].uses.iter().find(|used| used.name == *first) {
        let whole: Vec<String> = used.path.iter().chain(rest).cloned().collect();
        return find_within(tree, module, &whole, depth);
    }
    if !modules[module].names.contains(first) {
        for used in modules[module].uses.iter().filter(|used| used.name == "*") {
            let whole: Vec<String> = used.path.iter().chain(path).cloned().collect();
            if let Some((at, name)) = find_within(tree, module, &whole, depth)
                && modules[at].names.contains(&name)
            {
                return Some((at, name));
            }
        }
    }
    Some((module, first.clone()))
}
