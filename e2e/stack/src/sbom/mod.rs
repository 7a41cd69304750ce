//! What an image is made of, as a CycloneDX document: the crates in its programs, the C library in one of them, Rust's own library, and the
//! files that are packages of the system. The same image gives the same document: no times, no chance.
//!
//! Made here, not by cargo-cyclonedx: that takes minutes to build, and knows crates only.

mod component;
mod crates;
mod debian;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use component::{Component, encoded};
pub(crate) use debian::CA_CERTIFICATES;

/// The document of an image `name:tag` that has programs of these packages of the workspace, and these files of the system.
///
/// # Errors
/// If cargo or dpkg cannot be asked, or Cargo.lock does not say what it should.
pub(crate) fn document(name: &str, tag: &str, packages: &[String], system: &[&Path]) -> Result<Value> {
    let mut components = crates::of(packages)?;
    components.extend(debian::of(system)?);
    Ok(assemble(name, tag, components))
}

fn assemble(name: &str, tag: &str, mut components: Vec<Component>) -> Value {
    components.sort_by(|one, two| one.purl.cmp(&two.purl));
    let image = format!("pkg:generic/{}@{}", encoded(name), encoded(tag));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "stack", "version": env!("CARGO_PKG_VERSION") }] },
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": name,
                "version": tag,
                "purl": image,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            },
        },
        "components": components.iter().map(Component::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The document of the project's own image, as far as it does not depend on the machine.
    #[test]
    fn the_programs_are_made_of_what_is_compiled_into_them_and_no_more() {
        let packages = ["operator", "issuer", "consumer"].map(str::to_owned);
        let document =
            document("registry:5000/coupon-operator", "0.1.0", &packages, &[Path::new("/no/package.so.1")]).unwrap();
        assert_eq!((&document["bomFormat"], &document["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
        assert_eq!(document["metadata"]["component"]["purl"], "pkg:generic/registry%3A5000%2Fcoupon-operator@0.1.0");

        let components = document["components"].as_array().unwrap();
        let text = |component: &Value, field: &str| component[field].as_str().unwrap_or_default().to_owned();
        for component in components {
            let (name, purl) = (text(component, "name"), text(component, "purl"));
            assert!(purl.starts_with("pkg:") && !name.is_empty(), "{component}");
            if purl.starts_with("pkg:cargo/") {
                assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64), "{component}");
                let license = component["licenses"][0]["expression"].as_str().unwrap();
                assert!(!license.is_empty() && !license.contains('/'), "{component}");
            }
        }
        let references: BTreeSet<_> = components.iter().map(|component| text(component, "bom-ref")).collect();
        assert_eq!(references.len(), components.len(), "each is named once");

        let scope =
            |name: &str| components.iter().find(|each| text(each, "name") == name).map(|each| text(each, "scope"));
        for inside in [
            "kube",
            "tokio",
            "rdkafka",
            "librdkafka",
            "sqlx-mysql",
            "ring",
            "coupon-ledger",
            "coupon-sink",
            "rust-std",
            "package.so.1",
        ] {
            assert_eq!(scope(inside).as_deref(), Some("required"), "{inside}");
        }
        for tool in ["syn", "serde_derive"] {
            assert_eq!(scope(tool).as_deref(), Some("excluded"), "{tool} only makes code");
        }
        for other in ["proptest", "kube-cel", "sqlx-postgres", "libsqlite3-sys", "stack", "e2e", "nonsense"] {
            assert_eq!(scope(other), None, "{other} is in no program");
        }
        // A stand-in of ours has the name of a package, and must not be taken for it.
        let roots = components.iter().find(|each| text(each, "name") == "webpki-roots").unwrap();
        assert!(text(roots, "purl").starts_with("pkg:generic/coupon-operator/webpki-roots@"), "{roots}");
    }
}
