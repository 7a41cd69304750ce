//! Who may vouch for a database: exactly the authorities that the class names, or, where it names none, those of the image.
//!
//! sqlx has none of its own (`crates/no-roots`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;

use coupon_core::connections::Database;

/// Their certificates, as PEM.
pub(super) fn authorities(settings: &Database) -> Vec<u8> {
    match &settings.ca_pem {
        Some(pem) => pem.as_str().as_bytes().to_vec(),
        None => of_the_image().into_bytes(),
    }
}

/// Those that Redis' client, and OpenSSL, trust as well: the system's, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn of_the_image() -> String {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority of this image cannot be read");
    }
    // sqlx would refuse all for one that cannot be used.
    let usable = found.certs.into_iter().filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    usable.map(|certificate| pem(&certificate)).collect()
}

fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = BASE64_STANDARD.encode(der);
    while !rest.is_empty() {
        let next = rest.split_off(rest.len().min(64));
        text.push_str(&rest);
        text.push('\n');
        rest = next;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
