//! A user's program, which knows an address and nothing of the cluster: curl.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stack::services::Certificate;

use crate::install::run;

/// What was heard.
#[derive(Debug)]
pub struct Heard {
    /// HTTP status.
    pub status: u16,
    /// The answer, if it is JSON.
    pub body: Value,
}

impl Heard {
    /// What it says in a field, if that is text.
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

/// Asks by TLS, and trusts one authority.
pub struct Caller<'a> {
    /// Where names of hosts lead, in place of a name server.
    pub at: SocketAddr,
    /// Whose authority is trusted.
    pub trusted: &'a Certificate,
}

impl Caller<'_> {
    /// Asks for a coupon at this address.
    ///
    /// # Errors
    /// Nobody answers there who has a certificate for it.
    pub async fn ask(&self, url: &str, user: &str) -> Result<Heard> {
        let body = json!({ "userId": user }).to_string();
        self.call(url, &["-H", "Content-Type: application/json", "--data", &body]).await
    }

    /// Reads what is at this address.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn read(&self, url: &str) -> Result<Heard> {
        self.call(url, &[]).await
    }

    async fn call(&self, url: &str, more: &[&str]) -> Result<Heard> {
        let authority = self.trusted.authority_file().display().to_string();
        // Any name and port: all lead here.
        let there = format!("::{}:{}", self.at.ip(), self.at.port());
        let common = ["--silent", "--show-error", "--max-time", "15", "--write-out", "\n%{http_code}"];
        let arguments = [&common[..], &["--cacert", &authority, "--connect-to", &there], more, &[url]].concat();
        heard(&run("curl", &arguments, None).await?)
    }
}

/// What curl wrote: the answer, and the status in a line of its own.
fn heard(text: &str) -> Result<Heard> {
    let (body, status) = text.rsplit_once('\n').context("curl says no status")?;
    Ok(Heard { status: status.parse()?, body: serde_json::from_str(body).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_answer_are_told_apart() {
        for (text, status, code) in [
            ("{\"code\":\"SOLD_OUT\"}\n400", 400, "SOLD_OUT"),
            ("{\n\"code\":\"ISSUED\"\n}\n200", 200, "ISSUED"),
            ("not found\n404", 404, ""),
            ("\n503", 503, ""),
        ] {
            let heard = heard(text).unwrap();
            assert_eq!((heard.status, heard.text("code")), (status, code), "{text}");
        }
        assert!(heard("").is_err() && heard("\nnone").is_err());
    }
}
