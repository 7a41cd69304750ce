//! The end of a connection that the server closes: what was said last is read by the client only if nothing that it sent is left
//! unread, as the kernel then tears the connection down.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is read and thrown away at most, in bytes: many clients look for an answer only when they have sent the whole of a body, however
/// long it is.
const MOST: usize = 4 * 1024 * 1024;

/// Says `last`, ends our side, and waits until the client has ended its own; for at most `bound`.
pub(super) async fn say_last(stream: &mut TcpStream, last: &[u8], bound: Duration) {
    let work = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        let (mut scrap, mut read) = (vec![0; 2048], 0);
        while read < MOST {
            match stream.read(&mut scrap).await? {
                0 => break,
                n => read += n,
            }
        }
        std::io::Result::Ok(())
    };
    // Who is gone already hears nothing, and that is all there is to it.
    let _ = tokio::time::timeout(bound, work).await;
}
