//! Many connections from one place that all do the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What each connection does: sends `first` at once, then `again` every `pause`. Whoever is closed comes back after [`COME_BACK`].
#[derive(Debug, Clone)]
pub struct Script {
    /// Sent at once.
    pub first: Vec<u8>,
    /// Sent again and again.
    pub again: Vec<u8>,
    /// Between two of those.
    pub pause: Duration,
    /// Whether it reads what is answered.
    pub reads: bool,
}

/// How long who was closed stays away.
const COME_BACK: Duration = Duration::from_millis(500);
/// Connections that are begun at once.
const BURST: usize = 200;

/// A crowd of the other kind.
#[derive(Debug, Default)]
pub struct Swarm {
    /// Connections made.
    pub made: AtomicU64,
    /// Those that the server closed.
    pub closed: AtomicU64,
}

impl Swarm {
    /// `count` connections to `targets` in turn, until `stop`.
    pub async fn press(
        self: Arc<Self>,
        targets: Vec<SocketAddr>,
        count: usize,
        script: Script,
        stop: CancellationToken,
    ) {
        let script = Arc::new(script);
        let mut all = JoinSet::new();
        for number in 0..count {
            let (swarm, script, target) = (Arc::clone(&self), Arc::clone(&script), targets[number % targets.len()]);
            all.spawn(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    if swarm.one(target, &script).await.is_ok() {
                        swarm.closed.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(COME_BACK).await;
                }
            }));
            if number % BURST == BURST - 1 {
                tokio::task::yield_now().await;
            }
        }
        while all.join_next().await.is_some() {}
    }

    /// One connection, until it is closed.
    async fn one(&self, target: SocketAddr, script: &Script) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(target).await?;
        self.made.fetch_add(1, Ordering::Relaxed);
        let (mut reader, mut writer) = stream.split();
        let write = async {
            if writer.write_all(&script.first).await.is_err() {
                return;
            }
            loop {
                tokio::time::sleep(script.pause).await;
                if !script.again.is_empty() && writer.write_all(&script.again).await.is_err() {
                    return;
                }
            }
        };
        let read = async {
            if !script.reads {
                std::future::pending::<()>().await;
            }
            let mut scrap = [0; 512];
            while reader.read(&mut scrap).await.is_ok_and(|n| n > 0) {}
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
        Ok(())
    }
}
