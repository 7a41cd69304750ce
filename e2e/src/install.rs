//! Installs the product as its users do: Secrets, Helm, a default class, a namespace that takes part.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use stack::Connections;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub use crate::logins::SYSTEM_NAMESPACE;
use crate::logins::{Login, trusted};
use crate::url::{Url, scheme};

/// The realm of the default class.
pub const REALM: &str = "local";
/// How long before a window the pods are started, in seconds.
pub const WARM_UP_SECONDS: u32 = 20;

/// The Secret with the operator's logins.
pub const OPERATOR_SECRET: &str = "coupon-admin";
/// The Secret with the pods' logins.
pub const WORKLOAD_SECRET: &str = "coupon-workload";
/// The Secret with the certificates that are trusted, where servers are secured.
pub const AUTHORITY_SECRET: &str = "coupon-authority";

/// Runs a program to its end and returns what it printed; an error carries what it complained about.
pub async fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = tokio::time::timeout(Duration::from_secs(180), child.wait_with_output())
        .await
        .with_context(|| format!("{program} {} took longer than 180 s", arguments.join(" ")))??;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `kubectl` with these arguments.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    run("kubectl", arguments, None).await
}

/// `kubectl apply -f -` of one object.
pub async fn apply(object: &Value) -> Result<String> {
    run("kubectl", &["apply", "-f", "-"], Some(&object.to_string())).await
}

/// The chart's folder.
fn chart() -> String {
    format!("{}/../charts/coupon-operator", env!("CARGO_MANIFEST_DIR"))
}

/// Installs the operator and its default class, and waits until the operator is ready.
pub async fn install(connections: &Connections) -> Result<()> {
    install_image(connections, &image("COUPON_IMAGE")?).await
}

/// The image that this variable names.
pub fn image(variable: &str) -> Result<String> {
    std::env::var(variable)
        .with_context(|| format!("{variable} is not set: run this through `make demo` or `make test`"))
}

/// Installs the operator of this image, or upgrades to it or goes back, and waits until it is ready.
pub async fn install_image(connections: &Connections, image: &str) -> Result<()> {
    let (repository, tag) = image.rsplit_once(':').context("COUPON_IMAGE has no tag")?;
    namespace(SYSTEM_NAMESPACE, false).await?;
    for secret in secrets(connections)? {
        apply(&secret).await?;
    }
    let image_repository = format!("image.repository={repository}");
    let image_tag = format!("image.tag={tag}");
    let chart = chart();
    run(
        "helm",
        &[
            "upgrade",
            "--install",
            "coupon-operator",
            &chart,
            "--namespace",
            SYSTEM_NAMESPACE,
            "--set",
            &image_repository,
            "--set",
            &image_tag,
            // There is one node: a second replica would only wait, and tests look at the one that works.
            "--set",
            "replicaCount=1",
            "--wait",
            "--timeout",
            "120s",
        ],
        None,
    )
    .await?;
    kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd/couponcampaigns.coupon-operator.io"])
        .await?;
    apply(&class("default", connections, true)?).await?;
    Ok(())
}

/// Makes a namespace, and lets it take part if asked to.
pub async fn namespace(name: &str, takes_part: bool) -> Result<()> {
    let labels = if takes_part { json!({"coupon-operator.io/enabled": "true"}) } else { json!({}) };
    apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})).await?;
    Ok(())
}

/// The Secrets that [`class`] names.
pub fn secrets(connections: &Connections) -> Result<Vec<Value>> {
    if let Some(trusted) = trusted(connections)? {
        let logins = [Login::operator().secret(OPERATOR_SECRET), Login::workload().secret(WORKLOAD_SECRET)];
        return Ok(logins.into_iter().chain([authority_secret(&trusted)]).collect());
    }
    let of = |name, database: &Option<String>, redis: &Option<String>| -> Result<Value> {
        let (database, redis) = (database.as_deref().context("no database")?, redis.as_deref().context("no Redis")?);
        Ok(secret(name, &Url::parse(database)?, &Url::parse(redis)?))
    };
    Ok(vec![
        of(OPERATOR_SECRET, &connections.database, &connections.redis)?,
        of(WORKLOAD_SECRET, &connections.database_workload, &connections.redis_workload)?,
    ])
}

/// The Secret with the certificates that are trusted.
pub fn authority_secret(trusted: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": AUTHORITY_SECRET, "namespace": SYSTEM_NAMESPACE},
        "stringData": {"ca.crt": trusted}
    })
}

fn secret(name: &str, database: &Url, redis: &Url) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
        "stringData": {
            "redis-username": redis.user, "redis-password": redis.password,
            "database-username": database.user, "database-password": database.password,
        }
    })
}

/// A class that points to the stack's own services.
pub fn class(name: &str, connections: &Connections, default: bool) -> Result<Value> {
    let database = Url::parse(connections.database.as_deref().context("no database")?)?;
    let redis = Url::parse(connections.redis.as_deref().context("no Redis")?)?;
    let kafka = connections.kafka.as_deref().context("no Kafka")?;
    let (host, port) = database.address.split_once(':').context("the database has no port")?;
    let brokers: Vec<&str> = kafka.split(',').collect();
    let mut class = json!({
        "apiVersion": "coupon-operator.io/v1alpha1", "kind": "CampaignClass",
        "metadata": {
            "name": name,
            "annotations": {"coupon-operator.io/is-default-class": default.to_string()},
        },
        "spec": {
            "realm": REALM,
            "kafka": {
                "bootstrapServers": brokers, "security": {"protocol": "Plaintext"},
                // One broker will do on a laptop; the class says so aloud.
                "replicationFactor": 3, "minInSyncReplicas": 2, "allowLowerReplication": true,
            },
            "redis": {"url": format!("{}://{}", scheme(connections), redis.address)},
            "database": {"host": host, "port": port.parse::<u16>()?, "name": database.path, "tls": "Disabled"},
            "credentials": {
                "operator": {"secretName": OPERATOR_SECRET},
                "workload": {"secretName": WORKLOAD_SECRET},
            },
            "warmUpSeconds": WARM_UP_SECONDS,
            // Proofs ask for more than anybody should.
            "limits": {"maxTotalQuantity": 10_000_000, "campaignsPerNamespace": 10_000},
            "pods": {
                // The machine is small, and several sales run at once.
                "issuer": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}},
                "consumer": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}},
            },
        }
    });
    if connections.authority.is_some() {
        let trusted = json!({"name": AUTHORITY_SECRET});
        let spec = class.get_mut("spec").context("the class has no spec")?;
        spec["kafka"]["security"] =
            json!({"protocol": "SaslTls", "mechanism": "ScramSha512", "caSecretRef": trusted.clone()});
        spec["redis"]["caSecretRef"] = trusted.clone();
        spec["database"]["tls"] = json!("VerifyIdentity");
        spec["database"]["caSecretRef"] = trusted;
    }
    Ok(class)
}
