//! A connection's bytes: notes when they come and when they stall, and gives hyper's own refusals a body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::failure::find_bare_refusal;
use super::phase::{Phase, Progress};

/// A stream whose [`Progress`] is kept.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// What is written instead of a refusal of hyper's, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
    /// Whether the client has said that it sends nothing more.
    ended: bool,
    /// Whether a refusal was written for hyper.
    refused: bool,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress, instead: None, ended: false, refused: false }
    }

    /// The stream, whether the client has ended its side, and whether it was refused by hyper.
    pub(super) fn into_parts(self) -> (TcpStream, bool, bool) {
        (self.stream, self.ended, self.refused)
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, done)) = &mut self.instead {
            if *done == bytes.len() {
                self.instead = None;
                break;
            }
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[*done..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.progress.flows();
                    *done += n;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.progress.stalls();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.progress.enter_from(&[Phase::New, Phase::Idle], Phase::Head);
        } else if result.is_ok() {
            self.ended = true;
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        if let Some((start, failure)) = find_bare_refusal(buffer) {
            let mut instead = buffer[..start].to_vec();
            instead.extend(failure.bytes());
            self.instead = Some((instead, 0));
            self.refused = true;
            // The rest goes with the flush, which hyper never leaves out.
            if let Poll::Ready(result) = self.poll_instead(cx) {
                result?;
            }
            return Poll::Ready(Ok(buffer.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        match written {
            Poll::Ready(_) => self.progress.flows(),
            Poll::Pending => self.progress.stalls(),
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
