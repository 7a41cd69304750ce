//! A connection that is kept.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::proof::Proof;
use super::request::Request;
use super::response::{Response, parse};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// How often a connection is tried again, and the pause in between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// How long one try may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection, and the request that is sent on it.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    request: Request,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers, however often it is tried.
    pub(crate) async fn open(address: SocketAddr, coupon: &str, proof: Rc<Proof>) -> io::Result<Self> {
        let stream = connect(address).await?;
        Ok(Self { address, stream, request: Request::new(coupon, proof), buffer: vec![0; MAX_ANSWER] })
    }

    /// Connects once more, after the server has closed, or something broke.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn reopen(&mut self) -> io::Result<()> {
        self.stream = connect(self.address).await?;
        Ok(())
    }

    /// Asks for a coupon and waits for the answer.
    ///
    /// # Errors
    /// The connection broke, or what came is no answer. Whether a coupon was issued is not known.
    pub(crate) async fn ask(&mut self, user: u64) -> io::Result<Response> {
        self.stream.write_all(self.request.of(user)).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            match parse(&self.buffer[..filled]) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) if filled < self.buffer.len() => {}
                Ok(None) => return Err(io::Error::other("an answer is too long")),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut tries = TRIES;
    loop {
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match stream {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
