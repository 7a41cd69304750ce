//! Writes workload objects with server-side apply, and only when something differs.

use std::fmt::Debug;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{hex_digest, quantity};

/// The field manager of everything in an object except the number of replicas.
pub const MANAGER: &str = "coupon-operator";
/// Owns the number of replicas, and nothing else.
pub const SCALE_MANAGER: &str = "coupon-operator-scale";

/// On every object: a fingerprint of what was applied last.
const APPLIED_ANNOTATION: &str = "coupon-operator.io/applied-hash";

/// Whether a write was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The object was as it should be.
    Unchanged,
    /// The object was written.
    Written,
}

/// Makes sure that an object is as `desired` says. Fields that `desired` does not name are left to others. `found` is the object
/// as it is, which the caller has claimed (see [`super::ownership`]); `None`: the API server has none.
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
        remove_from_selector(api, desired, &found, &wanted).await?;
    }
    send(api, desired, wanted, found).await?;
    Ok(Applied::Written)
}

/// Writes an object whatever it looks like, onto the very object that was found, and answers with what is there then.
pub async fn write<K>(api: &Api<K>, desired: &K, found: Option<&K>) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    send(api, desired, manifest(desired).map_err(kube::Error::SerdeError)?, found).await
}

async fn send<K>(api: &Api<K>, desired: &K, mut wanted: Value, found: Option<&K>) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    // By force only onto the very object that was claimed. Where there was none, one that somebody has made meanwhile is a
    // conflict, and the next pass looks whose it is.
    let parameters = match found.and_then(|found| found.meta().uid.as_ref()) {
        Some(uid) => {
            wanted["metadata"]["uid"] = json!(uid);
            PatchParams::apply(MANAGER).force()
        }
        None => PatchParams::apply(MANAGER),
    };
    api.patch(&desired.name_any(), &parameters, &Patch::Apply(&wanted)).await
}

/// Takes out of a selector what others have put in: an apply leaves their keys where they are, and each one narrows it.
async fn remove_from_selector<K>(api: &Api<K>, desired: &K, found: &Value, wanted: &Value) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let at = "/spec/selector";
    let (Some(selector), Some(own)) = (found.pointer(at), wanted.pointer(at)) else { return Ok(()) };
    let removal = nulls(selector, own);
    if is_empty(&removal) {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"selector": removal}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&desired.name_any(), &parameters, &Patch::Merge(&patch)).await?;
    Ok(())
}

/// A merge patch that removes from `found` what `wanted` does not have.
fn nulls(found: &Value, wanted: &Value) -> Value {
    let (Some(found), Some(wanted)) = (found.as_object(), wanted.as_object()) else { return Value::Null };
    let differing = found.iter().filter_map(|(key, found)| match wanted.get(key) {
        None => Some((key.clone(), Value::Null)),
        Some(wanted) => Some((key.clone(), nulls(found, wanted))).filter(|(_, nulls)| !is_empty(nulls)),
    });
    Value::Object(differing.collect())
}

/// Sets the number of replicas of a Deployment, as the manager that owns nothing else; of the very one that was found only.
pub async fn scale<K>(api: &Api<K>, found: &K, replicas: i32) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let name = found.name_any();
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name, "uid": found.meta().uid},
        "spec": {"replicas": replicas},
    });
    api.patch(&name, &PatchParams::apply(SCALE_MANAGER).force(), &Patch::Apply(&patch)).await?;
    Ok(())
}

/// Deletes the very object that was found, and not another one that bears its name by now. One that is gone, or was replaced, is no error.
pub(crate) async fn delete<K>(api: &Api<K>, found: &K, parameters: DeleteParams) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let this_one = Preconditions { uid: found.uid(), resource_version: None };
    match api.delete(&found.name_any(), &parameters.preconditions(this_one)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// What is sent: the object, and a fingerprint of it. The fingerprint shows that a field was taken out of it, which comparing
/// with what is there cannot show.
fn manifest<K: Resource<DynamicType = ()> + Serialize>(desired: &K) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    value["apiVersion"] = json!(K::api_version(&()));
    value["kind"] = json!(K::kind(&()));
    value["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(fingerprint(&value)?);
    Ok(value)
}

fn fingerprint(manifest: &Value) -> Result<String, serde_json::Error> {
    let mut manifest = manifest.clone();
    // The first apply carries it, and it is another manager's afterwards.
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    Ok(hex_digest(&serde_json::to_vec(&manifest)?, 16))
}

/// Whether `found` has everything that `wanted` names. What the server added by itself (defaults, status) does not count, nor
/// does how it writes quantities, nor what others have put into a list of objects: each of ours must be there, wherever. A selector has
/// to be the same: each key more narrows it.
pub(super) fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| match found.get(key) {
            Some(found) if matches!(key.as_str(), "requests" | "limits") => same_amounts(found, wanted),
            Some(found) if key == "selector" => found == wanted,
            Some(found) => covers(found, wanted),
            // The server leaves out what is empty.
            None => is_empty(wanted) || matches!(key.as_str(), "apiVersion" | "kind" | "publishNotReadyAddresses"),
        }),
        // What an item is named by is among what it says, so another one is not taken for it.
        (Value::Array(found), Value::Array(wanted)) if wanted.iter().all(Value::is_object) => {
            wanted.iter().all(|wanted| found.iter().any(|found| covers(found, wanted)))
        }
        _ => found == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// As [`covers`], for resources: `wanted` may be written in another way than `found`.
fn same_amounts(found: &Value, wanted: &Value) -> bool {
    let (Some(found), Some(all)) = (found.as_object(), wanted.as_object()) else { return found == wanted };
    all.iter().all(|(resource, wanted)| match (found.get(resource), wanted) {
        (Some(Value::String(found)), Value::String(wanted)) => quantity::same(found, wanted),
        (found, wanted) => found == Some(wanted),
    })
}

#[cfg(test)]
pub(crate) mod tests;
