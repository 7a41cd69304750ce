//! A certificate authority, and the certificate that all servers of a stack show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::NODE_IP;
use crate::run::run;

const CONFIGURATION: &str = "authority.cnf";
const TRUSTED: &str = "trusted.crt";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const BOTH: &str = "server.pem";
/// The authority, and the one that follows it.
const PRESENT: &str = "authority";
const NEXT: &str = "next";

/// The authority's files, in a folder of its own. A new authority takes over in three steps, as people do it: [`Self::introduce`],
/// [`Self::reissue`], [`Self::retire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// The one whose files are in this folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes it, with a certificate for the servers, unless it is there.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let authority = Self::at(folder);
        if authority.both().exists() {
            return Ok(authority);
        }
        fs::create_dir_all(folder)?;
        fs::write(
            folder.join(CONFIGURATION),
            format!(
                "[req]\ndistinguished_name = name\n[name]\n\
                 [authority]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n\
                 subjectKeyIdentifier = hash\n\
                 [server]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
                 extendedKeyUsage = serverAuth\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
                 subjectAltName = IP:{NODE_IP},IP:127.0.0.1,DNS:localhost\n"
            ),
        )?;
        authority.make(PRESENT)?;
        authority.trust(&[PRESENT])?;
        authority.reissue()?;
        Ok(authority)
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What clients trust: one certificate, or two while a new authority takes over.
    #[must_use]
    pub fn trusted(&self) -> PathBuf {
        self.folder.join(TRUSTED)
    }

    /// The same as text.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn trusted_pem(&self) -> Result<String> {
        fs::read_to_string(self.trusted()).context("cannot read the authority's certificate")
    }

    /// The servers' certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// Its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// Key and certificate in one file, as Kafka wants them.
    pub(crate) fn both(&self) -> PathBuf {
        self.folder.join(BOTH)
    }

    /// A new authority is trusted beside the present one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn introduce(&self) -> Result<()> {
        self.make(NEXT)?;
        self.trust(&[PRESENT, NEXT])
    }

    /// Makes a new certificate for the servers, signed by the newest authority. They show it when they have read it: see
    /// [`super::administrator::Administrator::show_certificates`].
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn reissue(&self) -> Result<()> {
        let signer = if self.file(NEXT, "crt").exists() { NEXT } else { PRESENT };
        let (certificate, key) = (format!("{signer}.crt"), format!("{signer}.key"));
        self.request("server", "server", "/CN=local-servers", &["-CA", &certificate, "-CAkey", &key])?;
        let both = fs::read_to_string(self.key())? + &fs::read_to_string(self.certificate())?;
        Ok(fs::write(self.both(), both)?)
    }

    /// Only the new authority is trusted from now on.
    ///
    /// # Errors
    /// If there is none.
    pub fn retire(&self) -> Result<()> {
        for end in ["crt", "key"] {
            fs::rename(self.file(NEXT, end), self.file(PRESENT, end)).context("there is no new authority")?;
        }
        self.trust(&[PRESENT])
    }

    fn file(&self, name: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{name}.{end}"))
    }

    fn make(&self, name: &str) -> Result<()> {
        self.request(name, "authority", "/CN=local-services", &[])
    }

    /// Makes a key, and a certificate with these extensions.
    fn request(&self, name: &str, extensions: &str, subject: &str, signed: &[&str]) -> Result<()> {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-config",
            CONFIGURATION,
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ]);
        command.args(["-nodes", "-days", "3650", "-extensions", extensions, "-subj", subject]);
        command.args(["-keyout", &key, "-out", &certificate]).args(signed).current_dir(&self.folder);
        run(&mut command).context("making a certificate failed")
    }

    fn trust(&self, names: &[&str]) -> Result<()> {
        let all: String =
            names.iter().map(|name| fs::read_to_string(self.file(name, "crt"))).collect::<std::io::Result<_>>()?;
        let new = self.folder.join("trusted.new");
        fs::write(&new, all)?;
        Ok(fs::rename(new, self.trusted())?)
    }
}
