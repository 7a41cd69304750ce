//! Who is believed to be the database, and to whom a password is told.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use coupon_core::connections::{CaPem, Database, DatabaseTls, Login};
use coupon_ledger::database::probe::Probe;
use coupon_ledger::database::{self, DatabaseError, Fault};
use coupon_testing::certificates::Certificates;
use coupon_testing::servers;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use stack::services::MariaDb;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const DEADLINE: Duration = Duration::from_secs(30);
/// Set in the child: the folder of certificates, and the port of the server.
const CASES: &str = "COUPON_TLS_CASES";

/// Without the user.
fn at(host: &str, port: u16, tls: DatabaseTls, pem: Option<String>) -> Database {
    let ca_pem = pem.map(|pem| CaPem::new(pem).unwrap());
    Database { host: host.to_owned(), port, name: "coupons".to_owned(), login: Login::default(), tls, ca_pem }
}

fn login_of(server: &MariaDb) -> Login {
    servers::database(&server.url()).login
}

fn port_of(server: &MariaDb) -> u16 {
    servers::database(&server.url()).port
}

async fn is_encrypted(settings: &Database) -> bool {
    let pool = database::connect(settings, 1);
    let (_, cipher): (String, String) =
        sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(&pool).await.unwrap();
    !cipher.is_empty()
}

/// In a process of its own, whose image trusts the authority `trusted`.
async fn cases(folder: &Path, port: u16, login: Login, trusted: &str) {
    use DatabaseTls::{Disabled, Required, VerifyIdentity};
    let stranger = Some("UnknownIssuer");
    for (tls, named, host, refused) in [
        (Disabled, None, "127.0.0.1", None),
        // Encrypted, whoever answers.
        (Required, None, "127.0.0.1", None),
        (Required, Some("other"), "127.0.0.1", None),
        (Required, None, "localhost", None),
        // Exactly the authority that is named, whomever the image trusts.
        (VerifyIdentity, Some("own"), "127.0.0.1", None),
        (VerifyIdentity, Some("other"), "127.0.0.1", stranger),
        (VerifyIdentity, Some("own"), "localhost", Some("NotValidForName")),
        // Those of the image, where none is named.
        (VerifyIdentity, None, "127.0.0.1", (trusted != "own").then_some("UnknownIssuer")),
    ] {
        let what = format!("{tls:?}, authority {named:?} named, {trusted} trusted by the image, at {host}");
        let pem = named.map(|name| std::fs::read_to_string(folder.join(format!("{name}.crt"))).unwrap());
        let settings = Database { login: login.clone(), ..at(host, port, tls, pem) };
        let connected = Probe::connect(&settings, DEADLINE).await;
        match (connected, refused) {
            (Ok(_), None) => assert_eq!(is_encrypted(&settings).await, tls != Disabled, "{what}"),
            (Err(error), Some(says)) => {
                let said = format!("{error:?}").replace("not valid for name", "NotValidForName");
                assert!(said.contains(says), "{what}: {said}");
            }
            (Ok(_), Some(_)) => panic!("{what}: it was believed"),
            (Err(error), None) => panic!("{what}: {error}"),
        }
    }
}

/// Wrong: any public authority can vouch for a database whose class names its own; or an authority that is in the image counts for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_believed_as_the_class_says() {
    const NAME: &str = "a_database_is_believed_as_the_class_says";
    if let Ok(given) = std::env::var(CASES) {
        let [folder, port, username, password, trusted] = given.split('|').collect::<Vec<_>>()[..] else { panic!() };
        let login = Login { username: username.to_owned(), password: password.to_owned() };
        return cases(Path::new(folder), port.parse().unwrap(), login, trusted).await;
    }
    let certificates = Certificates::make();
    let options = vec![
        format!("--ssl-cert={}", certificates.path("server.crt")),
        format!("--ssl-key={}", certificates.path("server.key")),
    ];
    let server = tokio::task::spawn_blocking(move || MariaDb::start_with(&options)).await.unwrap().unwrap();
    let (login, port) = (login_of(&server), port_of(&server));
    // The environment belongs to a process as a whole: another one, of this test alone, is given the image's authorities.
    for trusted in ["own", "other"] {
        let given =
            format!("{}|{port}|{}|{}|{trusted}", certificates.folder().display(), login.username, login.password);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]).env(CASES, given);
        command.env("SSL_CERT_FILE", certificates.path(&format!("{trusted}.crt"))).env_remove("SSL_CERT_DIR");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    let root = MySqlConnectOptions::new().socket(server.socket()).username("root");
    let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(root);
    sqlx::raw_sql("SET GLOBAL require_secure_transport = 1").execute(&root).await.unwrap();
    let plain = Database { login, ..at("127.0.0.1", port, DatabaseTls::Disabled, None) };
    let refused = Probe::connect(&plain, DEADLINE).await.unwrap_err();
    assert_eq!(refused.fault(), Fault::Denied, "{refused}");
}

/// How a server asks for a password of `caching_sha2_password`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// It knows the user from before, and wants a proof only.
    Proof,
    /// It wants the password.
    Password,
}

/// A server that speaks as MySQL 8 does at a login, and says [`IN`] to all that comes after. What it was told in the clear, if anything.
struct MySql {
    port: u16,
    told: tokio::sync::mpsc::UnboundedReceiver<String>,
}

const IN: &str = "logged in";

impl MySql {
    async fn start(asks: Asks, certificates: &Certificates) -> Self {
        let chain = vec![CertificateDer::from_pem_file(certificates.path("server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(certificates.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle is what some cases are about.
                let _ = serve(stream, asks, &acceptor, &tell).await;
            }
        });
        Self { port, told }
    }
}

async fn serve(
    mut stream: TcpStream,
    asks: Asks,
    acceptor: &TlsAcceptor,
    tell: &tokio::sync::mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    // LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, SSL, TRANSACTIONS, SECURE_CONNECTION; PLUGIN_AUTH.
    let (lower, upper): (u16, u16) = (0x1 | 0x8 | 0x200 | 0x800 | 0x2000 | 0x8000, 0x8);
    let mut greeting = vec![10];
    greeting.extend(b"8.4.0\0\x01\0\0\0abcdefgh\0");
    greeting.extend(lower.to_le_bytes());
    greeting.extend([45, 2, 0]);
    greeting.extend(upper.to_le_bytes());
    greeting.push(21);
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0caching_sha2_password\0");
    write(&mut stream, 0, &greeting).await?;
    let (number, response) = read(&mut stream).await?;
    // Who wants TLS sends the beginning of its answer alone, and all of it once that is there.
    if response.len() == 32 {
        let mut stream = acceptor.accept(stream).await?;
        let (number, _) = read(&mut stream).await?;
        return log_in(&mut stream, number, asks, tell).await;
    }
    log_in(&mut stream, number, asks, tell).await
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut number: u8,
    asks: Asks,
    tell: &tokio::sync::mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
    match asks {
        Asks::Proof => {
            number += 1;
            write(stream, number, &[1, 3]).await?;
        }
        Asks::Password => {
            write(stream, number + 1, &[1, 4]).await?;
            let said;
            (number, said) = read(stream).await?;
            if said == [2] {
                write(stream, number + 1, b"\x01-----BEGIN PUBLIC KEY-----").await?;
                (number, _) = read(stream).await?;
            } else {
                let _ = tell.send(String::from_utf8_lossy(&said).trim_end_matches('\0').to_owned());
            }
        }
    }
    write(stream, number + 1, &OK).await?;
    loop {
        let (number, _) = read(stream).await?;
        let mut error = vec![0xff, 0x51, 0x04];
        error.extend(b"#HY000");
        error.extend(IN.as_bytes());
        write(stream, number + 1, &error).await?;
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    stream.write_all(&[length[0], length[1], length[2], number]).await?;
    stream.write_all(payload).await?;
    stream.flush().await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}

/// Wrong: nobody with MySQL 8 can log in; or a password goes over the network as it is; or why it does not is a feature of a library.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_mysql_8_is_told_over_tls_only() {
    use DatabaseTls::{Disabled, Required, VerifyIdentity};
    let certificates = Certificates::make();
    for (asks, tls, gets_in) in [
        (Asks::Proof, Disabled, true),
        (Asks::Password, Disabled, false),
        (Asks::Proof, VerifyIdentity, true),
        (Asks::Password, Required, true),
        (Asks::Password, VerifyIdentity, true),
    ] {
        let what = format!("asked for its {asks:?}, {tls:?}");
        let mut server = MySql::start(asks, &certificates).await;
        let pem = std::fs::read_to_string(certificates.path("own.crt")).unwrap();
        let login = Login { username: "anna".to_owned(), password: "a secret".to_owned() };
        let settings = Database { login, ..at("127.0.0.1", server.port, tls, Some(pem)) };
        let error = Probe::connect(&settings, DEADLINE).await.unwrap_err();
        assert_eq!(error.to_string().contains(IN), gets_in, "{what}: {error}");
        assert_eq!(server.told.try_recv().ok().as_deref(), (gets_in && asks == Asks::Password).then_some("a secret"));
        if !gets_in {
            assert!(
                matches!(error, DatabaseError::PasswordNeedsTls) && error.fault() == Fault::Denied,
                "{what}: {error:?}"
            );
            assert!(error.to_string().contains("set database.tls"), "{error}");
        }
    }
}
