//! A class on the stack's servers, parts of which a test replaces.

use std::sync::Arc;

use coupon_testing::servers::{self, variable};
pub(crate) use coupon_testing::servers::{database, redis};
use operator::api::CampaignClass;
use operator::class::ClassConnections;
use operator::class::measure::{Measured, System, measure};
use operator::class::pools::Systems;
use serde_json::{Value, json};

/// What the stack's servers are reached with.
pub(crate) fn connections() -> ClassConnections {
    ClassConnections { operator: servers::connections(), workload: servers::workload_connections() }
}

/// A class as an object; what it says of servers counts only for Kafka's topics.
pub(crate) fn class(name: &str) -> Value {
    json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CampaignClass",
        "metadata": {"name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "realm": "measure",
            "kafka": {
                "bootstrapServers": variable("COUPON_KAFKA").split(',').collect::<Vec<_>>(),
                "security": {"protocol": "Plaintext"},
                "replicationFactor": 1, "minInSyncReplicas": 1, "allowLowerReplication": true,
            },
            "redis": {"url": "redis://redis:6379"},
            "database": {"host": "mysql", "name": "coupons", "tls": "Disabled"},
            "credentials": {"operator": {"secretName": "operator"}, "workload": {"secretName": "workload"}},
        },
    })
}

/// One look.
pub(crate) async fn look(connections: &ClassConnections, class: &Value) -> Measured {
    let class: CampaignClass = serde_json::from_value(class.clone()).unwrap();
    let systems = Arc::new(Systems::new(connections.clone()).unwrap());
    measure(&systems, &class).await
}

/// Nothing is wrong.
pub(crate) fn assert_well(measured: &Measured, after: &str) {
    assert!(
        measured.findings.is_empty(),
        "{after}: {:?}",
        measured.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
}

/// This, and nothing of the other systems, is wrong.
pub(crate) fn assert_found(measured: &Measured, system: System, reason: &str, says: &[&str], what: &str) {
    let (found, text) = measured.trouble(system).unwrap_or_else(|| panic!("{what}: nothing is found"));
    assert_eq!(found, reason, "{what}: {text}");
    for each in says {
        assert!(text.contains(each), "{what}: `{each}` is not in: {text}");
    }
    assert!(measured.findings.iter().all(|finding| finding.system == system), "{what}: others are blamed");
    for never in ["pool timed out", "user_script", "attempt to"] {
        assert!(!text.contains(never) || reason == "RedisRightMissing", "{what}: {text}");
    }
}
