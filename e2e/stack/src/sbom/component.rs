//! One entry of the document.

use serde_json::{Value, json};

/// One thing that an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub name: String,
    /// Empty if nobody knows it.
    pub version: String,
    /// Package URL: what scanners look it up by.
    pub purl: String,
    /// As an SPDX expression, where it is known.
    pub license: Option<String>,
    /// SHA-256 of the package as it was fetched, where it was.
    pub sha256: Option<String>,
    /// In the image; else it only took part in making it.
    pub is_inside: bool,
}

impl Component {
    pub(super) fn json(&self) -> Value {
        let mut json = json!({
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "purl": self.purl,
            "scope": if self.is_inside { "required" } else { "excluded" },
        });
        if !self.version.is_empty() {
            json["version"] = json!(self.version);
        }
        if let Some(license) = &self.license {
            json["licenses"] = json!([{ "expression": license }]);
        }
        if let Some(sha256) = &self.sha256 {
            json["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
        }
        json
    }
}

/// As a package URL wants it.
pub(super) fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}
