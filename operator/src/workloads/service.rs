//! The Service through which users reach the issuers.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ChildContext, Component, selector};

/// Builds the Service: port 80, to every ready issuer.
pub fn issuer_service(family: &ChildContext<'_>) -> Service {
    Service {
        metadata: family.metadata(family.name(Component::Issuer), Some(Component::Issuer)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            // An address of each family that the cluster has.
            ip_family_policy: Some("PreferDualStack".to_owned()),
            selector: Some(selector(family.campaign, Component::Issuer)),
            // Said aloud, so that what somebody changes is put back: users are sent to every issuer that is ready, and to no other.
            internal_traffic_policy: Some("Cluster".to_owned()),
            session_affinity: Some("None".to_owned()),
            publish_not_ready_addresses: Some(false),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String("http".to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
