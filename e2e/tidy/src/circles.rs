//! Which files reach each other.

use std::collections::BTreeSet;

use crate::imports::Import;

/// The groups of files, of two or more, of which each reaches each other by imports; in the order of their first file.
pub(crate) fn circles(files: usize, imports: &[Import]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..files).map(|file| reach(file, imports)).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for file in 0..files {
        if seen.contains(&file) || !reached[file].contains(&file) {
            continue;
        }
        let circle: Vec<usize> =
            (0..files).filter(|other| reached[file].contains(other) && reached[*other].contains(&file)).collect();
        seen.extend(circle.iter().copied());
        circles.push(circle);
    }
    circles
}

/// All that is imported from `file` on, at any distance.
fn reach(file: usize, imports: &[Import]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(at) = open.pop() {
        for import in imports.iter().filter(|import| import.from == at) {
            if reached.insert(import.to) {
                open.push(import.to);
            }
        }
    }
    reached
}
