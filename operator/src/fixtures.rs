//! What the unit tests begin with: a campaign, a class, and a point in time.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use coupon_core::connections;
use coupon_core::identity::CampaignId;
use coupon_core::names::KafkaNames;
use coupon_ledger::database::{CampaignRow, CampaignRowId, Custody};
use coupon_runtime::telemetry;
use http::{Request, Response};
use kube::client::Body;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::store;
use kube::{Client, Resource};
use serde_json::{Value, json};

use crate::api::{CampaignClass, CouponCampaign, TermsStatus, WindowStatus};
use crate::config::{Cli, Command};
use crate::context::Context;
use crate::issuer_client::pods::PodClient;
use crate::metrics::Metrics;

/// The cluster that ledgers are in.
pub(crate) const CLUSTER: &str = "here";
/// `window.start` of [`campaign`]: 2026-12-01T10:00:00Z.
pub(crate) const START: i64 = 1_796_119_200_000;
/// `window.end`, two hours later.
pub(crate) const END: i64 = START + 2 * HOUR;
/// When the pods must be on their way: the class' default of 5 minutes before the start.
pub(crate) const LEAD: i64 = START - 5 * MINUTE;
/// In milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
/// In milliseconds.
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// 100 coupons, 3 partitions, one issuer at least, for two hours from [`START`]; all else as the defaults are.
pub(crate) fn campaign() -> CouponCampaign {
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
pub(crate) fn class() -> CampaignClass {
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
pub(crate) fn id() -> CampaignId {
    CampaignId::with_default_names("prod", "shop", "spring").unwrap()
}

/// What the pods connect to.
pub(crate) fn connections() -> connections::Connections {
    connections::Connections {
        kafka: connections::Kafka {
            bootstrap_servers: vec!["kafka:9092".to_owned()],
            protocol: connections::KafkaProtocol::Plaintext,
            mechanism: None,
            login: connections::Login::default(),
            ca_pem: None,
        },
        redis: connections::Redis {
            server: connections::RedisServer::Address("redis:6379".to_owned()),
            login: connections::Login::default(),
            tls: false,
            database: 0,
            ca_pem: None,
        },
        database: connections::Database {
            host: "mysql".to_owned(),
            port: 3306,
            name: "coupons".to_owned(),
            login: connections::Login::default(),
            tls: connections::DatabaseTls::Disabled,
            ca_pem: None,
        },
        kafka_names: KafkaNames::default(),
    }
}

/// The row of [`campaign`], just registered.
pub(crate) fn row() -> CampaignRow {
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
        custody: Custody { owner: Some(CLUSTER.to_owned()), ..Custody::default() },
        issued_count: 0,
        keys_removed_ms: None,
    }
}

/// The terms of [`campaign`] as status shows them.
pub(crate) fn terms_status(suspended: bool) -> TermsStatus {
    let window = campaign().spec.window;
    let window = WindowStatus { start: window.start.0, end: window.end.0 };
    TermsStatus { total_quantity: 100, window, per_user_limit: 1, suspended }
}

/// What was written, and where: path and query.
pub(crate) type Written = Arc<Mutex<Vec<(String, Value)>>>;

/// What passes share, of an operator that sees nothing, at an API server that takes everything.
pub(crate) fn context() -> (Context, Written) {
    fn nothing<K: Resource<DynamicType = ()> + Clone + 'static>() -> kube::runtime::reflector::Store<K> {
        store().0
    }
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let written = Written::default();
    let log = Arc::clone(&written);
    tokio::spawn(async move {
        while let Some((request, answer)) = handle.next_request().await {
            let (uri, path) = (request.uri().to_string(), request.uri().path().to_owned());
            let body = request.into_body().collect_bytes().await.unwrap();
            log.lock().unwrap().push((uri, serde_json::from_slice(&body).unwrap_or_default()));
            let object = match () {
                () if path.contains("/couponcampaigns/") => serde_json::to_vec(&campaign()).unwrap(),
                () if path.contains("/campaignclasses/") => serde_json::to_vec(&class()).unwrap(),
                () => body.to_vec(),
            };
            answer.send_response(Response::new(Body::from(object)));
        }
    });
    let client = Client::new(service, "coupon-system");
    let Command::Run(config) = Cli::parse_from(["coupon-operator", "run", "--image", "example.com/coupon:0"]).command
    else {
        panic!("it runs")
    };
    let recorder = Recorder::new(client.clone(), Reporter::from("test"));
    let metrics = Metrics::new(&telemetry::registry("coupon"));
    let (unreadable, _) = crate::controller::unreadable::UnreadableObjects::new(metrics.clone(), recorder.clone());
    let context = Context {
        recorder,
        client,
        config,
        systems: crate::class::pools::SystemsByClass::default(),
        campaigns: nothing(),
        classes: nothing(),
        last_classes: crate::class::in_use::LastKnown::default(),
        namespaces: nothing(),
        deployments: nothing(),
        pods: nothing(),
        autoscalers: nothing(),
        endpoints: nothing(),
        unreadable: Arc::new(unreadable),
        filled: tokio::sync::OnceCell::new(),
        started: Instant::now(),
        metrics,
        http: PodClient::new().unwrap(),
        memory: crate::reconcile::memory::Memories::default(),
        repairs: crate::ledger::epoch::Queue::default(),
        class_doubted: tokio::sync::Notify::new(),
    };
    (context, written)
}
