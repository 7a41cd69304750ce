//! The configuration files of the node.

use super::addresses::PODS;
use crate::cgroup;
use crate::layout::Layout;
use crate::layout::on_node;

/// The network of the pods: a bridge, with addresses handed out by this node.
pub(super) fn pod_network() -> String {
    format!(
        r#"{{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "isDefaultGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {{ "type": "host-local", "subnet": "{PODS}" }}
    }},
    {{ "type": "portmap", "capabilities": {{ "portMappings": true }} }}
  ]
}}
"#
    )
}

pub(super) fn kubelet(layout: &Layout) -> String {
    let pki = layout.pki();
    let (pki, socket, logs) = (pki.display(), layout.containerd_socket(), layout.logs().join("pods"));
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         address: {address}\n\
         failCgroupV1: false\n\
         failSwapOn: false\n\
         cgroupDriver: cgroupfs\n\
         # Stacks share the machine's cgroups: each kubelet keeps to its own, or one would remove the pods of the other.\n\
         cgroupRoot: {cgroup}\n\
         oomScoreAdj: 0\n\
         kubeAPIQPS: 300\n\
         kubeAPIBurst: 600\n\
         # An image that was collected cannot be pulled again.\n\
         imageGCHighThresholdPercent: 100\n\
         evictionHard: {{memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}}\n\
         containerRuntimeEndpoint: unix://{socket}\n\
         podLogsDir: {logs}\n\
         resolvConf: \"\"\n\
         # Nobody answers there, and at once: without an address, every pod would get a warning.\n\
         clusterDNS: [{address}]\n\
         authentication: {{x509: {{clientCAFile: {pki}/ca.crt}}, webhook: {{enabled: true}}, anonymous: {{enabled: false}}}}\n\
         authorization: {{mode: Webhook}}\n\
         tlsCertFile: {pki}/kubelet.crt\n\
         tlsPrivateKeyFile: {pki}/kubelet.key\n",
        address = on_node(0).ip(),
        cgroup = cgroup::path(layout.name()),
        socket = socket.display(),
        logs = logs.display(),
    )
}

pub(super) fn kube_proxy(layout: &Layout) -> String {
    let pki = layout.pki();
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
         kind: KubeProxyConfiguration\n\
         mode: nftables\n\
         oomScoreAdj: 0\n\
         clusterCIDR: {PODS}\n\
         clientConnection: {{kubeconfig: {pki}/proxy.kubeconfig}}\n\
         # A new Service should not need a second to be reachable.\n\
         nftables: {{minSyncPeriod: 100ms}}\n\
         # The limits belong to the machine: leave them alone.\n\
         conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}\n",
        pki = pki.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_network_is_json() {
        let value: serde_json::Value = serde_json::from_str(&pod_network()).unwrap();
        assert_eq!(value["plugins"][0]["ipam"]["subnet"], PODS);
    }

    #[test]
    fn two_stacks_share_neither_cgroup_nor_socket_nor_logs() {
        let (a, b) = (kubelet(&Layout::new("a").unwrap()), kubelet(&Layout::new("b").unwrap()));
        for key in ["cgroupRoot", "containerRuntimeEndpoint", "podLogsDir"] {
            let line = |text: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
            assert_ne!(line(&a), line(&b));
        }
    }
}
