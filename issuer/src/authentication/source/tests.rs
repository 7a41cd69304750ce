use super::*;
use coupon_testing::certificates::Certificates;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[test]
fn urls() {
    let read = |url: &str| {
        Server::new(url, None).map(|server| {
            let Server { is_encrypted, host, port, authority, path, .. } = server;
            (is_encrypted, host, port, authority, path)
        })
    };
    for (url, is_encrypted, host, port, authority, path) in [
        ("https://login.example/keys", true, "login.example", 443, "login.example", "/keys"),
        ("https://login.example:8443/a/b?c=d", true, "login.example", 8443, "login.example:8443", "/a/b?c=d"),
        ("http://login.auth.svc", false, "login.auth.svc", 80, "login.auth.svc", "/"),
        ("http://[::1]:8080/k", false, "::1", 8080, "[::1]:8080", "/k"),
    ] {
        let expected = (is_encrypted, host.to_owned(), port, authority.to_owned(), path.to_owned());
        assert_eq!(read(url).unwrap(), expected, "{url}");
    }
    for wrong in [
        "",
        "login.example/keys",
        "/keys",
        "ftp://login.example/",
        "https://",
        "https://a:b@login.example/k",
        "https://a b/",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

/// A server that shows the certificate for 127.0.0.1, and has the set `{}`; its port.
async fn serve(certificates: &Certificates) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(certificates.path("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificates.path("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not believe the certificate goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

/// Wrong: whoever can answer in the provider's place says who is who.
#[tokio::test]
async fn a_server_is_believed_whom_the_named_authority_vouches_for() {
    let certificates = Certificates::make();
    let port = serve(&certificates).await;
    for (host, authority, fails) in [
        ("127.0.0.1", "own.crt", None),
        ("127.0.0.1", "other.crt", Some("does not speak TLS as it should: invalid peer certificate: UnknownIssuer")),
        ("localhost", "own.crt", Some("certificate")),
        ("127.0.0.1", "server.key", Some("no certificate authority can be read")),
        ("127.0.0.1", "missing.crt", Some("missing.crt cannot be read")),
    ] {
        let server = Server::new(&format!("https://{host}:{port}/keys"), Some(certificates.path(authority).into()));
        let read = server.unwrap().read().await;
        match (read, fails) {
            (Ok(bytes), None) => assert_eq!(bytes, b"{}"),
            (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{host}, {authority}: {error}"),
            (read, _) => panic!("{host}, {authority}: {read:?}"),
        }
    }
}

/// Wrong: an answer without an end fills the memory of an issuer.
#[tokio::test]
async fn a_set_without_an_end_is_not_read_to_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    });
    let error = Server::new(&url, None).unwrap().read().await.unwrap_err();
    assert!(matches!(error, ReadError::Body(_)), "{error}");
    let folder = std::env::temp_dir().join(format!("coupon-long-keys-{}", std::process::id()));
    std::fs::write(&folder, vec![b' '; 2 * MAX_KEYS_BYTES]).unwrap();
    assert_eq!(Source::File(folder.clone()).read().await.unwrap().len(), MAX_KEYS_BYTES + 1);
    std::fs::remove_file(&folder).unwrap();
}
