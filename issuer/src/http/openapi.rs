//! The OpenAPI document, made from the types and routes themselves. `issuer/openapi.json` is a copy of it.

use coupon_core::contract::AuthenticationKind;
use utoipa::{Modify, OpenApi, openapi};

use super::described::Completed;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Coupon issuer",
        description = "Gives the coupons of one campaign to the first who ask. Every answer is JSON; every failure has a stable code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://{host}", description = "Where `status.url` of the campaign says", variables(
        ("host" = (default = "coupons.shop.internal", description = "The gateway in front of the issuers"))
    ))),
    tags((name = "coupons", description = "One campaign: its state, its coupons, and who holds them")),
    components(schemas(super::problem::Problem)),
    paths(super::issue::issue, super::read::campaign, super::read::user)
)]
struct Document;

/// The document of issuers that authenticate users in this way.
fn complete(way: AuthenticationKind) -> openapi::OpenApi {
    let mut document = Document::openapi();
    Completed(way).modify(&mut document);
    document
}

/// The document as indented JSON, with a final line end.
///
/// # Errors
/// It cannot be written as JSON.
pub fn document(way: AuthenticationKind) -> Result<String, serde_json::Error> {
    complete(way).to_pretty_json().map(|text| text + "\n")
}

/// The same without white space, as it is served.
pub(crate) fn served(way: AuthenticationKind) -> Result<String, serde_json::Error> {
    complete(way).to_json()
}

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_in_the_repository_is_fresh() {
        assert!(
            include_str!("../../openapi.json") == document(AuthenticationKind::None).unwrap(),
            "issuer/openapi.json is stale: run `cargo run -p issuer -- openapi > issuer/openapi.json`"
        );
    }

    #[test]
    fn it_says_what_is_mandatory() {
        let document: serde_json::Value = serde_json::from_str(&document(AuthenticationKind::None).unwrap()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let statuses = document["paths"]["/api/coupons/{id}/issue"]["post"]["responses"].as_object().unwrap();
        for status in ["200", "400", "403", "404", "408", "413", "415", "422", "429", "501", "503"] {
            assert!(statuses.contains_key(status), "{status} is not described");
        }
        assert_eq!(document["components"]["schemas"]["IssueRequest"]["required"][0], "userId");
        let parameters = document["paths"]["/api/coupons/{id}/users/{userId}"]["get"]["parameters"].as_array().unwrap();
        let in_path = &parameters.iter().find(|parameter| parameter["name"] == "userId").unwrap()["schema"];
        let in_body = &document["components"]["schemas"]["IssueRequest"]["properties"]["userId"]["oneOf"];
        assert_eq!(in_path, &in_body[0], "an id is the same wherever it stands");
        assert_eq!((in_path["maxLength"].as_u64(), in_body[1]["maximum"].as_i64()), (Some(128), Some((1 << 53) - 1)));
        assert!(in_path["pattern"].as_str().unwrap().contains("\\u202F"));
    }
}
