//! Sources, and which crates they name.

#![allow(clippy::unwrap_used)]

use super::*;

#[track_caller]
fn expect_names(expected: &[&str], source: &str) {
    let mut names = BTreeSet::new();
    first_names(source.parse().unwrap(), &mut names);
    assert_eq!(names, expected.iter().map(|name| (*name).to_owned()).collect(), "{source}");
}

#[test]
fn the_first_name_of_each_path_counts() {
    for (expected, source) in [
        (&["a"][..], "use a::b;"),
        (&["a"], "pub use a;"),
        (&["a"], "use a as b;"),
        (&["a"], "use ::a::b;"),
        (&["a"], "use a::{b, c::d, e::{f::g}};"),
        (&["a", "b"], "use {a::c, b::d};"),
        (&["a"], "fn f() { a::b() }"),
        (&["a"], "fn f() { let x = ::a::b(); }"),
        (&["a"], "#[a::main] fn f() {}"),
        (&["a"], "#[derive(a::B)] struct C;"),
        (&["a"], "fn f() -> Vec<a::B> { g!(1, [2]) }"),
        (&["a"], "fn f() { g!(\"{}\", a::b) }"),
        (&["Vec", "a"], "fn f() { Vec::<u8>::a::<a::B>() }"),
    ] {
        expect_names(expected, source);
    }
}

/// Wrong: a dependency passes for used as something else has its name.
#[test]
fn what_only_looks_like_a_crate_does_not_count() {
    for source in [
        "// use a::b;",
        "/// See a::b.\nfn f() {}",
        "fn a() {}",
        "fn f(a: u8) -> u8 { a }",
        "fn f() { \"a::b\"; }",
        "fn f() { g.a() }",
        "struct S { a: u8 }",
    ] {
        expect_names(&[], source);
    }
    expect_names(&["axum"], "use axum::http::Uri;");
    expect_names(&["axum"], "use axum::{http::Uri, routing};");
    expect_names(&["axum"], "fn f() { axum::http::g() }");
}

#[test]
fn each_dependency_is_named_where_it_stands() {
    let (product, all) = (["a_b"], ["a_b", "c", "byteorder"]);
    let [product, all] = [&product[..], &all[..]].map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    for (package, kind, name, expected) in [
        ("x", "null", "a-b", None),
        ("x", "\"dev\"", "c", None),
        ("x", "null", "c", Some("only tests name c: move it to [dev-dependencies]")),
        ("x", "null", "d", Some("no source names d: remove it")),
        ("x", "\"dev\"", "d", Some("no source names d: remove it")),
        ("e2e", "null", "byteorder", None),
        ("e2e", "\"dev\"", "byteorder", Some("byteorder is named by a source: remove the exception of tidy")),
    ] {
        let json = format!("{{\"name\": \"{name}\", \"rename\": null, \"kind\": {kind}}}");
        let dependency: Dependency = serde_json::from_str(&json).unwrap();
        assert_eq!(fault(package, &dependency, &product, &all).as_deref(), expected, "{package} {name} {kind}");
    }
    let renamed: Dependency = serde_json::from_str(r#"{"name": "z", "rename": "a-b", "kind": null}"#).unwrap();
    assert_eq!(fault("x", &renamed, &product, &all), None);
}

#[test]
fn what_no_crate_takes_of_the_workspace_is_named() {
    let manifest = "[workspace]\nmembers = [\"a\"]\n\n[workspace.dependencies]\na = { path = \"a\" }\n# b = \"1\"\n\n\
                    c-d = \"1\"\n\n[patch.crates-io]\ne = \"1\"\n";
    assert_eq!(left_in_workspace(manifest, &BTreeSet::from(["a"])), ["c-d"]);
    assert!(left_in_workspace(manifest, &BTreeSet::from(["a", "c-d"])).is_empty());
    assert!(left_in_workspace("[workspace]\n", &BTreeSet::new()).is_empty());
}
