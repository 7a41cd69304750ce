//! A TCP proxy between a client and a server, which makes trouble when it is told to.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the target may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// After a connection could not be accepted: a shortage of file descriptors may pass.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What is done to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Connections break, and new ones break at once.
    Cut,
    /// Every piece of data comes this much later.
    Delay(Duration),
    /// Connections stay, and nothing arrives.
    Silence,
    /// One direction of the connections that exist is closed; the other goes on.
    HalfClose {
        /// Whether the server sees the end; else the client does.
        toward_server: bool,
    },
    /// Once a client sends these words, in one piece, nothing more of that connection arrives at the server. It ends when the client
    /// closes it.
    Block(&'static str),
}

/// Whose connections are in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Victims {
    /// Everybody's.
    All,
    /// Those from these addresses.
    From(HashSet<IpAddr>),
    /// Those from all but these addresses.
    Except(HashSet<IpAddr>),
}

#[derive(Debug, Clone)]
struct Rule {
    id: u64,
    since: Instant,
    victims: Victims,
    trouble: Trouble,
}

/// Listens, and passes everything on to one target; ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    rules: watch::Sender<Vec<Rule>>,
    target: watch::Sender<String>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Listens at a free loopback port for connections to `target`, which is `host:port`.
    ///
    /// # Panics
    /// No port is free.
    pub async fn to(target: impl Into<String>) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), target).await.unwrap()
    }

    /// Listens at `listen` (port 0 takes a free one) for connections to `target`, which is `host:port`.
    ///
    /// # Errors
    /// The address is taken, or is none of this machine's.
    pub async fn start(listen: SocketAddr, target: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("the proxy cannot listen at {listen}: {error}")))?;
        let address = listener.local_addr()?;
        let (rules, watched) = watch::channel(Vec::new());
        let (target, targets) = watch::channel(target.into());
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, peer)) => {
                        let target = targets.borrow().clone();
                        tokio::spawn(pass(client, peer.ip(), target, watched.clone()));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                }
            }
        });
        Ok(Self { address, rules, target, accepting })
    }

    /// Makes trouble until [`Proxy::end`] is called with the number that this returns. Where troubles overlap, the first counts.
    pub fn begin(&self, victims: Victims, trouble: Trouble) -> u64 {
        let mut id = 0;
        self.rules.send_modify(|rules| {
            id = rules.iter().map(|rule| rule.id + 1).max().unwrap_or(0);
            rules.push(Rule { id, since: Instant::now(), victims, trouble });
        });
        id
    }

    /// Ends one trouble.
    pub fn end(&self, id: u64) {
        self.rules.send_modify(|rules| rules.retain(|rule| rule.id != id));
    }

    /// Ends every trouble.
    pub fn mend(&self) {
        self.rules.send_modify(Vec::clear);
    }

    /// Breaks every connection and refuses new ones, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.begin(Victims::All, Trouble::Cut);
    }

    /// Blocks every connection on which a client sends these words, in one piece: [`Trouble::Block`].
    pub fn block(&self, words: &'static str) {
        self.begin(Victims::All, Trouble::Block(words));
    }

    /// Passes new connections on to this target; existing ones stay, as when a name or a service moves.
    pub fn lead_to(&self, target: impl Into<String>) {
        self.target.send_replace(target.into());
    }
}

/// Where data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    Server,
    Client,
}

/// The rules as one connection sees them.
#[derive(Clone)]
struct View {
    peer: IpAddr,
    opened: Instant,
    rules: watch::Receiver<Vec<Rule>>,
}

impl View {
    /// What is wrong at the moment; the first rule counts.
    fn trouble(&mut self) -> Option<Trouble> {
        let rules = self.rules.borrow_and_update();
        let hit = |rule: &&Rule| {
            let peer = match &rule.victims {
                Victims::All => true,
                Victims::From(addresses) => addresses.contains(&self.peer),
                Victims::Except(addresses) => !addresses.contains(&self.peer),
            };
            // Connections that are made later are whole.
            let late = matches!(rule.trouble, Trouble::HalfClose { .. }) && self.opened > rule.since;
            peer && !late
        };
        rules.iter().find(hit).map(|rule| rule.trouble)
    }

    /// Waits until the rules change. An error means that the proxy is gone.
    async fn changed(&mut self) -> io::Result<()> {
        self.rules.changed().await.map_err(|_| broken())
    }

    /// Waits until the connection is cut.
    async fn cut(mut self) -> io::Error {
        loop {
            if self.trouble() == Some(Trouble::Cut) || self.changed().await.is_err() {
                return broken();
            }
        }
    }
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

async fn pass(client: TcpStream, peer: IpAddr, target: String, rules: watch::Receiver<Vec<Rule>>) {
    let view = View { peer, opened: Instant::now(), rules };
    let talk = async {
        let server = tokio::time::timeout(CONNECT, TcpStream::connect(target)).await.map_err(|_| broken())??;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::try_join!(
            pump(from_client, to_server, Toward::Server, view.clone()),
            pump(from_server, to_client, Toward::Client, view.clone())
        )?;
        Ok::<_, io::Error>(())
    };
    // Dropping both streams breaks the connection for both sides.
    tokio::select! {
        _ = talk => {}
        _ = view.clone().cut() => {}
    }
}

fn contains(data: &[u8], words: &str) -> bool {
    data.windows(words.len()).any(|part| part == words.as_bytes())
}

/// Copies one direction, as far as the rules allow.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, toward: Toward, mut view: View) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let trouble = view.trouble();
        match trouble {
            Some(Trouble::HalfClose { toward_server }) if toward_server == (toward == Toward::Server) => {
                to.shutdown().await?;
                // What still comes is lost, but its sender does not block.
                while from.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
            Some(Trouble::Silence) => {
                view.changed().await?;
                continue;
            }
            _ => {}
        }
        let read = tokio::select! {
            changed = view.changed() => { changed?; continue }
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        if let Some(Trouble::Block(words)) = view.trouble()
            && toward == Toward::Server
            && contains(buffer.get(..read).unwrap_or_default(), words)
        {
            while from.read(&mut buffer).await? > 0 {}
            return Err(broken());
        }
        if let Some(Trouble::Delay(delay)) = trouble {
            tokio::time::sleep(delay).await;
        }
        // Silence that began while this piece was read holds it back as well.
        while view.trouble() == Some(Trouble::Silence) {
            view.changed().await?;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests;
