//! Authorities and certificates for TLS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder with two authorities, `own` and `other`, and a certificate of the first for `127.0.0.1` and no other name.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Makes them with OpenSSL.
    pub fn make() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("coupon-tls-{}-{number}", std::process::id()));
        // One of a process of before that had the same number.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let config = "[req]\ndistinguished_name = name\n[name]\n\
                      [ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\nsubjectKeyIdentifier = hash\n\
                      [server]\nbasicConstraints = critical,CA:FALSE\nextendedKeyUsage = serverAuth\nsubjectAltName = IP:127.0.0.1\n";
        std::fs::write(folder.join("openssl.cnf"), config).unwrap();
        let made = |name: &str, section: &str, signed: &[&str]| {
            let (key, certificate, subject) = (format!("{name}.key"), format!("{name}.crt"), format!("/CN={name}"));
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-config", "openssl.cnf", "-newkey", "ec", "-nodes", "-days", "30"]);
            command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-extensions", section, "-subj", &subject]);
            let output =
                command.args(["-keyout", &key, "-out", &certificate]).args(signed).current_dir(&folder).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        made("own", "ca", &[]);
        made("other", "ca", &[]);
        made("server", "server", &["-CA", "own.crt", "-CAkey", "own.key"]);
        Self(folder)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Path of a file in it: `own.crt`, `other.crt`, `server.crt`, `server.key`.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
