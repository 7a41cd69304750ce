//! What Kafka's own tools do with users and ACLs, in a few requests of its protocol: starting Java for each takes seconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// As Kafka's own tools have it.
const ITERATIONS: u32 = 4096;
/// Kafka's number of SCRAM-SHA-512.
const SCRAM_SHA_512: u8 = 2;

/// One ACL of a user, on all topics or groups whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Whose right it is.
    pub user: String,
    /// `topic` or `group`.
    pub kind: String,
    /// The beginning of the names.
    pub prefix: String,
    /// As Kafka's tool names it.
    pub operation: String,
    /// Whether it takes the right away.
    pub denies: bool,
}

impl Acl {
    fn resource(&self) -> Result<u8> {
        match self.kind.as_str() {
            "topic" => Ok(2),
            "group" => Ok(3),
            other => bail!("unknown resource {other}"),
        }
    }

    fn operation(&self) -> Result<u8> {
        const ALL: [&str; 9] = [
            "Read",
            "Write",
            "Create",
            "Delete",
            "Alter",
            "Describe",
            "ClusterAction",
            "DescribeConfigs",
            "AlterConfigs",
        ];
        let found = ALL.iter().position(|each| *each == self.operation);
        let index = found.with_context(|| format!("unknown operation {}", self.operation))?;
        Ok(u8::try_from(index)? + 3)
    }

    /// As both requests want it.
    fn encode(&self) -> Result<Vec<u8>> {
        const PREFIXED: u8 = 4;
        let mut all = vec![0, 0, 0, 1, self.resource()?];
        all.extend(text(&self.prefix)?);
        all.push(PREFIXED);
        all.extend(text(&format!("User:{}", self.user))?);
        all.extend(text("*")?);
        all.extend([self.operation()?, if self.denies { 2 } else { 3 }]);
        Ok(all)
    }
}

fn text(value: &str) -> Result<Vec<u8>> {
    let length = u16::try_from(value.len())?.to_be_bytes();
    Ok(length.into_iter().chain(value.bytes()).collect())
}

/// Bytes as newer requests have them; short ones only.
fn compact(value: &[u8]) -> Result<Vec<u8>> {
    ensure!(value.len() < 127, "{} bytes are too many", value.len());
    Ok([&[u8::try_from(value.len() + 1)?], value].concat())
}

/// A connection of a user who may change users and ACLs, to a listener without TLS.
#[derive(Debug)]
pub struct Brokers(TcpStream);

impl Brokers {
    /// Logs in with SASL PLAIN.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses the login.
    pub fn login(address: SocketAddr, (user, password): (&str, &str)) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER).with_context(|| address.to_string())?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut client = Self(stream);
        ensure!(client.ask(17, 1, &[], &text("PLAIN")?)?.starts_with(&[0, 0]), "{address} knows no SASL PLAIN");
        let login = format!("\0{user}\0{password}");
        let length = u32::try_from(login.len())?.to_be_bytes();
        let login: Vec<u8> = length.into_iter().chain(login.bytes()).collect();
        ensure!(client.ask(36, 0, &[], &login)?.starts_with(&[0, 0]), "{address} refuses the login of {user}");
        Ok(client)
    }

    /// The answer behind its header. `tags`: what newer requests have behind theirs.
    fn ask(&mut self, key: u8, version: u8, tags: &[u8], body: &[u8]) -> Result<Vec<u8>> {
        // Key, version, a number to know the answer by, no client id.
        let header = [0, key, 0, version, 0, 0, 0, 7, 0xff, 0xff];
        let length = u32::try_from(header.len() + tags.len() + body.len())?.to_be_bytes();
        self.0.write_all(&[&length[..], &header, tags, body].concat())?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        ensure!((4..1 << 20).contains(&length), "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        ensure!(answer.starts_with(&[0, 0, 0, 7]), "an answer to another request");
        Ok(answer.split_off(4))
    }

    /// An answer with throttle time, one result and no error.
    fn change(&mut self, key: u8, acl: &Acl) -> Result<Vec<u8>> {
        let answer = self.ask(key, 1, &[], &acl.encode()?)?;
        ensure!(answer.get(4..10) == Some(&[0, 0, 0, 1, 0, 0]), "{acl:?}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    /// Gives a right, or takes it away if the ACL denies.
    ///
    /// # Errors
    /// The broker does not.
    pub fn add(&mut self, acl: &Acl) -> Result<()> {
        self.change(30, acl).map(drop)
    }

    /// Removes an ACL.
    ///
    /// # Errors
    /// There was none, or the broker does not.
    pub fn remove(&mut self, acl: &Acl) -> Result<()> {
        let answer = self.change(31, acl)?;
        // No error text, and one ACL that was there.
        let one = answer.get(10..16) == Some(&[0xff, 0xff, 0, 0, 0, 1]);
        ensure!(one, "{acl:?}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// Makes a user who logs in with SCRAM-SHA-512, or changes its password.
    ///
    /// # Errors
    /// The broker does not.
    pub fn set_scram_user(&mut self, user: &str, password: &str) -> Result<()> {
        let salt = format!("salt-of-{user}");
        let salted = salted_password(password, &salt)?;
        let mut body = vec![1, 2];
        body.extend(compact(user.as_bytes())?);
        body.push(SCRAM_SHA_512);
        body.extend(ITERATIONS.to_be_bytes());
        body.extend(compact(salt.as_bytes())?);
        body.extend(compact(&salted)?);
        body.extend([0, 0]);
        let answer = self.ask(51, 0, &[0], &body)?;
        // Tags, throttle time, one result: the user, then no error.
        let mut good = vec![0, 0, 0, 0, 0, 2];
        good.extend(compact(user.as_bytes())?);
        good.extend([0, 0]);
        ensure!(answer.starts_with(&good), "user {user}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

/// Hi() of RFC 5802: what a broker stores instead of a password.
fn salted_password(password: &str, salt: &str) -> Result<Vec<u8>> {
    let mut command = Command::new("openssl");
    command.args(["kdf", "-binary", "-keylen", "64", "-kdfopt", "digest:SHA512"]);
    command.args(["-kdfopt", &format!("pass:{password}"), "-kdfopt", &format!("salt:{salt}")]);
    command.args(["-kdfopt", &format!("iter:{ITERATIONS}"), "PBKDF2"]);
    let output = command.output().context("cannot run openssl")?;
    ensure!(
        output.status.success() && output.stdout.len() == 64,
        "openssl derives no key: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
