//! Whose a request is, and what is told to who is nobody, or somebody else. Decided from the request alone: nothing depends on what a user has.

use axum::http::{HeaderMap, StatusCode};
use coupon_core::contract::AuthenticationKind;
use coupon_core::identity::UserId;

use super::request;
use super::respond::{ApiError, Code};
use crate::authentication::{Authenticator, Kind, Refusal};

/// The user who is authenticated; `None` where nobody is asked who they are.
pub(super) async fn asker(authenticator: &Authenticator, headers: &HeaderMap) -> Result<Option<UserId>, ApiError> {
    authenticator.user(headers).await.map_err(|refusal| refused(refusal, authenticator.kind()))
}

/// Every token that is not taken is told the same.
fn refused(refusal: Refusal, way: AuthenticationKind) -> ApiError {
    match refusal.kind() {
        Kind::Unauthenticated => {
            // RFC 9110, section 11.6.1, asks for a scheme; that of a gateway is one of which no client knows.
            let (error, scheme) = match way {
                AuthenticationKind::Header => {
                    ("It is not known who you are: come through the gateway, which says so.", "Gateway")
                }
                AuthenticationKind::Jwt | AuthenticationKind::None => {
                    ("Say who you are: send the header Authorization: Bearer with your token.", "Bearer")
                }
            };
            ApiError::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, error).with_challenge(scheme)
        }
        Kind::InvalidToken => {
            let error = "The token is not taken; get a new one for this service.";
            let challenge = "Bearer error=\"invalid_token\"";
            ApiError::new(StatusCode::UNAUTHORIZED, Code::InvalidToken, error).with_challenge(challenge)
        }
        Kind::Unavailable => {
            let error = "Tokens cannot be checked for the moment; nothing was issued; ask again shortly.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::AuthenticationUnavailable, error)
        }
    }
}

/// Whose a request is that names a user: of who is authenticated, whom it must name then.
pub(super) fn agreed(asker: Option<UserId>, named: Option<UserId>) -> Result<UserId, ApiError> {
    match (asker, named) {
        (None, Some(user)) | (Some(user), None) => Ok(user),
        (Some(asker), Some(named)) if asker == named => Ok(asker),
        (Some(_), Some(_)) => {
            let error = "The request names another user than the one who is authenticated; name yourself, or, in a body, nobody.";
            Err(ApiError::new(StatusCode::FORBIDDEN, Code::UserMismatch, error))
        }
        (None, None) => Err(request::missing_user()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use std::collections::BTreeSet;
    use strum::VariantArray;

    #[test]
    fn a_request_is_of_who_is_authenticated_and_of_nobody_else() {
        let user = |name: &str| Some(UserId::new(name).unwrap());
        for (asker, named, expected) in [
            (None, user("anna"), Ok("anna")),
            (user("anna"), None, Ok("anna")),
            (user("anna"), user("anna"), Ok("anna")),
            (user("anna"), user("bert"), Err((403, Code::UserMismatch))),
            (user("anna"), user("Anna"), Err((403, Code::UserMismatch))),
            (None, None, Err((422, Code::InvalidRequest))),
        ] {
            let found = agreed(asker.clone(), named.clone());
            let found = found.as_ref().map(UserId::as_str).map_err(|refused| (refused.status.as_u16(), refused.code));
            assert_eq!(found, expected, "{asker:?}, {named:?}");
        }
    }

    /// Wrong: by the answer one can tell a token of somebody else from one that was made up, or an expired one from one that was forged.
    #[tokio::test]
    async fn whatever_is_wrong_with_a_token_has_one_answer() {
        let mut answers = BTreeSet::new();
        for refusal in Refusal::VARIANTS.iter().filter(|refusal| refusal.kind() == Kind::InvalidToken) {
            let response = refused(*refusal, AuthenticationKind::Jwt).into_response();
            let headers = format!("{} {:?}", response.status(), response.headers());
            answers.insert((headers, to_bytes(response.into_body(), 1_000).await.unwrap().to_vec()));
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        let (headers, body) = answers.first().unwrap();
        assert!(headers.starts_with("401 ") && headers.contains(r#"Bearer error=\"invalid_token\""#), "{headers}");
        assert!(String::from_utf8_lossy(body).contains(r#""code":"INVALID_TOKEN""#));
    }

    #[test]
    fn who_says_nothing_is_told_how_to() {
        use AuthenticationKind::{Header, Jwt};
        for (refusal, way, status, code, challenge) in [
            (Refusal::Missing, Jwt, 401, Code::Unauthenticated, Some("Bearer")),
            (Refusal::Missing, Header, 401, Code::Unauthenticated, Some("Gateway")),
            (Refusal::HeaderRepeated, Header, 401, Code::Unauthenticated, Some("Gateway")),
            (Refusal::NoKeys, Jwt, 503, Code::AuthenticationUnavailable, None),
            (Refusal::KeysAway, Jwt, 503, Code::AuthenticationUnavailable, None),
        ] {
            let told = refused(refusal, way);
            assert_eq!((told.status.as_u16(), told.code, told.challenge), (status, code, challenge), "{refusal:?}");
        }
    }
}
