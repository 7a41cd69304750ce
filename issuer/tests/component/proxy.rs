//! A way to a server that can be cut and mended, led elsewhere, and blocked for those who say a certain thing.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone)]
struct State {
    open: bool,
    target: String,
    blocked: Option<&'static str>,
}

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State { open: true, target, blocked: None }));
        let all = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut state = all.subscribe();
                let State { open, target, .. } = state.borrow().clone();
                if !open {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let ((near_in, mut near_out), (mut far_in, far_out)) = (near.into_split(), far.into_split());
                    let asked = state.clone();
                    tokio::select! {
                        () = pass(near_in, far_out, asked) => {}
                        _ = copy(&mut far_in, &mut near_out) => {}
                        _ = state.wait_for(|state| !state.open) => {}
                    }
                });
            }
        });
        Self { address, state }
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    pub fn mend(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Leads new connections there; those that are there stay where they are, as behind a name or a service that moved.
    pub fn lead_to(&self, target: String) {
        self.state.send_modify(|state| state.target = target);
    }

    /// A connection on which this is asked gets no answer, nor to anything else.
    pub fn block(&self, asked: &'static str) {
        self.state.send_modify(|state| state.blocked = Some(asked));
    }
}

/// Whoever asks says so in one packet.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let blocked = state.borrow().blocked;
        let said = &buffer[..length];
        if blocked.is_some_and(|words| said.windows(words.len()).any(|part| part == words.as_bytes())) {
            // Until it is hung up.
            while matches!(from.read(&mut buffer).await, Ok(1..)) {}
            return;
        }
        if to.write_all(said).await.is_err() {
            return;
        }
    }
}
