//! What the unit tests begin with: a campaign, a class, and a point in time.

use campaign::identity::CampaignId;
use campaign::settings;
use campaign::table::{CampaignRow, CampaignRowId};
use serde_json::json;

use crate::api::{CampaignClass, CouponCampaign, TermsStatus, WindowStatus};

/// `window.start` of [`campaign`]: 2026-12-01T10:00:00Z.
pub const START: i64 = 1_796_119_200_000;
/// `window.end`, two hours later.
pub const END: i64 = START + 2 * HOUR;
/// When the pods must be on their way: the class' default of 5 minutes before the start.
pub const LEAD: i64 = START - 5 * MINUTE;
/// In milliseconds.
pub const MINUTE: i64 = 60_000;
/// In milliseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// 100 coupons, 3 partitions, one issuer at least, for two hours from [`START`]; all else as the defaults are.
pub fn campaign() -> CouponCampaign {
    serde_json::from_value(json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CouponCampaign",
        "metadata": {"name": "spring", "namespace": "shop", "uid": "0001", "generation": 1},
        "spec": {
            "totalQuantity": 100,
            "window": {"start": "2026-12-01T10:00:00Z", "end": "2026-12-01T12:00:00Z"},
            "issuer": {"minReplicas": 1},
        },
    }))
    .unwrap()
}

/// A class with defaults.
pub fn class() -> CampaignClass {
    serde_json::from_value(json!({
        "apiVersion": "coupon-operator.io/v1alpha1",
        "kind": "CampaignClass",
        "metadata": {"name": "main"},
        "spec": {
            "realm": "prod",
            "kafka": {"bootstrapServers": ["kafka:9092"], "security": {"protocol": "Plaintext"}},
            "redis": {"url": "redis://redis:6379"},
            "database": {"host": "mysql", "name": "coupons"},
            "credentials": {"operator": {"secretName": "operator"}, "workload": {"secretName": "workload"}},
        },
    }))
    .unwrap()
}

/// The identity of [`campaign`] in [`class`].
pub fn id() -> CampaignId {
    CampaignId::new("prod", "shop", "spring").unwrap()
}

/// What the pods connect to.
pub fn connections() -> settings::Connections {
    settings::Connections {
        kafka: settings::Kafka {
            bootstrap_servers: vec!["kafka:9092".to_owned()],
            protocol: settings::KafkaProtocol::Plaintext,
            mechanism: None,
            login: settings::Login::default(),
            ca_pem: None,
        },
        redis: settings::Redis {
            server: settings::RedisServer::Address("redis:6379".to_owned()),
            login: settings::Login::default(),
            tls: false,
            database: 0,
            ca_pem: None,
        },
        database: settings::Database {
            host: "mysql".to_owned(),
            port: 3306,
            name: "coupons".to_owned(),
            login: settings::Login::default(),
            tls: settings::DatabaseTls::Disabled,
            ca_pem: None,
        },
    }
}

/// The row of [`campaign`], just registered.
pub fn row() -> CampaignRow {
    CampaignRow {
        id: CampaignRowId(1),
        total: 100,
        terms_number: 0,
        epoch: 0,
        open_epoch: None,
        topic_id: None,
        kafka_cluster_id: None,
        opened_start_ms: None,
        opened_end_ms: None,
        opened_user_limit: None,
        opened_key_by: None,
        object_uid: Some("0001".to_owned()),
        issued_count: 0,
    }
}

/// The terms of [`campaign`] as status shows them.
pub fn terms_status(suspended: bool) -> TermsStatus {
    let window = campaign().spec.window;
    let window = WindowStatus { start: window.start.0, end: window.end.0 };
    TermsStatus { total_quantity: 100, window, per_user_limit: 1, suspended }
}
