//! Certificates for servers that speak TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::folder::Folder;

/// A certificate for servers, and the authority that signed it.
#[derive(Debug)]
pub struct Certificate {
    folder: Folder,
}

impl Certificate {
    /// Makes both. `names`: what the server is reached by, as OpenSSL writes it: `DNS:localhost` or `IP:127.0.0.1`.
    ///
    /// # Errors
    /// If OpenSSL is not installed, or refuses.
    pub fn naming(names: &str) -> Result<Self> {
        let folder = Folder::create("certificate")?;
        fs::write(folder.path.join("names"), format!("subjectAltName={names}\n"))?;
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for line in [
            format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt"),
            format!("req {new} -subj /CN=server -keyout server.key -out server.csr"),
            "x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt"
                .into(),
        ] {
            let made = Command::new("openssl").args(line.split(' ')).current_dir(&folder.path).output()?;
            if !made.status.success() {
                bail!("openssl {line}: {}", String::from_utf8_lossy(&made.stderr));
            }
        }
        Ok(Self { folder })
    }

    /// The authority's certificate, PEM.
    ///
    /// # Errors
    /// If the file was removed.
    pub fn authority(&self) -> Result<String> {
        Ok(fs::read_to_string(self.authority_file())?)
    }

    /// The file of the authority's certificate, PEM.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path.join("ca.crt")
    }

    /// The file of the servers' certificate, PEM.
    #[must_use]
    pub fn chain(&self) -> PathBuf {
        self.folder.path.join("server.crt")
    }

    /// The file of the servers' key, PEM.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path.join("server.key")
    }

    /// Redis' settings, or Sentinel's, for TLS on `port`.
    pub(super) fn settings(&self, port: SocketAddr) -> String {
        crate::redis::tls(port.port(), &self.chain(), &self.key(), &self.authority_file())
    }
}
