//! What linters of OpenAPI documents ask for, and generators of clients need, as far as it can be had without them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const FAILURES: [(&str, &str); 2] = [("application/json", "Failure"), ("application/problem+json", "Problem")];

const WAYS: [AuthenticationKind; 3] = [AuthenticationKind::None, AuthenticationKind::Header, AuthenticationKind::Jwt];

fn read(way: AuthenticationKind) -> Value {
    serde_json::from_str(&document(way).unwrap()).unwrap()
}

/// The document of every way to authenticate users.
fn all() -> [Value; 3] {
    WAYS.map(read)
}

/// Every operation: where it is, and what it says.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| -> Vec<(String, String)> {
        item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())).collect()
    };
    let all = paths.iter().flat_map(of_path);
    all.map(|(path, method)| (format!("{method} {path}"), &document["paths"][&path][&method])).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// What a schema is behind its reference.
fn behind<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => {
            document.pointer(path.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{path} leads nowhere"))
        }
        None => schema,
    }
}

/// Every schema below, with its path.
fn schemas<'a>(at: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if value.get("type").is_some() || value.get("$ref").is_some() {
        found.push((at.to_owned(), value));
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            // Examples are no schemas, though one of them has a field `type`.
            .filter(|(name, _)| !matches!(name.as_str(), "example" | "examples"))
            .for_each(|(name, value)| schemas(&format!("{at}/{name}"), value, found)),
        Value::Array(all) => all.iter().enumerate().for_each(|(n, value)| schemas(&format!("{at}/{n}"), value, found)),
        _ => {}
    }
}

/// Wrong: an answer that the send buffer of a connection does not hold.
#[test]
fn what_is_served_says_the_same_and_fits_into_a_buffer() {
    for way in WAYS {
        let served = served(way).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&served).unwrap(), read(way));
        assert!(served.len() < 31 * 1024, "{way}: {}", served.len());
    }
}

#[test]
fn it_says_where_the_servers_are_and_that_nobody_is_asked_who_they_are() {
    let document = read(AuthenticationKind::None);
    let server = &document["servers"][0];
    assert!(text(server, "url") == "https://{host}" && server["variables"]["host"]["default"].is_string(), "{server}");
    assert_eq!(document["security"], serde_json::json!([]), "said, not left open");
    assert!(text(&document["info"], "description").contains("a gateway in front has to know its users"));
    assert!(document["tags"].as_array().unwrap().iter().all(|tag| !text(tag, "description").is_empty()));
}

/// Wrong: a client that was made by the document takes a 429 for the end, or asks again at once.
#[test]
fn it_says_what_who_asks_too_often_is_told() {
    for document in all() {
        for (at, operation) in operations(&document) {
            let told = behind(&document, &operation["responses"]["429"]);
            assert!(text(told, "description").starts_with("RATE_LIMITED: "), "{at}: {told}");
            let headers: Vec<&str> = told["headers"].as_object().unwrap().keys().map(String::as_str).collect();
            for name in ["RateLimit", "RateLimit-Policy", "Retry-After"] {
                assert!(headers.contains(&name), "{at}: {headers:?}");
            }
        }
    }
}

/// Wrong: a client that was made by the document knows neither how to say who asks, nor what it hears if it does not.
#[test]
fn it_says_how_users_are_authenticated() {
    let responses = |document: &Value, path: &str, method: &str| document["paths"][path][method]["responses"].clone();
    let (issue, user) = (("/api/coupons/{id}/issue", "post"), ("/api/coupons/{id}/users/{userId}", "get"));
    for way in WAYS {
        let (document, asks) = (read(way), way != AuthenticationKind::None);
        for (path, method) in [issue, user] {
            let all = responses(&document, path, method);
            assert_eq!(all.get("401").is_some(), asks, "{way} {path}");
            let forbidden = text(&all["403"], "description");
            assert_eq!(forbidden.contains("USER_MISMATCH"), asks, "{way} {path}");
            assert!(forbidden.contains("GATEWAY_PROOF_REQUIRED"), "{way} {path}");
            let is_by_token = way == AuthenticationKind::Jwt;
            assert_eq!(
                text(&all["503"], "description").contains("AUTHENTICATION_UNAVAILABLE"),
                is_by_token,
                "{way} {path}"
            );
        }
        let campaign = responses(&document, "/api/coupons/{id}", "get");
        assert!(campaign.get("401").is_none(), "{way}: countdowns are for everybody");
        let required = document["components"]["schemas"]["IssueRequest"]["required"].as_array();
        assert_eq!(required.is_some_and(|all| all.iter().any(|field| field == "userId")), !asks, "{way}");
    }
    let document = read(AuthenticationKind::Jwt);
    assert_eq!(document["security"], serde_json::json!([{ "token": [] }]));
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"], &scheme["bearerFormat"]),
        (&"http".into(), &"bearer".into(), &"JWT".into())
    );
    assert_eq!(document["paths"]["/api/coupons/{id}"]["get"]["security"], serde_json::json!([]));
    assert_eq!(read(AuthenticationKind::Header)["security"], serde_json::json!([]), "that is between user and gateway");
}

#[test]
fn every_operation_has_a_name_words_and_a_known_tag() {
    for document in all() {
        let tags: BTreeSet<&str> = document["tags"].as_array().unwrap().iter().map(|tag| text(tag, "name")).collect();
        let mut names = BTreeSet::new();
        for (at, operation) in operations(&document) {
            assert!(names.insert(text(operation, "operationId")), "{at}: twice");
            assert!(!text(operation, "summary").is_empty() && !text(operation, "description").is_empty(), "{at}");
            let own = operation["tags"].as_array().unwrap();
            assert!(!own.is_empty() && own.iter().all(|tag| tags.contains(tag.as_str().unwrap())), "{at}");
            for parameter in operation["parameters"].as_array().unwrap() {
                assert!(!text(parameter, "description").is_empty(), "{at}: {parameter}");
            }
        }
        assert_eq!(names.len(), 3);
    }
}

/// Wrong: a gateway that checks by this document has no bound for what it lets through.
#[test]
fn texts_lists_and_numbers_have_bounds() {
    for document in all() {
        let mut found = Vec::new();
        schemas("", &document, &mut found);
        assert!(found.len() > 40, "{}", found.len());
        for (at, schema) in found {
            let kinds: Vec<&str> = match &schema["type"] {
                Value::Array(all) => all.iter().map(|kind| kind.as_str().unwrap()).collect(),
                kind => kind.as_str().into_iter().collect(),
            };
            let has = |field: &str| schema.get(field).is_some();
            for kind in kinds {
                let bounded = match kind {
                    "string" => has("maxLength") || has("enum") || has("format"),
                    "array" => has("maxItems") && has("items"),
                    "integer" => (has("minimum") && (has("format") || has("maximum"))) || has("maximum"),
                    _ => true,
                };
                assert!(bounded, "{at}: {schema}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    for document in all() {
        let mut found = Vec::new();
        schemas("", &document, &mut found);
        let used: BTreeSet<&str> = found.iter().filter_map(|(_, schema)| schema["$ref"].as_str()).collect();
        let of_kind = |kind: &str| {
            let names = document["components"][kind].as_object().unwrap().keys();
            names.map(|name| format!("#/components/{kind}/{name}")).collect::<Vec<_>>()
        };
        let there: BTreeSet<String> = ["schemas", "headers", "responses"].into_iter().flat_map(of_kind).collect();
        assert_eq!(used, there.iter().map(String::as_str).collect());
    }
}

/// Wrong: an example that its own schema refuses, or a code that no example shows.
#[test]
fn every_answer_has_an_example_that_is_one() {
    for document in all() {
        for (at, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let (at, response) = (format!("{at} {status}"), behind(&document, response));
                assert!(!text(response, "description").is_empty(), "{at}");
                for header in response["headers"].as_object().unwrap().values().map(|header| behind(&document, header))
                {
                    assert!(!text(header, "description").is_empty(), "{at}: {header}");
                }
                let content = response["content"].as_object().unwrap();
                for (media, content) in content {
                    let mut examples: Vec<&Value> = content.get("example").into_iter().collect();
                    examples.extend(
                        content["examples"]
                            .as_object()
                            .into_iter()
                            .flat_map(|all| all.values())
                            .map(|one| &one["value"]),
                    );
                    assert!(!examples.is_empty(), "{at} {media}");
                    for example in examples {
                        fits(&document, &content["schema"], example, &format!("{at} {media}"));
                    }
                }
                if status.starts_with(['4', '5']) {
                    for (media, schema) in FAILURES {
                        assert_eq!(content[media]["schema"]["$ref"], format!("#/components/schemas/{schema}"), "{at}");
                        for example in content[media]["examples"].as_object().unwrap().values() {
                            assert!(
                                text(response, "description").contains(text(&example["value"], "code")),
                                "{at}: {example}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Whether a value has the fields of its schema and no others, and the values that enums allow.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = behind(document, schema);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    let Some(fields) = value.as_object() else { return };
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, value) in fields {
        let known = properties.get(name).unwrap_or_else(|| panic!("{at}: nobody knows {name}"));
        fits(document, known, value, &format!("{at} {name}"));
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
    }
}

/// Wrong: a client in Go, whose enums share one space of names, does not compile.
#[test]
fn no_two_enums_share_the_name_of_a_value() {
    for document in all() {
        let mut names = BTreeSet::new();
        for (schema, says) in document["components"]["schemas"].as_object().unwrap() {
            let own = says.get("x-enum-varnames").or(says.get("enum"));
            let own = own.and_then(Value::as_array).into_iter().flatten();
            assert_eq!(own.clone().count(), says["enum"].as_array().map_or(0, Vec::len), "{schema}");
            for name in own {
                assert!(names.insert(name.as_str().unwrap()), "{schema}: {name}");
            }
        }
    }
}
