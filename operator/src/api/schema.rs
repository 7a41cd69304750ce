//! Small corrections to what schemars generates, so that the API server takes the schema without a warning.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::Value;

/// Makes every optional field of a type *absent or set*, never null (`has()` in a CEL rule is true for a null), replaces
/// the integer formats that Kubernetes does not know, and joins the lines of a description (`kubectl explain` breaks them
/// itself). Reaches everything below the type, so only the top types need it.
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
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = joined(text);
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

/// Paragraphs and list items keep their lines.
fn joined(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    for line in text.lines() {
        let starts_anew = line.is_empty() || line.starts_with([' ', '-']);
        match whole.chars().last() {
            None => {}
            Some(last) if last != '\n' && !starts_anew => whole.push(' '),
            Some(_) => whole.push('\n'),
        }
        whole.push_str(line);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn corrected(schema: Value) -> Value {
        let mut schema = Schema::try_from(schema).unwrap();
        kubernetes(&mut schema);
        schema.to_value()
    }

    #[test]
    fn an_optional_field_cannot_be_null() {
        // With `nullable`, `couponId: null` would count as set in the rule that keeps it from changing.
        assert_eq!(corrected(json!({"type": ["string", "null"]})), json!({"type": "string"}));
        let optional = json!({"description": "Of the field.", "anyOf": [{"description": "Of the type.", "enum": ["A"]}, {"type": "null"}]});
        assert_eq!(corrected(optional), json!({"description": "Of the field.", "enum": ["A"]}));
    }

    #[test]
    fn integer_formats_are_those_of_kubernetes() {
        // The API server answers an unknown format with a warning at every apply.
        let schema = json!({"properties": {"a": {"type": "integer", "format": "uint16"}, "b": {"format": "uint64"}}});
        let expected = json!({"properties": {"a": {"type": "integer", "format": "int32"}, "b": {"format": "int64"}}});
        assert_eq!(corrected(schema), expected);
    }

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        assert_eq!(joined("a\nb\n\nc\nd\n- e\n- f"), "a b\n\nc d\n- e\n- f");
    }
}
