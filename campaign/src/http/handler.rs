//! Between hyper and the routes: follows a request through its phases, and refuses by its head what need not be read any further.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tower::Service;

use super::failure::Failure;
use super::limits::MAX_FIELDS;
use super::phase::{Phase, Progress};

/// Answers the requests of one connection.
pub(super) struct Handler {
    pub(super) router: Router,
    pub(super) progress: Arc<Progress>,
    /// Whether answers say that the connection ends with them.
    pub(super) closing: Arc<AtomicBool>,
    /// Longest body, in bytes.
    pub(super) longest_body: usize,
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        let closing = Arc::clone(&self.closing);
        if let Some(failure) = refusal(&request, self.longest_body) {
            // The body is not asked for, so that hyper says no `100 Continue` either.
            progress.enter(Phase::Answer);
            return Box::pin(async move { Ok(failure.response().map(|body| Answer { body, progress })) });
        }
        progress.enter(if request.body().is_end_stream() { Phase::Answer } else { Phase::Body });
        let body = Arc::clone(&progress);
        let answer = self.router.clone().call(request.map(|inner| Body::new(Question { inner, progress: body })));
        Box::pin(async move {
            let mut response = answer.await?;
            if closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, progress }))
        })
    }
}

/// What RFC 9112, section 3.2, asks of a head, how many fields it may have, and how long a body it may announce.
fn refusal<B: HttpBody>(request: &Request<B>, longest_body: usize) -> Option<Failure> {
    let fields = request.headers();
    if fields.len() > MAX_FIELDS {
        return Some(Failure::LargeHead);
    }
    let hosts = fields.get_all(header::HOST).iter().count();
    let wrong = if request.version() == Version::HTTP_11 { hosts != 1 } else { hosts > 1 };
    if wrong {
        return Some(Failure::Host);
    }
    let announced = request.body().size_hint().lower();
    (announced > longest_body as u64).then_some(Failure::LongBody(longest_body))
}

/// The body of a request: when it has arrived, the answer is due.
struct Question {
    inner: Incoming,
    progress: Arc<Progress>,
}

impl Question {
    fn arrived(&self) {
        self.progress.enter_from(&[Phase::Body], Phase::Answer);
    }
}

impl HttpBody for Question {
    type Data = <Incoming as HttpBody>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.arrived();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.arrived();
    }
}

/// The body of an answer: when hyper lets it go, the connection is between two requests.
pub(super) struct Answer {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Answer {
    type Data = <Body as HttpBody>::Data;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.progress.enter(Phase::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_and_not_too_many_fields() {
        for (version, hosts, fields, expected) in [
            (Version::HTTP_11, 1, 0, None),
            (Version::HTTP_11, 0, 0, Some(Failure::Host)),
            (Version::HTTP_11, 2, 0, Some(Failure::Host)),
            (Version::HTTP_10, 0, 0, None),
            (Version::HTTP_10, 2, 0, Some(Failure::Host)),
            (Version::HTTP_11, 1, 63, None),
            (Version::HTTP_11, 1, 64, Some(Failure::LargeHead)),
        ] {
            let mut request = Request::builder().version(version).body(Body::empty()).unwrap();
            for _ in 0..hosts {
                request.headers_mut().append(header::HOST, HeaderValue::from_static("here"));
            }
            for _ in 0..fields {
                request.headers_mut().append("x-more", HeaderValue::from_static("1"));
            }
            assert_eq!(refusal(&request, 16), expected, "{version:?}, {hosts} hosts, {fields} more fields");
        }
    }

    #[test]
    fn a_body_that_is_known_to_be_too_long_is_refused_by_its_head() {
        for (announced, expected) in [(0, None), (16, None), (17, Some(Failure::LongBody(16)))] {
            let body = Body::from(vec![b'x'; announced]);
            let request = Request::builder().header(header::HOST, "here").body(body).unwrap();
            assert_eq!(refusal(&request, 16), expected, "{announced} bytes");
        }
    }
}
