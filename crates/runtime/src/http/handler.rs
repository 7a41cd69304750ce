//! Between hyper and the routes: follows a request through its phases, and refuses by its head what need not be read any further.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tower::Service;

use super::asker::Asker;
use super::failure::Failure;
use super::limits::MAX_FIELDS;
use super::manners::Manners;
use super::peer::Peer;
use super::phase::{Phase, Progress};

/// Answers the requests of one connection.
pub(super) struct Handler {
    pub(super) router: Router,
    pub(super) manners: Option<Arc<Manners>>,
    /// Who holds the other end, where routes are to know it.
    pub(super) peer: Option<Peer>,
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

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        let closing = Arc::clone(&self.closing);
        let manners = self.manners.clone();
        let asker = manners.as_ref().and_then(|manners| manners.asker(request.headers()));
        if let Some(mut response) = self.own_answer(&request, asker.as_deref()) {
            // The body is not asked for, so that hyper says no `100 Continue` either.
            progress.enter(Phase::Answer);
            if let Some(manners) = manners {
                response = manners.dress_own(asker.as_deref(), response);
            }
            return Box::pin(async move { Ok(response.map(|body| Answer { body: Body::from(body), progress })) });
        }
        if request.body().is_end_stream() {
            progress.enter(Phase::Answer);
        } else {
            progress.asked_by(asker.clone());
            progress.enter(Phase::Body);
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let body = Arc::clone(&progress);
        let answer = self.router.clone().call(request.map(|inner| Body::new(Question { inner, progress: body })));
        // Who sends many requests in one piece is answered one after the other, and everybody else in between: hyper alone answers up to
        // 16 of them before it lets go, and some thousands of such clients keep the others waiting for seconds.
        let others_first = !progress.take_turn();
        Box::pin(async move {
            if others_first {
                tokio::task::yield_now().await;
            }
            let mut response = answer.await?;
            if let Some(manners) = manners {
                if manners.tells_problem(asker.as_deref(), response.status()) {
                    // In a box of its own, which only who asks for it pays for.
                    response = Box::pin(manners.retold(response)).await;
                }
                manners.sign(asker.as_deref(), response.headers_mut());
            }
            if closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, progress }))
        })
    }
}

impl Handler {
    /// The answer to what no route needs to hear of.
    fn own_answer(&self, request: &Request<Incoming>, asker: Option<&Asker>) -> Option<Response<Vec<u8>>> {
        if let Some(failure) = refusal(request, self.longest_body) {
            return Some(failure.response());
        }
        // One with a body is nothing that a browser sends.
        let manners = self.manners.as_ref().filter(|_| request.body().is_end_stream())?;
        manners.preflight(asker, request.method(), request.headers())
    }
}

/// What RFC 9112, sections 3.2 and 6.1, ask of a head, how many fields it may have, and what body it may announce.
///
/// Of codings hyper itself decides this: where `chunked` is not the last one, or the request is of HTTP/1.0, the end of the body cannot
/// be known, and it answers 400 (section 6.3). Where there is a `Content-Length` beside `Transfer-Encoding`, it goes by the latter, hides
/// the former from us, and closes the connection after the answer, as section 6.1 allows.
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
    if !understood(fields, &header::TRANSFER_ENCODING, "chunked") {
        return Some(Failure::TransferCoding);
    }
    // Without a body there is nothing in a coding, whatever is said.
    if !request.body().is_end_stream() && !understood(fields, &header::CONTENT_ENCODING, "identity") {
        return Some(Failure::ContentCoding);
    }
    let announced = request.body().size_hint().lower();
    (announced > longest_body as u64).then_some(Failure::LongBody(longest_body))
}

/// Whether the codings that `name` lists, if it is there, are `coding` and nothing else, once.
fn understood(fields: &HeaderMap, name: &HeaderName, coding: &str) -> bool {
    let mut lines = fields.get_all(name).iter();
    let first = lines.next().is_none_or(|line| line.as_bytes().trim_ascii().eq_ignore_ascii_case(coding.as_bytes()));
    first && lines.next().is_none()
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
    fn codings_other_than_what_everybody_knows_are_refused() {
        const TRANSFER: HeaderName = header::TRANSFER_ENCODING;
        const CONTENT: HeaderName = header::CONTENT_ENCODING;
        for (name, lines, expected) in [
            (TRANSFER, vec!["chunked"], None),
            (TRANSFER, vec!["Chunked"], None),
            (TRANSFER, vec!["chunked", "chunked"], Some(Failure::TransferCoding)),
            (TRANSFER, vec!["chunked, chunked"], Some(Failure::TransferCoding)),
            (TRANSFER, vec!["gzip, chunked"], Some(Failure::TransferCoding)),
            (TRANSFER, vec!["gzip", "chunked"], Some(Failure::TransferCoding)),
            (TRANSFER, vec!["identity", "chunked"], Some(Failure::TransferCoding)),
            (TRANSFER, vec!["x;a=\"chunked\", CHUNKED"], Some(Failure::TransferCoding)),
            (CONTENT, vec!["identity"], None),
            (CONTENT, vec!["IDENTITY"], None),
            (CONTENT, vec!["gzip"], Some(Failure::ContentCoding)),
            (CONTENT, vec!["identity", "br"], Some(Failure::ContentCoding)),
            (CONTENT, vec!["identity, gzip"], Some(Failure::ContentCoding)),
        ] {
            let with = |body: Body| {
                let mut request = Request::builder().header(header::HOST, "here").body(body).unwrap();
                for line in &lines {
                    request.headers_mut().append(&name, HeaderValue::from_static(line));
                }
                refusal(&request, 16)
            };
            assert_eq!(with(Body::from("x")), expected, "{name}: {lines:?}");
            let without = expected.filter(|failure| *failure == Failure::TransferCoding);
            assert_eq!(with(Body::empty()), without, "{name}: {lines:?}, without a body");
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
