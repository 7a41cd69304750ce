//! Small corrections to what schemars generates, so that the API server takes the schema without a warning.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::Value;

/// Makes every optional field of a type *absent or set*, never null (`has()` in a CEL rule is true for a null), and
/// replaces the integer formats that Kubernetes does not know.
pub(super) fn kubernetes(schema: &mut Schema) {
    transform_subschemas(&mut kubernetes, schema);
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(variants)) = object.get_mut("anyOf") {
        variants.retain(|variant| variant.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = variants.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                // What the field says of itself (its description) wins over what its type says.
                object.entry(key).or_insert(value);
            }
        }
    }
    let known = match object.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => Some("int32"),
        Some("uint64") => Some("int64"),
        _ => None,
    };
    if let Some(known) = known {
        object.insert("format".to_owned(), Value::from(known));
    }
}
