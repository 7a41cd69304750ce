//! One certificate authority, and a certificate and a kubeconfig for each party.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::addresses::{API_PORT, API_SERVICE};
use crate::layout::{NODE_IP, NODE_NAME, on_node};
use crate::run::run;

struct Party {
    name: &'static str,
    subject: String,
    /// Other names under which a server is reached.
    names: String,
    /// Whether it talks to the API server, and so has a kubeconfig.
    client: bool,
}

fn parties() -> Vec<Party> {
    let client = |name, subject: &str| Party { name, subject: subject.to_owned(), names: String::new(), client: true };
    let api_names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost";
    vec![
        Party {
            name: "apiserver",
            subject: "/CN=kube-apiserver".to_owned(),
            names: format!("{api_names},IP:127.0.0.1,IP:{NODE_IP},IP:{API_SERVICE}"),
            client: false,
        },
        Party { client: false, ..client("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client") },
        Party {
            names: format!("DNS:{NODE_NAME},IP:{NODE_IP}"),
            ..client("kubelet", &format!("/O=system:nodes/CN=system:node:{NODE_NAME}"))
        },
        client("admin", "/O=system:masters/CN=admin"),
        client("controller-manager", "/CN=system:kube-controller-manager"),
        client("scheduler", "/CN=system:kube-scheduler"),
        client("proxy", "/CN=system:kube-proxy"),
    ]
}

/// Fills the folder, unless it is filled already. `scratch` is for files that nobody needs afterwards.
pub(super) fn create(folder: &Path, scratch: &Path) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(scratch)?;
    let partial = folder.with_extension("partial");
    crate::cache::remove_folder(&partial)?;
    fs::create_dir_all(&partial)?;
    fill(&partial, scratch, folder).context("making certificates failed")?;
    Ok(fs::rename(&partial, folder)?)
}

fn fill(folder: &Path, scratch: &Path, final_folder: &Path) -> Result<()> {
    let parties = parties();
    let config = scratch.join("openssl.cnf");
    fs::write(&config, extensions(&parties))?;
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments).current_dir(folder));
    let config = config.display().to_string();
    let request = [
        "req",
        "-x509",
        "-config",
        &config,
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "3650",
    ];
    openssl(
        &[&request[..], &["-extensions", "ca", "-subj", "/CN=local-ca", "-keyout", "ca.key", "-out", "ca.crt"]]
            .concat(),
    )?;
    for party in &parties {
        let (key, certificate) = (format!("{}.key", party.name), format!("{}.crt", party.name));
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-extensions", party.name, "-subj", &party.subject];
        openssl(&[&request[..], &signed, &["-keyout", &key, "-out", &certificate]].concat())?;
        if party.client {
            fs::write(folder.join(format!("{}.kubeconfig", party.name)), kubeconfig(party.name, final_folder))?;
        }
    }
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    openssl(&[&["genpkey"], &curve[..], &["-out", "service-account.key"]].concat())?;
    openssl(&["pkey", "-in", "service-account.key", "-pubout", "-out", "service-account.pub"])
}

/// OpenSSL's configuration: a section of extensions for each party.
fn extensions(parties: &[Party]) -> String {
    let mut text = "[req]\ndistinguished_name = name\n[name]\n\
                    [ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign,digitalSignature\nsubjectKeyIdentifier = hash\n"
        .to_owned();
    for party in parties {
        text.push_str(&format!(
            "[{}]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = clientAuth,serverAuth\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n",
            party.name
        ));
        if !party.names.is_empty() {
            text.push_str(&format!("subjectAltName = {}\n", party.names));
        }
    }
    text
}

fn kubeconfig(party: &str, folder: &Path) -> String {
    let (server, folder) = (on_node(API_PORT), folder.display());
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters: [{{name: local, cluster: {{server: \"https://{server}\", certificate-authority: {folder}/ca.crt}}}}]\n\
         users: [{{name: {party}, user: {{client-certificate: {folder}/{party}.crt, client-key: {folder}/{party}.key}}}}]\n\
         contexts: [{{name: local, context: {{cluster: local, user: {party}}}}}]\n\
         current-context: local\n"
    )
}
