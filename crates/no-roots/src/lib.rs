//! A list of certificate authorities with nobody in it.
//!
//! sqlx adds the authorities that it is given to those of `webpki-roots`, and has no way to leave those out
//! (`sqlx-core/src/net/tls/tls_rustls.rs`, `import_root_certs`). So any public authority could vouch for a database whose class
//! names its own, and the authorities of the image would count for nothing. With this crate in its place sqlx trusts exactly what
//! `crates/ledger/src/database/trust.rs` gives it. `crates/ledger/tests/database_tls.rs` would notice that it is not in its place.

use rustls_pki_types::TrustAnchor;

/// Nobody.
pub const TLS_SERVER_ROOTS: &[TrustAnchor<'static>] = &[];
