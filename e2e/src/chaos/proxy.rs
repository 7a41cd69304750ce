//! A TCP proxy between two parts of the stack.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fault::Trouble;

/// How long the target may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

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
    address: SocketAddr,
    rules: watch::Sender<Vec<Rule>>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Listens at `listen` (port 0 takes a free one) for connections to `target`.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("the proxy cannot listen at {listen}"))?;
        let address = listener.local_addr()?;
        let (rules, watched) = watch::channel(Vec::new());
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, peer)) => {
                        tokio::spawn(pass(client, peer.ip(), target, watched.clone()));
                    }
                    // A shortage of file descriptors may pass.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self { address, rules, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes trouble until [`Proxy::end`] is called with the number that this returns.
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
    pub fn heal(&self) {
        self.rules.send_modify(Vec::clear);
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

async fn pass(client: TcpStream, peer: IpAddr, target: SocketAddr, rules: watch::Receiver<Vec<Rule>>) {
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

/// Copies one direction, as far as the rules allow.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, toward: Toward, mut view: View) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let trouble = view.trouble();
        match trouble {
            Some(Trouble::HalfClose { toward_server }) if toward_server == (toward == Toward::Server) => {
                to.shutdown().await?;
                // What still comes is lost, but whoever sends it does not block.
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
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const NEVER: Duration = Duration::from_millis(200);

    /// A server that says everything back, and goes on when its client has nothing more to say.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let mut buffer = [0; 64];
                    loop {
                        let count = read.read(&mut buffer).await.unwrap_or(0);
                        let answer = if count == 0 { b"end".as_slice() } else { &buffer[..count] };
                        if write.write_all(answer).await.is_err() || count == 0 {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    async fn connected() -> (Proxy, TcpStream) {
        let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, "hello").await, "hello");
        (proxy, stream)
    }

    async fn hear(stream: &mut TcpStream) -> String {
        let mut buffer = [0; 64];
        let count = timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap_or(0);
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    async fn say(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        hear(stream).await
    }

    #[tokio::test]
    async fn a_cut_breaks_old_and_new_connections_until_it_ends() {
        let (proxy, mut stream) = connected().await;
        let id = proxy.begin(Victims::All, Trouble::Cut);
        assert_eq!(hear(&mut stream).await, "", "the old connection ends");
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(hear(&mut new).await, "", "a new one ends at once");
        proxy.end(id);
        let mut healed = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut healed, "again").await, "again");
    }

    #[tokio::test]
    async fn others_are_not_hurt() {
        let (proxy, mut stream) = connected().await;
        proxy.begin(Victims::From(HashSet::from(["10.0.0.1".parse().unwrap()])), Trouble::Cut);
        assert_eq!(say(&mut stream, "still").await, "still");
    }

    #[tokio::test]
    async fn silence_holds_data_back_and_loses_none() {
        let (proxy, mut stream) = connected().await;
        proxy.begin(Victims::All, Trouble::Silence);
        stream.write_all(b"late").await.unwrap();
        assert!(timeout(NEVER, stream.read_u8()).await.is_err(), "nothing may arrive");
        proxy.heal();
        assert_eq!(hear(&mut stream).await, "late");
    }

    #[tokio::test]
    async fn a_delay_delays() {
        let (proxy, mut stream) = connected().await;
        proxy.begin(Victims::All, Trouble::Delay(Duration::from_millis(50)));
        let begin = Instant::now();
        assert_eq!(say(&mut stream, "slow").await, "slow");
        assert!(begin.elapsed() >= Duration::from_millis(100), "there and back: {:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn half_closed_toward_the_server_the_answers_still_come() {
        let (proxy, mut stream) = connected().await;
        proxy.begin(Victims::All, Trouble::HalfClose { toward_server: true });
        assert_eq!(hear(&mut stream).await, "end", "the server saw the end, and its last word came through");
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut new, "whole").await, "whole", "a new connection is not hurt");
    }

    #[tokio::test]
    async fn half_closed_toward_the_client_it_hears_the_end() {
        let (proxy, mut stream) = connected().await;
        proxy.begin(Victims::All, Trouble::HalfClose { toward_server: false });
        assert_eq!(hear(&mut stream).await, "");
        stream.write_all(b"more").await.unwrap();
    }
}
