//! What the OpenAPI document says of every answer alike: the ids that come back, failures in both shapes, and examples of all.

use axum::http::StatusCode;
use coupon_core::contract::AuthenticationKind;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use strum::VariantArray;
use utoipa::Modify;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};

use super::authenticated;
use super::problem::Problem;
use super::read::{CampaignState, CampaignView, Coupon, CouponState, UserView, Window};
use super::respond::{Code, Failure, Issued};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Completes the document that the routes make.
pub(super) struct Completed(pub(super) AuthenticationKind);

impl Modify for Completed {
    fn modify(&self, document: &mut OpenApi) {
        // Where nobody is asked who they are that is said, too.
        document.security = Some(Vec::new());
        authenticated::describe(document, self.0);
        document.info.description = document.info.description.take().map(|text| {
            text + " X-Request-Id and traceparent come back as they came. Accept: application/problem+json asks for failures as \
                    RFC 9457 has them."
        });
        if let Some(components) = &mut document.components {
            components.headers.extend(RETURNED.map(|name| (name.to_owned(), RefOr::T(returned()))));
        }
        let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
        for (name, schema) in schemas {
            if let (true, RefOr::T(Schema::Object(object))) = (name == "CampaignState", schema) {
                name_values(object, "STATE");
            }
        }
        for path in document.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post].into_iter().flatten() {
                complete(operation);
            }
        }
        for (status, name) in SHARED {
            share(document, status, name);
        }
    }
}

/// Ids that every answer gives back.
const RETURNED: [&str; 2] = ["X-Request-Id", "traceparent"];
/// What all operations answer alike. It stands in one place, as does what is said of [`RETURNED`]: the document fits into the buffer of a connection.
const SHARED: [(StatusCode, &str); 2] =
    [(StatusCode::NOT_FOUND, "UnknownCampaign"), (StatusCode::TOO_MANY_REQUESTS, "RateLimited")];

fn returned() -> Header {
    let mut header = HeaderBuilder::new().description(Some("As it came, if one came")).build();
    header.schema = Some(text(128).into());
    header
}

/// Every operation answers with this status as the first does that says how.
fn share(document: &mut OpenApi, status: StatusCode, name: &str) {
    let operations = document.paths.paths.values_mut().flat_map(|path| [&mut path.get, &mut path.post]);
    let mut described = None;
    for operation in operations.flatten() {
        let shared = RefOr::Ref(Ref::from_response_name(name));
        let own = operation.responses.responses.insert(status.as_str().to_owned(), shared);
        described = described.or(own);
    }
    if let (Some(components), Some(described)) = (&mut document.components, described) {
        components.responses.insert(name.to_owned(), described);
    }
}

/// Generators of Go put the values of all enums side by side: without names of their own, those that a code has too would be there twice.
fn name_values(schema: &mut Object, prefix: &str) {
    let values = schema.enum_values.iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = values.map(|value| format!("{prefix}_{value}")).collect();
    schema.extensions = Some(ExtensionsBuilder::new().add("x-enum-varnames", json!(names)).build());
}

fn complete(operation: &mut Operation) {
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content {
                content.example = Some(json!({ "userId": "user-1" }));
            }
        }
    }
    let takes_key = operation.request_body.is_some();
    let success = success(operation.operation_id.as_deref().unwrap_or_default());
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        for name in RETURNED {
            let returned = Ref::new(format!("#/components/headers/{name}"));
            response.headers.insert(name.to_owned(), RefOr::Ref(returned));
        }
        for (name, header) in &mut response.headers {
            if let (Some(longest), RefOr::T(header)) = (longest(name), header) {
                header.schema = Some(text(longest).into());
            }
        }
        match status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) if status.is_success() => {
                if let Some(RefOr::T(content)) = response.content.get_mut(JSON) {
                    content.example = success.clone();
                }
            }
            Some(status) => fail(status, takes_key, response),
            None => {}
        }
    }
}

/// How long a header with a text gets.
fn longest(header: &str) -> Option<usize> {
    match header {
        "Idempotency-Key" | "WWW-Authenticate" | "RateLimit-Policy" | "RateLimit" => Some(128),
        "Coupon-Key-Minted" => Some("true".len()),
        _ => None,
    }
}

fn text(longest: usize) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).max_length(Some(longest)).build()
}

/// Both shapes of a failure, with an example of every code that its description names; of the other shape, which says the same, one is enough.
fn fail(status: StatusCode, takes_key: bool, response: &mut Response) {
    let codes = Code::VARIANTS.iter().copied().filter(|code| names(&response.description, code.as_str()));
    let failures: Vec<Failure> = codes.map(|code| example(status, takes_key, code)).collect();
    let plain = failures.iter().map(|failure| (failure.code, json_of(failure)));
    response.content.insert(JSON.to_owned(), RefOr::T(content("Failure", plain)));
    let problems =
        failures.iter().take(1).map(|failure| (failure.code, json_of(&Problem::of(status, failure.clone()))));
    response.content.insert(PROBLEM.to_owned(), RefOr::T(content("Problem", problems)));
}

/// Whether a code is one of the words of a text: `ENDED` is none of `SUSPENDED`.
fn names(text: &str, code: &str) -> bool {
    text.split(|c: char| !c.is_ascii_uppercase() && c != '_').any(|word| word == code)
}

fn example(status: StatusCode, takes_key: bool, code: Code) -> Failure {
    let title = super::problem::title(code);
    let error = match (status, takes_key) {
        (StatusCode::SERVICE_UNAVAILABLE, true) => format!("{title}. Ask again with the same Idempotency-Key."),
        (StatusCode::SERVICE_UNAVAILABLE, false) => format!("{title}. Ask again shortly."),
        _ => format!("{title}."),
    };
    Failure { success: false, error: error.into(), code }
}

fn content(schema: &str, examples: impl Iterator<Item = (Code, Option<Value>)>) -> Content {
    let examples = examples.map(|(code, value)| {
        let example = ExampleBuilder::new().value(value).build();
        (code.as_str().to_owned(), RefOr::T(example))
    });
    ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).examples_from_iter(examples).build()
}

fn json_of(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

/// What an operation answers when all is well.
fn success(operation: &str) -> Option<Value> {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
    match operation {
        "issueCoupon" => {
            json_of(&Issued { success: true, message: "The coupon is issued to you.", rank: 7, issued_count: 7 })
        }
        "getCampaign" => json_of(&CampaignView {
            coupon_id: "spring".to_owned(),
            total_quantity: Some(100),
            per_user_limit: Some(1),
            window: Some(Window { start: at(1_796_086_800), end: at(1_796_090_400) }),
            now: at(1_796_087_000),
            state: CampaignState::Open,
            open: true,
            issued_count: Some(7),
        }),
        "getUserCoupons" => json_of(&UserView {
            coupon_id: "spring".to_owned(),
            user_id: "user-1".to_owned(),
            coupons: vec![Coupon { rank: 7, n: 1, state: CouponState::Stored }],
            stored_known: true,
        }),
        _ => None,
    }
}
