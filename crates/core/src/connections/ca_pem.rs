//! Whom to trust: certificates, and nothing that is secret.

use std::fmt;

use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::{Deserialize, Serialize};

/// PEM certificates of the authorities to trust, at least one. What else a text holds is refused before any client sees it: clients repeat
/// a line that they cannot read in their errors, and a key that lies beside a certificate has no business in a pod.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CaPem(String);

/// Why a text was refused. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaPemError {
    /// There is a private key in it.
    #[error(
        "holds a private key, which nobody needs to trust an authority: leave the certificates there and take the key out, and replace a key \
         that others could read"
    )]
    PrivateKey,
    /// There is no certificate in it.
    #[error(
        "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): put the certificate of the authority there that signed the server's"
    )]
    NoCertificate,
    /// It begins like PEM, and is none.
    #[error(
        "holds a PEM that cannot be read: -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- must each be a line of its own, with base64 \
         between them (line breaks get lost where a variable is used without quotes)"
    )]
    Unreadable,
}

impl CaPem {
    /// Takes a text that holds certificates.
    ///
    /// # Errors
    /// It holds none, or a private key, or cannot be read.
    pub fn new(text: String) -> Result<Self, CaPemError> {
        // However it is written: a key of a kind that is not known here, or one whose lines have run together, is one too.
        if text.contains("PRIVATE KEY") {
            return Err(CaPemError::PrivateKey);
        }
        let mut certificates = 0usize;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            // The error has the line in it.
            let Ok((kind, _)) = section else { return Err(CaPemError::Unreadable) };
            certificates += usize::from(kind == SectionKind::Certificate);
        }
        if certificates == 0 { Err(CaPemError::NoCertificate) } else { Ok(Self(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CaPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaPem({} certificates)", self.0.matches("-----BEGIN CERTIFICATE-----").count())
    }
}

impl TryFrom<String> for CaPem {
    type Error = CaPemError;

    fn try_from(text: String) -> Result<Self, CaPemError> {
        Self::new(text)
    }
}

impl From<CaPem> for String {
    fn from(pem: CaPem) -> Self {
        pem.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n";

    /// Wrong: a private key reaches every pod, or stands in the words of a client that cannot read it.
    #[test]
    fn certificates_are_taken_and_nothing_else() {
        let key = |kind: &str| format!("-----BEGIN {kind}-----\nc2VzYW1l\n-----END {kind}-----\n");
        let taken = [
            CERTIFICATE.to_owned(),
            CERTIFICATE.repeat(3),
            CERTIFICATE.replace('\n', "\r\n"),
            CERTIFICATE.trim_end().to_owned(),
            format!("# the old one, and the new one\n\n{CERTIFICATE}subject=CN = new\n{CERTIFICATE}"),
        ];
        for text in taken {
            let pem = CaPem::new(text.clone()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(pem.as_str(), text);
            assert!(!format!("{pem:?}").contains("c2Vz"), "{pem:?}");
        }
        for (text, expected) in [
            (String::new(), CaPemError::NoCertificate),
            ("sesame".to_owned(), CaPemError::NoCertificate),
            ("c2VzYW1l".to_owned(), CaPemError::NoCertificate),
            (key("PUBLIC KEY"), CaPemError::NoCertificate),
            (key("PRIVATE KEY"), CaPemError::PrivateKey),
            (key("RSA PRIVATE KEY"), CaPemError::PrivateKey),
            (key("ENCRYPTED PRIVATE KEY"), CaPemError::PrivateKey),
            (key("OPENSSH PRIVATE KEY"), CaPemError::PrivateKey),
            (format!("{CERTIFICATE}{}", key("EC PRIVATE KEY")), CaPemError::PrivateKey),
            (key("PRIVATE KEY").replace('\n', " "), CaPemError::PrivateKey),
            (CERTIFICATE.replace('\n', " "), CaPemError::Unreadable),
            (CERTIFICATE.replace("c2VzYW1l", "open sesame!"), CaPemError::Unreadable),
            (CERTIFICATE.replace("-----END CERTIFICATE-----", ""), CaPemError::Unreadable),
            (format!("{CERTIFICATE}-----BEGIN CERTIFICATE----- c2VzYW1l"), CaPemError::Unreadable),
        ] {
            assert_eq!(CaPem::new(text.clone()), Err(expected), "{text}");
        }
    }
}
