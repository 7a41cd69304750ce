//! Kafka's ACLs, given and taken as its own tool does: four requests of its protocol, which no client library here speaks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One ACL of a user, on all topics or groups whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    pub user: String,
    /// `topic` or `group`.
    pub kind: String,
    pub prefix: String,
    /// As Kafka's tool names it.
    pub operation: String,
    pub denies: bool,
}

impl Acl {
    fn resource(&self) -> u8 {
        match self.kind.as_str() {
            "topic" => 2,
            "group" => 3,
            other => panic!("unknown resource {other}"),
        }
    }

    fn operation(&self) -> u8 {
        let all = [
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
        let found = all.iter().position(|each| *each == self.operation);
        u8::try_from(found.unwrap_or_else(|| panic!("unknown operation {}", self.operation))).unwrap() + 3
    }

    /// As both requests want it.
    fn encode(&self) -> Vec<u8> {
        const PREFIXED: u8 = 4;
        let mut all = vec![0, 0, 0, 1, self.resource()];
        all.extend(text(&self.prefix));
        all.push(PREFIXED);
        all.extend(text(&format!("User:{}", self.user)));
        all.extend(text("*"));
        all.extend([self.operation(), if self.denies { 2 } else { 3 }]);
        all
    }
}

fn text(value: &str) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    length.into_iter().chain(value.bytes()).collect()
}

/// A connection of a user who may change ACLs.
pub struct AclClient(TcpStream);

impl AclClient {
    /// Logs in with SASL PLAIN.
    pub fn login(address: &str, (user, password): (&str, &str)) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut client = Self(stream);
        assert_eq!(client.ask(17, 1, &text("PLAIN"))[..2], [0, 0], "SaslHandshake");
        let login = format!("\0{user}\0{password}");
        let length = u32::try_from(login.len()).unwrap().to_be_bytes();
        let login: Vec<u8> = length.into_iter().chain(login.bytes()).collect();
        assert_eq!(client.ask(36, 0, &login)[..2], [0, 0], "SaslAuthenticate");
        client
    }

    /// The answer behind its header.
    fn ask(&mut self, key: u8, version: u8, body: &[u8]) -> Vec<u8> {
        // Key, version, a number to know the answer by, no client id.
        let header = [0, key, 0, version, 0, 0, 0, 7, 0xff, 0xff];
        let length = u32::try_from(header.len() + body.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], &header, body].concat()).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], [0, 0, 0, 7]);
        answer.split_off(4)
    }

    /// Asserts on throttle time, one result, no error.
    fn change(&mut self, key: u8, acl: &Acl) -> Vec<u8> {
        let answer = self.ask(key, 1, &acl.encode());
        assert_eq!(answer[4..10], [0, 0, 0, 1, 0, 0], "{acl:?}: {}", String::from_utf8_lossy(&answer));
        answer
    }

    pub fn add(&mut self, acl: &Acl) {
        self.change(30, acl);
    }

    pub fn remove(&mut self, acl: &Acl) {
        let answer = self.change(31, acl);
        // No error text, and one ACL that was there.
        assert_eq!(answer[10..16], [0xff, 0xff, 0, 0, 0, 1], "{acl:?}: {}", String::from_utf8_lossy(&answer));
    }
}
