//! What users send and hear: the same JSON as an issuer's.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// A request to issue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ask {
    /// Who asks.
    pub(crate) user_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    success: bool,
    message: &'static str,
    rank: u64,
    issued_count: u64,
}

#[derive(Serialize)]
struct Refused<'a> {
    success: bool,
    error: &'static str,
    code: &'a str,
}

/// A coupon is issued.
pub(crate) fn issued(rank: u64) -> Response {
    let message = "The coupon is issued to you.";
    Json(Issued { success: true, message, rank, issued_count: rank }).into_response()
}

/// None is.
pub(crate) fn refused(status: StatusCode, code: &str) -> Response {
    (status, Json(Refused { success: false, error: "No coupon is issued.", code })).into_response()
}
