//! The parts of a Kubernetes with one node.

mod addresses;
mod config;
mod pki;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use self::addresses::{API_PORT, ETCD, SERVICES};
use crate::layout::{Layout, NODE_IP, NODE_NAME, on_node};
use crate::probe::Probe;
use crate::server::{Server, command};
use crate::{containerd, install::Installed};

/// Writes the configuration and prepares the servers.
pub(crate) fn servers(installed: &Installed, layout: &Layout) -> Result<Vec<Server>> {
    pki::create(&layout.pki(), &layout.config())?;
    let folder = layout.config();
    fs::create_dir_all(folder.join("cni"))?;
    fs::write(folder.join("cni/10-pods.conflist"), config::pod_network())?;
    fs::write(folder.join("kubelet.yaml"), config::kubelet(layout))?;
    fs::write(folder.join("kube-proxy.yaml"), config::kube_proxy(layout))?;
    let parts = Parts { bin: &installed.kubernetes, layout };
    Ok(vec![
        containerd::server(layout, &installed.pause)?,
        parts.etcd(),
        parts.api_server(),
        parts.controller_manager(),
        parts.scheduler(),
        parts.kubelet(),
        parts.proxy(),
    ])
}

/// The names of the parts that make up Kubernetes.
pub(crate) const PART_NAMES: [&str; 7] =
    ["containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

struct Parts<'a> {
    bin: &'a Path,
    layout: &'a Layout,
}

impl Parts<'_> {
    fn part(&self, name: &str, arguments: Vec<String>, address: SocketAddr, probe: Probe, after: &[&str]) -> Server {
        let mut command = command![self.bin.join(name).display()];
        command.extend(arguments);
        Server {
            name: name.to_owned(),
            command,
            log: self.layout.log(name),
            address: address.to_string(),
            probe,
            once: None,
            ready_within: Duration::from_secs(60),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            stores: name == "etcd",
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> Probe {
        let mut command =
            command![self.bin.join("kubectl").display(), "--kubeconfig", self.layout.kubeconfig().display()];
        command.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Probe::Command(command)
    }

    fn pki(&self, file: &str) -> String {
        self.layout.pki().join(file).display().to_string()
    }

    fn etcd(&self) -> Server {
        let arguments = command![
            format!("--data-dir={}", self.layout.data().join("etcd").display()),
            // Losing the last writes in a power failure does not matter here.
            "--unsafe-no-fsync",
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ];
        let address = SocketAddr::from(([127, 0, 0, 1], 2379));
        self.part("etcd", arguments, address, Probe::Http(address, "/health"), &[])
    }

    fn api_server(&self) -> Server {
        let arguments = command![
            format!("--etcd-servers={ETCD}"),
            format!("--advertise-address={NODE_IP}"),
            format!("--secure-port={API_PORT}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            format!("--client-ca-file={}", self.pki("ca.crt")),
            format!("--tls-cert-file={}", self.pki("apiserver.crt")),
            format!("--tls-private-key-file={}", self.pki("apiserver.key")),
            format!("--kubelet-client-certificate={}", self.pki("kubelet-client.crt")),
            format!("--kubelet-client-key={}", self.pki("kubelet-client.key")),
            format!("--kubelet-certificate-authority={}", self.pki("ca.crt")),
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            format!("--service-account-key-file={}", self.pki("service-account.pub")),
            format!("--service-account-signing-key-file={}", self.pki("service-account.key")),
        ];
        let probe = self.kubectl(&["get", "--raw", "/readyz"]);
        self.part("kube-apiserver", arguments, on_node(API_PORT), probe, &["etcd"])
    }

    fn controller_manager(&self) -> Server {
        let mut arguments = self.as_client("controller-manager");
        arguments.extend(command![
            format!("--service-account-private-key-file={}", self.pki("service-account.key")),
            format!("--root-ca-file={}", self.pki("ca.crt")),
            format!("--cluster-signing-cert-file={}", self.pki("ca.crt")),
            format!("--cluster-signing-key-file={}", self.pki("ca.key")),
            "--use-service-account-credentials",
        ]);
        // Pods need this account; once it exists, the controllers run.
        let probe = self.kubectl(&["get", "--raw", "/api/v1/namespaces/default/serviceaccounts/default"]);
        self.part("kube-controller-manager", arguments, on_node(10257), probe, &["kube-apiserver"])
    }

    fn scheduler(&self) -> Server {
        let address = on_node(10259);
        self.part("kube-scheduler", self.as_client("scheduler"), address, Probe::Tcp(address), &["kube-apiserver"])
    }

    fn kubelet(&self) -> Server {
        let arguments = command![
            format!("--config={}", self.layout.config().join("kubelet.yaml").display()),
            format!("--kubeconfig={}", self.pki("kubelet.kubeconfig")),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE_IP}"),
        ];
        let probe = self.kubectl(&["wait", "--for=condition=Ready", &format!("node/{NODE_NAME}"), "--timeout=2s"]);
        self.part("kubelet", arguments, on_node(10250), probe, &["kube-apiserver", "containerd"])
    }

    fn proxy(&self) -> Server {
        let arguments = command![
            format!("--config={}", self.layout.config().join("kube-proxy.yaml").display()),
            format!("--hostname-override={NODE_NAME}"),
        ];
        let address = on_node(10256);
        self.part("kube-proxy", arguments, address, Probe::Http(address, "/livez"), &["kube-apiserver"])
    }

    fn as_client(&self, party: &str) -> Vec<String> {
        let kubeconfig = self.pki(&format!("{party}.kubeconfig"));
        command![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false",
            "--profiling=false",
            // The defaults make a fresh cluster wait some seconds for its own service accounts.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]
    }
}
