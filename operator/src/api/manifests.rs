//! The files that are generated from the types: `crds/` for `kubectl`, and the chart's copies.

use coupon_core::yaml;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{CampaignClass, CouponCampaign};

/// The command that writes the files anew.
pub const COMMAND: &str = "cargo run -p operator --bin crdgen";

/// Why the files could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The definition cannot be written as YAML.
    #[error("cannot write the definition as YAML: {0}")]
    Yaml(#[from] yaml::YamlError),
    /// The YAML does not have the form that the chart's conditions are put into.
    #[error("the YAML of {0} has no annotations where the chart needs them")]
    Shape(String),
}

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Path below the repository's top folder.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// All definitions, in the order in which they should be applied.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [completed(CampaignClass::crd()), completed(CouponCampaign::crd())]
}

/// What cannot be said in the types. An object that nobody has looked at yet says so: tools that wait for objects take one without a
/// status for done (kstatus). And `kubectl explain` shows descriptions only, so these say defaults and bounds.
fn completed(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = root.and_then(|root| root.properties.as_mut());
        if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(json!({"observedGeneration": -1})));
        }
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(spec) = root.and_then(|root| root.properties.as_mut()?.get_mut("spec")) {
            explain(spec);
        }
    }
    crd
}

/// Puts defaults and bounds into the descriptions of all fields below.
fn explain(schema: &mut JSONSchemaProps) {
    for field in schema.properties.iter_mut().flat_map(|fields| fields.values_mut()) {
        explain(field);
        let Some(description) = &field.description else { continue };
        let said = [default(field, description), bounds(field)];
        let said: Vec<String> = said.into_iter().flatten().collect();
        if !said.is_empty() {
            field.description = Some(format!("{description} {}", said.join(" ")));
        }
    }
}

fn default(field: &JSONSchemaProps, description: &str) -> Option<String> {
    let value = match &field.default.as_ref()?.0 {
        Value::String(text) => text.clone(),
        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
        _ => return None,
    };
    (!description.contains("Default: ")).then(|| format!("Default: {value}."))
}

fn bounds(field: &JSONSchemaProps) -> Option<String> {
    match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => Some(format!("From {least} to {most}.")),
        (Some(least), None) => Some(format!("At least {least}.")),
        (None, Some(most)) => Some(format!("At most {most}.")),
        (None, None) => None,
    }
}

/// All generated files.
pub fn all() -> Result<Vec<Manifest>, ManifestError> {
    let mut files = Vec::new();
    for crd in definitions() {
        let name = format!("{}.yaml", crd.spec.names.plural);
        files.push(Manifest { path: format!("crds/{name}"), text: plain(&crd)? });
        files.push(Manifest { path: format!("charts/coupon-operator/templates/crds/{name}"), text: template(crd)? });
    }
    Ok(files)
}

fn plain(crd: &CustomResourceDefinition) -> Result<String, ManifestError> {
    Ok(format!("# Generated from operator/src/api by `{COMMAND}`; do not edit.\n{}", yaml::to_string(crd)?))
}

/// The annotation that keeps a CRD, and with it all campaigns, when the release is uninstalled.
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

fn template(mut crd: CustomResourceDefinition) -> Result<String, ManifestError> {
    crd.metadata.annotations = Some([(KEEP.0.to_owned(), KEEP.1.to_owned())].into());
    let text = plain(&crd)?.replace("{{", "{{ \"{{\" }}");
    let block = format!("  annotations:\n    {}: {}\n", KEEP.0, KEEP.1);
    let (head, tail) = text.split_once(&block).ok_or_else(|| ManifestError::Shape(crd.spec.names.kind.clone()))?;
    Ok(format!(
        "{{{{- if .Values.crds.enabled }}}}\n{head}  {{{{- if .Values.crds.keep }}}}\n{block}  {{{{- end }}}}\n{tail}{{{{- end }}}}\n"
    ))
}
