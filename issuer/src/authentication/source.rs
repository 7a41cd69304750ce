//! Reads a set of keys, from a server or from a file.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri, header};
use coupon_core::contract::KeySource;
use coupon_core::contract::authentication::MAX_KEYS_BYTES;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A URL that keys cannot be read from.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no URL that keys can be read from: write http:// or https://, a host, and a path, without user and password"
)]
pub(crate) struct UrlError(String);

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0} cannot be connected to: {1}")]
    Connect(String, io::Error),
    #[error(
        "{0} does not speak TLS as it should: {1}; where an authority of one's own has signed its certificate, name that in the CampaignClass"
    )]
    Tls(String, io::Error),
    #[error("{0} does not speak HTTP as it should: {1}")]
    Http(String, hyper::Error),
    #[error("{0} answers {1} instead of 200; redirects are not followed: name the URL that they lead to")]
    Status(String, StatusCode),
    #[error("the answer of {0} breaks off, or has more than {MAX_KEYS_BYTES} bytes")]
    Body(String),
    #[error("{} cannot be read: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    #[error("no certificate authority can be read: {0}")]
    Authorities(String),
}

/// Where keys are.
#[derive(Debug)]
pub(super) enum Source {
    Server(Server),
    File(PathBuf),
}

/// A server that has keys.
#[derive(Debug)]
pub(super) struct Server {
    is_encrypted: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Host and port, as they stand in the URL.
    authority: String,
    path: String,
    ca_file: Option<PathBuf>,
}

impl Source {
    pub(super) fn new(setting: &KeySource) -> Result<Self, UrlError> {
        Ok(match setting {
            KeySource::File { path } => Self::File(path.into()),
            KeySource::Url { url, ca_file } => Self::Server(Server::new(url, ca_file.as_ref().map(PathBuf::from))?),
        })
    }

    /// The set, at most one byte longer than one may be.
    pub(super) async fn read(&self) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Server(server) => server.read().await,
            Self::File(path) => read_file(path.clone()).await,
        }
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, ReadError> {
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(&path).await?;
        file.take(MAX_KEYS_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    read.await.map_err(|error| ReadError::File(path, error))
}

impl Server {
    fn new(url: &str, ca_file: Option<PathBuf>) -> Result<Self, UrlError> {
        let wrong = || UrlError(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { is_encrypted, host, port, authority: authority.as_str().to_owned(), path, ca_file })
    }

    fn name(&self) -> String {
        self.authority.clone()
    }

    async fn read(&self) -> Result<Vec<u8>, ReadError> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|error| ReadError::Connect(self.name(), error))?;
        if !self.is_encrypted {
            return self.get(stream).await;
        }
        let failed = |error| ReadError::Tls(self.name(), error);
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
        let connector = TlsConnector::from(Arc::new(self.tls().await?));
        self.get(connector.connect(name, stream).await.map_err(failed)?).await
    }

    async fn get(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Vec<u8>, ReadError> {
        let failed = |error| ReadError::Http(self.name(), error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let asking = async {
            let request = Request::get(&self.path)
                .header(header::HOST, &self.authority)
                .header(header::ACCEPT, "application/jwk-set+json, application/json")
                .header(header::USER_AGENT, "coupon-issuer")
                .body(Body::empty())
                // Of parts that were parts of a URL.
                .map_err(|_| ReadError::Body(self.name()))?;
            let answer = sender.send_request(request).await.map_err(failed)?;
            if answer.status() != StatusCode::OK {
                return Err(ReadError::Status(self.name(), answer.status()));
            }
            let read = axum::body::to_bytes(Body::new(answer.into_body()), MAX_KEYS_BYTES).await;
            read.map(Vec::from).map_err(|_| ReadError::Body(self.name()))
        };
        // What it has read is still to be taken when it ends.
        let driving = async {
            drop(connection.await);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            answer = asking => answer,
            never = driving => match never {},
        }
    }

    async fn tls(&self) -> Result<ClientConfig, ReadError> {
        let authorities = match &self.ca_file {
            Some(path) => {
                let bytes = read_file(path.clone()).await?;
                let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
                all.map_err(|error| ReadError::Authorities(error.to_string()))?
            }
            None => {
                let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
                found.map_err(|error| ReadError::Authorities(error.to_string()))?.certs
            }
        };
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(authorities).0 == 0 {
            return Err(ReadError::Authorities("there is none".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| ReadError::Authorities(error.to_string()))?;
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
