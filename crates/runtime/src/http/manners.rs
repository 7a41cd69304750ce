//! How a port answers beyond what its routes say. Every answer of the port goes through here, those of the HTTP layer included.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::accept::PROBLEM;
use super::asker::Asker;
use super::cors::Cors;

/// Longest failure that is told in another shape, in bytes. They are a few sentences.
const LONGEST_FAILURE: usize = 16 * 1024;

/// The body of RFC 9457 for a failure with this status and body, if it is one.
pub type Retelling = fn(StatusCode, &[u8]) -> Option<Vec<u8>>;

/// How a port for users answers. A port without manners gives back nothing, and tells its failures in one shape only.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// How failures are told as RFC 9457 has them; in no other shape than the usual one where there is none.
    pub problem: Option<Retelling>,
    /// Which pages may call; no page of another origin where there is none.
    pub cors: Option<Cors>,
    /// Whether routes are told who holds the other end of the connection ([`super::Peer`]).
    pub tells_peer: bool,
}

impl Manners {
    /// Who asks, if a head says anything that an answer depends on: one that does not costs nothing here.
    pub(super) fn asker(&self, fields: &HeaderMap) -> Option<Arc<Asker>> {
        Asker::of(fields, self.cors.as_ref()).map(Arc::new)
    }

    /// The answer to a browser that asks whether a page may ask. No route hears of it.
    pub(super) fn preflight(
        &self,
        asker: Option<&Asker>,
        method: &Method,
        fields: &HeaderMap,
    ) -> Option<Response<Vec<u8>>> {
        asker?.admitted.as_ref()?;
        self.cors.as_ref()?.preflight(method, fields)
    }

    /// An answer to `asker` that no route gives.
    pub(super) fn dress_own(&self, asker: Option<&Asker>, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        if self.tells_problem(asker, response.status()) {
            response = self.as_problem(response);
        }
        self.sign(asker, response.headers_mut());
        response
    }

    /// Whether an answer with this status has to be [`Manners::retold`].
    pub(super) fn tells_problem(&self, asker: Option<&Asker>, status: StatusCode) -> bool {
        asker.is_some_and(|asker| asker.likes_problems) && (status.is_client_error() || status.is_server_error())
    }

    /// The failure of a route in the shape of RFC 9457.
    pub(super) async fn retold(&self, response: Response<Body>) -> Response<Body> {
        let (head, body) = response.into_parts();
        // The body of a failure is whole already, and short.
        let body = axum::body::to_bytes(body, LONGEST_FAILURE).await.unwrap_or_default();
        self.as_problem(Response::from_parts(head, body.to_vec())).map(Body::from)
    }

    /// Adds what every answer to `asker` has.
    pub(super) fn sign(&self, asker: Option<&Asker>, fields: &mut HeaderMap) {
        if let Some(asker) = asker {
            asker.sign(fields);
        }
        if let Some(cors) = &self.cors {
            cors.sign(asker.and_then(|asker| asker.admitted.as_ref()), fields);
        }
    }

    fn as_problem(&self, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        if let Some(body) = self.problem.and_then(|problem| problem(response.status(), response.body())) {
            let fields = response.headers_mut();
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
            // The routes said how long their own body is.
            fields.remove(header::CONTENT_LENGTH);
            *response.body_mut() = body;
        }
        response
    }
}
