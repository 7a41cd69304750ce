//! Reads what a server answers. Pure.

/// Longest head that any of the servers sends.
const MAX_HEAD: usize = 4 * 1024;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Response {
    /// HTTP status.
    pub(crate) status: u16,
    /// Whether the server closes the connection behind it.
    pub(crate) closes: bool,
    /// The rank that it tells.
    pub(crate) rank: Option<u64>,
    /// Whether it says that all coupons are issued.
    pub(crate) sold_out: bool,
    /// After how many seconds it wants to be asked again.
    pub(crate) retry_after: Option<u64>,
}

/// The answer that these bytes begin with; nothing while it is not whole.
///
/// # Errors
/// What they are instead.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Response>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err("the head of an answer has no end".to_owned()) } else { Ok(None) };
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let status = head.strip_prefix(b"HTTP/1.1 ").and_then(number).and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| format!("no answer of HTTP/1.1: {}", String::from_utf8_lossy(head)))?;
    let (mut length, mut closes, mut retry_after) = (None, false, None);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        if let Some(value) = field(line, b"content-length:") {
            length = number(value);
        } else if let Some(value) = field(line, b"connection:") {
            closes = find(value, b"close").is_some();
        } else if let Some(value) = field(line, b"retry-after:") {
            retry_after = number(value);
        }
    }
    let length = length.ok_or("an answer does not say how long it is")?;
    let Some(body) = usize::try_from(length).ok().and_then(|length| body.get(..length)) else { return Ok(None) };
    let rank = find(body, b"\"rank\":").and_then(|at| number(&body[at + 7..]));
    Ok(Some(Response { status, closes, rank, sold_out: find(body, b"SOLD_OUT").is_some(), retry_after }))
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, value) = line.split_at_checked(name.len())?;
    begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// The number at the beginning.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|here| here == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\ndate: now\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let bytes = answer("200 OK", r#"{"success":true,"message":"yes","rank":1234,"issuedCount":1235}"#);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        let expected = Response { status: 200, closes: false, rank: Some(1234), sold_out: false, retry_after: None };
        assert_eq!(parse(&bytes), Ok(Some(expected)));
    }

    #[test]
    fn a_refusal_and_a_close_are_seen() {
        let bytes = answer("400 Bad Request\r\nConnection: close", r#"{"success":false,"code":"SOLD_OUT"}"#);
        let refused = Response { status: 400, closes: true, rank: None, sold_out: true, retry_after: None };
        assert_eq!(parse(&bytes), Ok(Some(refused)));
        let bytes = answer("503 Service Unavailable\r\nconnection: keep-alive\r\nRetry-After: 3", "");
        let later = Response { status: 503, closes: false, rank: None, sold_out: false, retry_after: Some(3) };
        assert_eq!(parse(&bytes), Ok(Some(later)));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for bytes in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 two\r\n\r\n", &[b'x'; 5000]] {
            assert!(parse(bytes).is_err());
        }
    }
}
