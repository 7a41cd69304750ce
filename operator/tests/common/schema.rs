//! A reader of structural schemas: enough of the API server's checks to test bounds, patterns and required fields without one.

use regex::Regex;
use serde_json::Value;

/// The object without fields that are null: the API server drops them first, where the schema does not say `nullable`.
pub(crate) fn pruned(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, field)| !field.is_null());
            kept.map(|(name, field)| (name.clone(), pruned(field))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// Paths of all fields that break the schema, such as `spec.window.end`.
pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, value, "", &mut found);
    found
}

/// Messages of all CEL rules in a schema.
pub(crate) fn messages(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(schema, &mut found);
    found
}

fn collect(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(rules)) = fields.get("x-kubernetes-validations") {
                found.extend(
                    rules.iter().map(|rule| rule["message"].as_str().expect("a rule without message").to_owned()),
                );
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let bound = |name: &str| schema[name].as_f64();
    let above = |size: f64, name: &str| bound(name).is_some_and(|limit| size > limit);
    let below = |size: f64, name: &str| bound(name).is_some_and(|limit| size < limit);
    let allowed = schema["enum"].as_array().is_none_or(|names| names.contains(value));
    let fits = allowed
        && match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap();
                !above(number, "maximum") && !below(number, "minimum") && typed(schema, &["integer", "number"])
            }
            Value::String(text) => {
                let length = text.chars().count() as f64;
                let matches = schema["pattern"].as_str().is_none_or(|rule| Regex::new(rule).unwrap().is_match(text));
                !above(length, "maxLength") && !below(length, "minLength") && matches && typed(schema, &["string"])
            }
            Value::Array(items) => {
                let length = items.len() as f64;
                for (index, item) in items.iter().enumerate() {
                    walk(&schema["items"], item, &format!("{path}[{index}]"), found);
                }
                !above(length, "maxItems") && !below(length, "minItems") && typed(schema, &["array"])
            }
            Value::Object(fields) => {
                for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if !fields.contains_key(name) {
                        found.push(join(path, name));
                    }
                }
                for (name, field) in fields {
                    let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                    walk(inner, field, &join(path, name), found);
                }
                !above(fields.len() as f64, "maxProperties") && typed(schema, &["object"])
            }
            Value::Bool(_) => typed(schema, &["boolean"]),
            Value::Null => false,
        };
    if !fits {
        found.push(path.to_owned());
    }
}

/// Paths of the numbers that have no bounds on both sides.
pub(crate) fn unbounded(schema: &Value) -> Vec<String> {
    fn look(schema: &Value, path: &str, found: &mut Vec<String>) {
        let is_number = matches!(schema["type"].as_str(), Some("integer" | "number"));
        if is_number && (schema["minimum"].is_null() || schema["maximum"].is_null()) {
            found.push(path.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            look(field, &join(path, name), found);
        }
        for inner in [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|inner| inner.is_object()) {
            look(inner, &format!("{path}[]"), found);
        }
    }
    let mut found = Vec::new();
    look(schema, "", &mut found);
    found
}

/// A place without a type (the body of `metadata`, an int-or-string) takes anything.
fn typed(schema: &Value, names: &[&str]) -> bool {
    schema["type"].as_str().is_none_or(|name| names.contains(&name))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
