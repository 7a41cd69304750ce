//! The network between a page and issuers: it counts what the browser sends, and can be cut between an issuer's answer and the page.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    /// Breaks at the next answer to a POST, which is lost.
    Breaking,
    /// Connections end at once.
    Cut,
}

struct Shared {
    issuers: SocketAddr,
    line: watch::Sender<Line>,
    wishes: AtomicU64,
    preflights: AtomicU64,
}

/// Passes connections of a browser on to issuers; ends when it is dropped.
pub struct Relay {
    /// Where the browser reaches it.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    /// One in front of these issuers, on a free port of this machine.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(issuers: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the relay cannot listen")?;
        let address = listener.local_addr()?;
        let (wishes, preflights) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { issuers, line: watch::channel(Line::Whole).0, wishes, preflights });
        let accepted = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(pass(browser, Arc::clone(&accepted)));
            }
        });
        Ok(Self { address, shared, accepting })
    }

    /// The requests of POST that it has passed on.
    pub fn wishes(&self) -> u64 {
        self.shared.wishes.load(Ordering::SeqCst)
    }

    /// The requests of OPTIONS: what a browser asks before it lets a page ask.
    pub fn preflights(&self) -> u64 {
        self.shared.preflights.load(Ordering::SeqCst)
    }

    /// Loses the next answer to a POST, and stays cut from then on.
    pub fn break_at_answer(&self) {
        self.shared.line.send_replace(Line::Breaking);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        *self.shared.line.borrow() == Line::Cut
    }

    /// Is whole again.
    pub fn mend(&self) {
        self.shared.line.send_replace(Line::Whole);
    }
}

/// One connection, until one side ends it or the line is cut.
async fn pass(browser: TcpStream, shared: Arc<Shared>) {
    let line = shared.line.subscribe();
    let talk = async {
        let issuer = TcpStream::connect(shared.issuers).await?;
        let (asks_for_coupon, shared) = (AtomicBool::new(false), &*shared);
        let ((from_browser, to_browser), (from_issuer, to_issuer)) = (browser.into_split(), issuer.into_split());
        tokio::try_join!(
            asked(from_browser, to_issuer, shared, &asks_for_coupon),
            answered(from_issuer, to_browser, shared, &asks_for_coupon)
        )?;
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        biased;
        () = cut(line) => {}
        // How a connection ends is no matter: both sides see it.
        _ = talk => {}
    }
}

/// Waits until the line is cut.
async fn cut(mut line: watch::Receiver<Line>) {
    while *line.borrow_and_update() != Line::Cut {
        if line.changed().await.is_err() {
            return;
        }
    }
}

/// What a browser sends. A head begins a piece of its own, as no browser sends a request before the last is answered.
async fn asked(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    asks_for_coupon: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return to.shutdown().await;
        }
        let begins = |method: &[u8]| piece.starts_with(method);
        if begins(b"POST ") {
            shared.wishes.fetch_add(1, Ordering::SeqCst);
            asks_for_coupon.store(true, Ordering::SeqCst);
        } else if begins(b"OPTIONS ") || begins(b"GET ") {
            shared.preflights.fetch_add(u64::from(begins(b"OPTIONS ")), Ordering::SeqCst);
            asks_for_coupon.store(false, Ordering::SeqCst);
        }
        to.write_all(piece).await?;
    }
}

/// What issuers answer.
async fn answered(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    asks_for_coupon: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let breaks = |line: &mut Line| {
            let breaks = *line == Line::Breaking && asks_for_coupon.load(Ordering::SeqCst);
            if breaks {
                *line = Line::Cut;
            }
            breaks
        };
        if shared.line.send_if_modified(breaks) {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::{get, post};

    /// Wrong: an answer that was to be lost arrives, or a preflight's is lost, and the demo shows nothing.
    #[tokio::test]
    async fn an_answer_to_a_wish_is_lost_and_nothing_passes_until_it_is_mended() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::start(listener.local_addr().unwrap()).await.unwrap();
        let router = Router::new().route("/", get(|| async { "seen" }).merge(post(|| async { "won" })));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (http, url) = (reqwest::Client::new(), format!("http://{}/", relay.address));
        relay.break_at_answer();
        assert_eq!(http.get(&url).send().await.unwrap().text().await.unwrap(), "seen");
        assert!(!relay.is_cut());
        assert!(http.post(&url).send().await.is_err());
        assert!(relay.is_cut() && relay.wishes() == 1);
        assert!(http.get(&url).send().await.is_err());
        relay.mend();
        assert_eq!(http.post(&url).send().await.unwrap().text().await.unwrap(), "won");
        assert_eq!((relay.wishes(), relay.preflights()), (2, 0));
    }
}
