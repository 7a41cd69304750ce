//! What several test binaries share: custom resources with their table of cases, a namespace at a real API server, and a campaign on
//! the servers of the stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod cases;
pub(crate) mod kubernetes;
pub(crate) mod no_pods;
pub(crate) mod schema;
pub(crate) mod stage;

use std::path::PathBuf;

use kube_cel as cel;
use operator::api::{CampaignClass, CouponCampaign};
use serde_json::{Value, json};

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Campaign,
    Class,
}

impl Kind {
    /// The smallest useful object of the kind.
    pub(crate) fn minimal(self) -> Value {
        match self {
            Self::Campaign => json!({
                "apiVersion": "coupon-operator.io/v1alpha1",
                "kind": "CouponCampaign",
                "metadata": {"name": "first-hundred"},
                "spec": {
                    "totalQuantity": 100,
                    "window": {"start": "2026-12-01T10:00:00+09:00", "end": "2026-12-01T12:00:00+09:00"},
                },
            }),
            Self::Class => json!({
                "apiVersion": "coupon-operator.io/v1alpha1",
                "kind": "CampaignClass",
                "metadata": {"name": "main"},
                "spec": {
                    "realm": "prod",
                    "kafka": {"bootstrapServers": ["kafka-0.kafka:9092"], "security": {"protocol": "Plaintext"}},
                    "redis": {"url": "rediss://redis.data:6379/0"},
                    "database": {"host": "mysql.data", "name": "coupons"},
                    "credentials": {
                        "operator": {"secretName": "coupon-operator"},
                        "workload": {"secretName": "coupon-workload"},
                    },
                },
            }),
        }
    }

    /// The minimal object, with a patch put in: objects are merged, all else is replaced.
    pub(crate) fn patched(self, patch: &Value) -> Value {
        let mut object = self.minimal();
        merge(&mut object, patch);
        object
    }

    /// The openAPIV3Schema of the kind, as JSON.
    pub(crate) fn schema(self) -> Value {
        use kube::CustomResourceExt;
        let crd = match self {
            Self::Campaign => CouponCampaign::crd(),
            Self::Class => CampaignClass::crd(),
        };
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        serde_json::to_value(schema.expect("a derived CRD has a schema")).unwrap()
    }
}

/// In a patch: takes the field out. (Not null, as in RFC 7396: a manifest may hold a null.)
pub(crate) const REMOVE: &str = "<remove>";

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value == REMOVE {
                    target.remove(key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Evaluates the CEL rules without a server, on the object as written (our own types would drop what they cannot hold, such
/// as fractions of a second), with the schema's defaults filled in. The messages of the rules that failed.
pub(crate) fn client_cel(kind: Kind, new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = kind.schema();
    let filled = |object: &Value| cel::apply_defaults(&schema, &schema::pruned(object));
    match cel::Validator::new().validate(&schema, &filled(new), old.map(filled).as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

/// Whether our own types can hold the object.
pub(crate) fn parses(kind: Kind, object: &Value) -> Result<(), serde_json::Error> {
    match kind {
        Kind::Campaign => serde_json::from_value::<CouponCampaign>(object.clone()).map(drop),
        Kind::Class => serde_json::from_value::<CampaignClass>(object.clone()).map(drop),
    }
}

/// The repository's top folder.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All documents in `examples/`, with the file's name.
pub(crate) fn examples() -> Vec<(String, Kind, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for document in std::fs::read_to_string(&path).unwrap().split("\n---\n") {
            let value: Value = coupon_core::yaml::from_str(document).unwrap_or_else(|error| panic!("{name}: {error}"));
            match value["kind"].as_str() {
                Some("CouponCampaign") => found.push((name.clone(), Kind::Campaign, value)),
                Some("CampaignClass") => found.push((name.clone(), Kind::Class, value)),
                // Secrets and namespaces that an example needs beside them are not ours to check. Jobs are checked where a
                // server is (tests/replay_job.rs).
                Some("Secret" | "Namespace" | "Job") => {}
                other => panic!("{name}: an example of the kind {other:?} is not expected"),
            }
        }
    }
    assert!(!found.is_empty(), "examples/ holds no example");
    found
}
