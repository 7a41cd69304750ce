//! What the OpenAPI document says where users are authenticated.

use coupon_core::contract::AuthenticationKind;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, Schema};

/// Name of the scheme.
const TOKEN: &str = "token";
/// What asks nobody who they are: countdowns are for everybody.
const PUBLIC: &str = "getCampaign";

/// Adds it.
pub(super) fn describe(document: &mut OpenApi, way: AuthenticationKind) {
    let (says, unauthenticated) = match way {
        AuthenticationKind::None => {
            return add_words(document, "Who asks is believed: a gateway in front has to know its users.");
        }
        AuthenticationKind::Header => (
            "A gateway in front has to know its users, and says who asks.",
            "UNAUTHENTICATED: the request did not come through the gateway",
        ),
        AuthenticationKind::Jwt => (
            "Who asks is authenticated by a token.",
            "UNAUTHENTICATED: there is no token. INVALID_TOKEN: get a new one",
        ),
    };
    add_words(document, says);
    if way == AuthenticationKind::Jwt {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        if let Some(components) = &mut document.components {
            components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme));
        }
        document.security = Some(vec![SecurityRequirement::new::<_, [String; 0], String>(TOKEN, [])]);
    }
    for (name, schema) in document.components.iter_mut().flat_map(|components| &mut components.schemas) {
        if let (true, RefOr::T(Schema::Object(object))) = (name == "IssueRequest", schema) {
            object.required.retain(|field| field != "userId");
        }
    }
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post].into_iter().flatten() {
            if operation.operation_id.as_deref() == Some(PUBLIC) {
                operation.security = Some(Vec::new());
            } else {
                add_refusals(operation, way, unauthenticated);
            }
        }
    }
}

fn add_words(document: &mut OpenApi, words: &str) {
    document.info.description = document.info.description.take().map(|text| format!("{text} {words}"));
}

fn add_refusals(operation: &mut Operation, way: AuthenticationKind, unauthenticated: &str) {
    let mut refused = Response::new(unauthenticated);
    let header = HeaderBuilder::new().description(Some("How to authenticate oneself")).build();
    refused.headers.insert("WWW-Authenticate".to_owned(), RefOr::T(header));
    let other = "USER_MISMATCH: the request names another user than the one who is authenticated";
    let responses = &mut operation.responses.responses;
    responses.insert("401".to_owned(), RefOr::T(refused));
    if let Some(RefOr::T(forbidden)) = responses.get_mut("403") {
        forbidden.description = format!("{other}. {}", forbidden.description);
    }
    if let (AuthenticationKind::Jwt, Some(RefOr::T(unavailable))) = (way, responses.get_mut("503")) {
        unavailable.description = format!("AUTHENTICATION_UNAVAILABLE, {}", unavailable.description);
    }
}
