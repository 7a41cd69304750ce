//! Small crates, and the circles in them.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::circles::circles;
use crate::imports::imports;
use crate::modules::Tree;

/// A crate of these files, in a folder that is removed with it.
struct Crate(PathBuf);

impl Crate {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidy-{}-{number}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    /// The circles, as file names without their ends.
    fn circles(&self) -> Vec<Vec<String>> {
        let tree = Tree::read(&self.0.join("lib.rs")).unwrap();
        let name = |file: usize| {
            let path = tree.files()[file].path.strip_prefix(&self.0).unwrap();
            path.with_extension("").display().to_string()
        };
        let found = circles(tree.files().len(), &imports(&tree));
        found.into_iter().map(|circle| circle.into_iter().map(name).collect()).collect()
    }
}

impl Drop for Crate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn expect(circles: &[&[&str]], files: &[(&str, &str)]) {
    assert_eq!(Crate::new(files).circles(), circles.iter().map(|it| it.to_vec()).collect::<Vec<_>>());
}

#[test]
fn files_that_import_downwards_make_no_circle() {
    expect(&[], &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B; fn a(_: B) {}"), ("b.rs", "pub struct B;")]);
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    expect(
        &[&["a", "b"]],
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub fn a(_: B) {}"),
            ("b.rs", "pub struct B; fn b() { crate::a::a(B) }"),
        ],
    );
}

#[test]
fn a_file_that_calls_its_modules_and_defines_what_they_use_is_a_circle() {
    let child = ("a/b.rs", "use super::A; pub fn b(_: A) {}");
    expect(
        &[&["a/mod", "a/b"]],
        &[("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub struct A; fn a() { b::b(A) }"), child],
    );
    expect(&[&["a", "a/b"]], &[("lib.rs", "mod a;"), ("a.rs", "mod b; pub struct A; fn a() { b::b(A) }"), child]);
}

#[test]
fn saying_where_something_is_to_be_found_takes_nothing() {
    let child = ("a/b.rs", "use super::A; pub fn b(_: A) {}");
    expect(&[], &[("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub use b::b; pub struct A;"), child]);
    expect(
        &[&["a/mod", "a/b"]],
        &[("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub use b::b; pub struct A; fn a() { b(A) }"), child],
    );
}

#[test]
fn what_is_found_through_another_file_is_of_the_file_that_has_it() {
    expect(
        &[],
        &[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; pub use c::C; pub use self::d::*; mod d; fn a() { b::b(C, D) }"),
            ("a/b.rs", "use super::{C, D}; pub fn b(_: C, _: D) {}"),
            ("a/c.rs", "pub struct C;"),
            ("a/d.rs", "pub struct D;"),
        ],
    );
}

#[test]
fn paths_by_an_imported_module_of_macros_and_of_super_super_count() {
    for b in ["fn b() { crate::a::x(); }", "use crate::a; fn b() { a::x() }", "fn b() { call!(super::a::x) }"] {
        let b = format!("pub fn y() {{}} {b}");
        expect(&[&["a", "b"]], &[("lib.rs", "mod a; mod b;"), ("a.rs", "pub fn x() { crate::b::y() }"), ("b.rs", &b)]);
    }
    expect(
        &[&["a", "c/d"]],
        &[
            ("lib.rs", "mod a; mod c;"),
            ("a.rs", "pub fn x() { crate::c::d::y() }"),
            ("c.rs", "pub mod d;"),
            ("c/d.rs", "mod e { fn e() { super::super::super::a::x() } } pub fn y() {}"),
        ],
    );
}

#[test]
fn a_module_is_taken_for_what_is_taken_by_it() {
    let of_c = [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub mod c; fn a() { b::b() }"), ("a/c.rs", "pub fn c() {}")];
    for b in ["use super::c; pub fn b() { c::c() }", "use crate::a; pub fn b() { a::c::c() }"] {
        expect(&[], &[of_c[0], of_c[1], of_c[2], ("a/b.rs", b)]);
    }
    let all = ("a/b.rs", "use super::*; pub fn b() {}");
    expect(&[&["a/mod", "a/b"]], &[of_c[0], of_c[1], of_c[2], all]);
}

#[test]
fn tests_may_import_whatever_they_like() {
    expect(
        &[],
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub fn a(_: B) {}"),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] mod tests; #[cfg(test)] mod more { fn b() { crate::a::a(super::B) } }",
            ),
            ("b/tests.rs", "fn b() { crate::a::a(super::B) }"),
        ],
    );
}

#[test]
fn names_that_are_modules_elsewhere_are_no_imports() {
    expect(
        &[],
        &[
            ("lib.rs", "mod a; mod connect;"),
            ("a.rs", "pub fn a(connect: u32) -> u32 { connect.max(1) }"),
            ("connect.rs", "fn c() { crate::a::a(1); }"),
        ],
    );
}

#[test]
fn a_missing_file_and_broken_rust_are_named() {
    for files in [&[("lib.rs", "mod a;")][..], &[("lib.rs", "mod a;"), ("a.rs", "fn (")][..]] {
        let folder = Crate::new(files);
        let error = Tree::read(&folder.0.join("lib.rs")).err().unwrap();
        assert!(format!("{error:#}").contains("a"), "{error:#}");
    }
}
