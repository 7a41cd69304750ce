//! MariaDB.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::layout::{DATABASE, OPERATOR_PASSWORD, OPERATOR_USER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::probe::Probe;
use crate::run::run;
use crate::secured::rights::{self, Who};
use crate::secured::{ADMIN, Authority};
use crate::server::{Server, command};

/// What is fixed when the data folder is made.
pub(crate) const INITIAL_SIZES: &str = "--innodb-log-file-size=64M";

/// The installed version.
pub(crate) fn version() -> Result<String> {
    let output = Command::new("mariadbd").args(["--no-defaults", "--version"]).output();
    let output = output.context("cannot run mariadbd: run `stack install`")?;
    ensure!(output.status.success(), "`mariadbd --version` failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes an empty data folder.
pub(crate) fn initialise(folder: &Path) -> Result<()> {
    let mut command = Command::new("mariadb-install-db");
    command.arg("--no-defaults").arg(format!("--datadir={}", folder.display())).arg(INITIAL_SIZES);
    run(command.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"]))
}

/// The socket of the server in this folder.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("sql.sock")
}

/// Prepares a MariaDB that stores its data in `folder`, at first a copy of the empty data folder `installed`; with `authority`, it
/// is secured.
pub(crate) fn server(
    installed: &Path,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    authority: Option<&Authority>,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let data = folder.join("data");
    if !data.exists() {
        let partial = folder.join("partial");
        crate::cache::remove_folder(&partial)?;
        run(Command::new("cp").args(["--archive", "--sparse=always"]).arg(installed).arg(&partial))?;
        fs::rename(&partial, &data)?;
    }
    // It names temporary tables by its process id, which servers of other stacks have as well, in their own namespaces.
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary)?;
    let grants = folder.join("grants.sql");
    fs::write(&grants, if authority.is_some() { secured_users()? } else { users() })?;
    let socket = socket(folder);
    let mut words = command![
        "mariadbd",
        "--no-defaults",
        "--user=root",
        format!("--datadir={}", data.display()),
        format!("--tmpdir={}", temporary.display()),
        format!("--socket={}", socket.display()),
        format!("--pid-file={}", folder.join("sql.pid").display()),
        format!("--init-file={}", grants.display()),
        format!("--bind-address={}", address.ip()),
        format!("--port={}", address.port()),
        "--skip-name-resolve",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_unicode_ci",
        "--default-time-zone=+00:00",
        "--max-connections=500",
        "--innodb-buffer-pool-size=256M",
        INITIAL_SIZES,
        "--innodb-flush-log-at-trx-commit=1",
    ];
    if let Some(authority) = authority {
        let (certificate, key) = (authority.certificate(), authority.key());
        words.push("--require-secure-transport=ON".to_owned());
        words.extend([format!("--ssl-cert={}", certificate.display()), format!("--ssl-key={}", key.display())]);
    }
    Ok(Server {
        name: "mariadb".to_owned(),
        command: words,
        log: log.to_owned(),
        address: address.to_string(),
        probe: Probe::MariaDb(address),
        once: None,
        ready_within: Duration::from_secs(30),
        after: Vec::new(),
        stores: true,
    })
}

/// Run by the server at every start, before it accepts connections; one statement a line. Tests may have databases of their own beside the
/// common one (`coupons_...`), so that they do not see each other.
fn users() -> String {
    let own = format!("`{DATABASE}\\_%`");
    format!(
        "CREATE DATABASE IF NOT EXISTS `{DATABASE}` CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{OPERATOR_USER}'@'%' IDENTIFIED BY '{OPERATOR_PASSWORD}';\n\
         CREATE USER IF NOT EXISTS '{WORKLOAD_USER}'@'%' IDENTIFIED BY '{WORKLOAD_PASSWORD}';\n\
         GRANT ALL ON `{DATABASE}`.* TO '{OPERATOR_USER}'@'%';\n\
         GRANT SELECT, INSERT, UPDATE ON `{DATABASE}`.* TO '{WORKLOAD_USER}'@'%';\n\
         GRANT ALL ON {own}.* TO '{OPERATOR_USER}'@'%';\n\
         GRANT SELECT, INSERT, UPDATE ON {own}.* TO '{WORKLOAD_USER}'@'%';\n"
    )
}

/// The same for a server that asks for TLS: operator and pods have the rights that README lists.
fn secured_users() -> Result<String> {
    let mut text = format!("CREATE DATABASE IF NOT EXISTS `{DATABASE}` CHARACTER SET utf8mb4;\n");
    for (user, password, who) in [
        (ADMIN.0, ADMIN.1, None),
        (OPERATOR_USER, OPERATOR_PASSWORD, Some(Who::Operator)),
        (WORKLOAD_USER, WORKLOAD_PASSWORD, Some(Who::Pods)),
    ] {
        let privileges = who.map_or_else(|| Ok("ALL".to_owned()), rights::database)?;
        text += &format!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}' REQUIRE SSL;\n");
        text += &format!("GRANT {privileges} ON `{DATABASE}`.* TO '{user}'@'%';\n");
    }
    Ok(text)
}
