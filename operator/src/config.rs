//! The operator's configuration: flags or environment, read once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::workloads::OperatorPods;

/// Gives exactly N coupons to the first N people: the Kubernetes operator.
#[derive(Debug, Parser)]
#[command(name = "coupon-operator", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watches campaigns and brings the world to what they say.
    Run(Config),
    /// The tables in SQL, for who has a database administrator make them.
    #[command(subcommand)]
    Migrations(Migrations),
}

/// What can be done about the tables.
#[derive(Debug, Subcommand)]
pub enum Migrations {
    /// Prints the SQL that makes them, to be piped into `mariadb` or `mysql`. It may be run again.
    Print {
        /// The first schema version to print: one above that of the operator that works now.
        #[arg(long, default_value_t = 1)]
        from: i64,
    },
    /// Prints the SQL that makes the views for reports: who holds which coupon, in text and UTC. It may be run again.
    Views,
}

/// How the operator runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Name of this pod: who holds the lease, and who reports events.
    #[arg(long, env = "POD_NAME", default_value = "coupon-operator")]
    pub pod_name: String,
    /// Namespace of this pod: the lease and, unless a class says otherwise, the credentials are here.
    #[arg(long, env = "POD_NAMESPACE", default_value = "coupon-system")]
    pub pod_namespace: String,
    /// Image of issuer and consumer pods, unless a class names another: the operator's own.
    #[arg(long, env = "COUPON_IMAGE")]
    pub image: String,
    /// When that image is pulled; as Kubernetes decides if unset.
    #[arg(long, env = "COUPON_IMAGE_PULL_POLICY")]
    pub image_pull_policy: Option<String>,
    /// Name of this cluster in ledgers, at most 64 bytes; if unset, the UID of its namespace `kube-system`. No two clusters of a realm may have
    /// the same.
    #[arg(long, env = "COUPON_CLUSTER_ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,
    /// Labels of this operator's pods, `key=value` separated by commas: what NetworkPolicies of campaigns let in. If unset, every pod of its
    /// namespace is let in.
    #[arg(long, env = "COUPON_POD_LABELS", value_parser = labels, default_value = "")]
    pub pod_labels: Labels,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "COUPON_PROBE_LISTEN", default_value = "[::]:8080")]
    pub probe_listen: SocketAddr,
    /// File to which the addresses that are listened on are written, as JSON, once all are bound: for whoever asked for port 0.
    #[arg(long, env = "COUPON_ADDRESSES_FILE")]
    pub addresses_file: Option<PathBuf>,
    /// Logs as JSON instead of plain lines.
    #[arg(long, env = "COUPON_LOG_JSON", default_value_t = false, action = clap::ArgAction::Set)]
    pub log_json: bool,
}

/// Labels of pods.
pub type Labels = std::sync::Arc<BTreeMap<String, String>>;

impl Config {
    /// Where this operator is, seen from the network.
    pub fn operator_pods(&self) -> OperatorPods {
        OperatorPods { namespace: self.pod_namespace.clone(), labels: (*self.pod_labels).clone() }
    }
}

fn labels(text: &str) -> Result<Labels, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not key=value"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect::<Result<BTreeMap<_, _>, String>>().map(Labels::new)
}

fn cluster_id(text: &str) -> Result<String, String> {
    let fits = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    fits.then(|| text.to_owned()).ok_or_else(|| "give at most 64 letters, digits, `-`, `.` or `_`".to_owned())
}
