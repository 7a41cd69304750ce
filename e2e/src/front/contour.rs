//! A real controller of HTTPRoutes and Ingresses: Contour, which tells a real Envoy what they say, as in somebody's cluster.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stack::child::{Running, folder, output};
use stack::layout::{NODE_IP, on_node};
use stack::services::Certificate;

use super::gateway::program;
use crate::install::{apply, kubectl, namespace};

/// How long one may take to start.
const START: Duration = Duration::from_secs(30);
/// Where Contour tells Envoy what to do.
const TOLD_PORT: u16 = 18_001;
/// The ports of the Gateway. Contour has Envoy listen so many above them, as it need not be root there.
const HTTP_PORT: u16 = 8_081;
const HTTPS_PORT: u16 = 8_443;
const ABOVE: u16 = 8_000;

/// The namespace of the Gateway.
pub const NAMESPACE: &str = "gateways";
/// Its name.
pub const GATEWAY: &str = "public";
/// Its listener for TLS.
pub const LISTENER: &str = "https";
/// The class of the Ingresses that are taken.
pub const INGRESS_CLASS: &str = "contour";

/// Contour and its Envoy; ended when dropped.
pub struct Contour {
    controller: Running,
    envoy: Running,
}

impl Contour {
    /// Where users come in by TLS.
    pub fn address() -> SocketAddr {
        on_node(HTTPS_PORT + ABOVE)
    }

    /// Brings in the kinds that it reads and one Gateway, whose certificate this is, and starts both.
    ///
    /// # Errors
    /// The stack is without it, or the Gateway does not come up.
    pub async fn start(certificate: &Certificate) -> Result<Self> {
        define().await?;
        namespace(NAMESPACE, false).await?;
        apply(&secret(NAMESPACE, GATEWAY, certificate)?).await?;
        for object in gateway() {
            apply(&object).await?;
        }
        let started = Self { controller: controller()?, envoy: envoy()? };
        let is_programmed =
            async || kubectl(&["wait", "gateway", GATEWAY, "-n", NAMESPACE, "--for=condition=Programmed"]).await.ok();
        started.controller.eventually("the Gateway is programmed", START, is_programmed).await?;
        started.alive()?;
        Ok(started)
    }

    /// Fails if one of them has ended.
    ///
    /// # Errors
    /// With its last words.
    pub fn alive(&self) -> Result<()> {
        self.controller.alive()?;
        self.envoy.alive()
    }
}

/// The Secret of a certificate for TLS.
///
/// # Errors
/// A file of it was removed.
pub fn secret(namespace: &str, name: &str, certificate: &Certificate) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": std::fs::read_to_string(certificate.chain())?, "tls.key": std::fs::read_to_string(certificate.key())?,
        },
    }))
}

/// Brings in the Gateway API, and what Contour has besides.
async fn define() -> Result<()> {
    let folder = std::env::var("COUPON_CONTOUR").context("COUPON_CONTOUR is not set: stack up --with contour")?;
    for file in ["gateway-api.yaml", "own.yaml"] {
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &format!("{folder}/{file}")]).await?;
    }
    kubectl(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).await.map(drop)
}

fn gateway() -> [Value; 2] {
    let api = "gateway.networking.k8s.io/v1";
    let everybody = json!({"namespaces": {"from": "All"}});
    let class = json!({
        "apiVersion": api, "kind": "GatewayClass", "metadata": {"name": INGRESS_CLASS},
        "spec": {"controllerName": "projectcontour.io/gateway-controller"},
    });
    let gateway = json!({
        "apiVersion": api, "kind": "Gateway", "metadata": {"namespace": NAMESPACE, "name": GATEWAY},
        "spec": {"gatewayClassName": INGRESS_CLASS, "listeners": [
            {"name": "http", "protocol": "HTTP", "port": HTTP_PORT, "allowedRoutes": everybody},
            {
                "name": LISTENER, "protocol": "HTTPS", "port": HTTPS_PORT, "allowedRoutes": everybody,
                "tls": {"mode": "Terminate", "certificateRefs": [{"name": GATEWAY}]},
            },
        ]},
    });
    [class, gateway]
}

fn controller() -> Result<Running> {
    let folder = folder("coupon-contour")?;
    let config = folder.join("contour.yaml");
    let text = json!({"gateway": {"gatewayRef": {"namespace": NAMESPACE, "name": GATEWAY}}}).to_string();
    std::fs::write(&config, text)?;
    let mut command = program("contour");
    command.args(["serve", "--insecure", "--disable-leader-election", "--xds-address", "127.0.0.1", "--xds-port"]);
    command.arg(TOLD_PORT.to_string()).arg("--config-path").arg(config);
    command.args(["--ingress-class-name", INGRESS_CLASS, "--ingress-status-address", &NODE_IP.to_string()]);
    command.arg("--kubeconfig").arg(std::env::var("KUBECONFIG").context("KUBECONFIG is not set: run inside a stack")?);
    Running::start("contour", command, folder)
}

fn envoy() -> Result<Running> {
    let folder = folder("coupon-envoy")?;
    let config = folder.join("envoy.json");
    let mut bootstrap = program("contour");
    bootstrap.arg("bootstrap").arg(&config).args(["--xds-address", "127.0.0.1", "--xds-port", &TOLD_PORT.to_string()]);
    bootstrap.arg("--admin-address").arg(folder.join("admin.sock"));
    let made = output("contour bootstrap", bootstrap, START)?;
    anyhow::ensure!(made.status.success(), "contour bootstrap: {}", String::from_utf8_lossy(&made.stderr));
    let mut command = program("envoy");
    command.arg("-c").arg(config).args(["--service-cluster", "coupons", "--service-node", "one"]);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
    Running::start("envoy", command, folder)
}
