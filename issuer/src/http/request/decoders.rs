//! Requests as any client may send them: nothing panics, an accepted user id is one that the ledger accepts, and a refusal can be shown.
//! `make fuzz` runs this for longer.

use axum::http::HeaderValue;
use coupon_core::identity::{MAX_REQUEST_KEY, MAX_USER_ID};
use proptest::prelude::*;

use super::*;

use coupon_testing::mangled::{is_a_sentence, mangled};

fn check(taken: Result<Option<UserId>, ApiError>) -> Result<(), TestCaseError> {
    match taken {
        Ok(None) => {}
        Ok(Some(user)) => {
            prop_assert!(user.as_str().len() <= MAX_USER_ID && !user.as_str().chars().any(char::is_control));
            let body = serde_json::json!({ "userId": user.as_str() }).to_string();
            prop_assert_eq!(parse_user(body.as_bytes()).unwrap(), Some(user));
        }
        Err(refused) => {
            prop_assert!(matches!(refused.status.as_u16(), 400 | 422) && refused.code == Code::InvalidRequest);
            prop_assert!(is_a_sentence(&refused.error), "{:?}", refused.error);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_body(body in mangled(vec![br#"{"userId":"anna"}"#.to_vec(), br#"{"userId":42}"#.to_vec(), br#""anna""#.to_vec()])) {
        check(parse_user(&body))?;
    }

    #[test]
    fn a_user_in_a_path(text in mangled(vec![b"anna".to_vec(), "ren\u{e9}".into()])) {
        check(parse_path_user(&String::from_utf8_lossy(&text)).map(Some))?;
    }

    #[test]
    fn a_key(values in proptest::collection::vec(mangled(vec![b"order-4711".to_vec()]), 0..3)) {
        let mut headers = HeaderMap::new();
        // What is no value of a header does not come here.
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(IDEMPOTENCY_KEY, value);
        }
        match given_key(&headers).map(|given| issue_request(UserId::new("anna").unwrap(), given)) {
            Ok(request) => prop_assert!((1..=MAX_REQUEST_KEY).contains(&request.key.as_str().len())),
            Err(refused) => prop_assert!(is_a_sentence(&refused.error), "{:?}", refused.error),
        }
    }
}
