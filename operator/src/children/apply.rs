//! Writes children with server-side apply, and only when something differs.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Owns everything of a child but the number of replicas.
pub const MANAGER: &str = "coupon-operator";
/// Owns the number of replicas, and nothing else.
pub const SCALE_MANAGER: &str = "coupon-operator-scale";

/// Whether a write was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The object was as it should be.
    Unchanged,
    /// The object was written.
    Written,
}

/// Makes sure that a child is as `desired` says. Fields that `desired` does not name are left to others.
pub async fn ensure<K>(api: &Api<K>, desired: &K, found: Option<&K>) -> Result<Applied, kube::Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let wanted = manifest(desired).map_err(kube::Error::SerdeError)?;
    if let Some(found) = found {
        let found = serde_json::to_value(found).map_err(kube::Error::SerdeError)?;
        if covers(&found, &wanted) {
            return Ok(Applied::Unchanged);
        }
    }
    let parameters = PatchParams::apply(MANAGER).force();
    api.patch(&desired.name_any(), &parameters, &Patch::Apply(&wanted)).await?;
    Ok(Applied::Written)
}

/// Sets the number of replicas of a Deployment, as the manager that owns nothing else.
pub async fn scale<K>(api: &Api<K>, name: &str, replicas: i32) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": {"replicas": replicas}
    });
    api.patch(name, &PatchParams::apply(SCALE_MANAGER).force(), &Patch::Apply(&patch)).await?;
    Ok(())
}

fn manifest<K: Resource<DynamicType = ()> + Serialize>(desired: &K) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), json!(K::api_version(&())));
        object.insert("kind".to_owned(), json!(K::kind(&())));
    }
    Ok(value)
}

/// Whether `found` has everything that `wanted` names. What the server added by itself (defaults, status) does not count.
fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| match found.get(key) {
            Some(found) => covers(found, wanted),
            // The server leaves out what is empty.
            None => matches!(wanted, Value::Object(map) if map.is_empty()) || key == "apiVersion" || key == "kind",
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| covers(found, wanted))
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference_and_what_somebody_changed_is() {
        let wanted = json!({"kind": "X", "spec": {"a": 1, "list": [{"name": "x"}], "empty": {}}});
        for (found, same) in [
            (json!({"spec": {"a": 1, "list": [{"name": "x", "protocol": "TCP"}], "default": 3}, "status": {}}), true),
            (json!({"spec": {"a": 2, "list": [{"name": "x"}]}}), false),
            (json!({"spec": {"a": 1, "list": [{"name": "x"}, {"name": "y"}]}}), false),
            (json!({"spec": {"list": [{"name": "x"}]}}), false),
        ] {
            assert_eq!(covers(&found, &wanted), same, "{found}");
        }
    }
}
