//! The same rules at a real API server: the definitions are accepted, and every case of the table is taken or refused with
//! the message that people should read. Needs KUBECONFIG.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::cases;
use common::cases::case::Expect;
use common::{Kind, examples};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, Config, ResourceExt};
use operator::api::{CampaignClass, CouponCampaign, manifests};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// A server with our definitions, and a namespace of this test's own.
struct Server {
    client: Client,
    namespace: String,
}

impl Server {
    async fn connect() -> Self {
        let path = std::env::var_os("KUBECONFIG")
            .expect("KUBECONFIG is not set: run through `make test`, which starts an API server");
        let file = Kubeconfig::read_from(&path).expect("KUBECONFIG names a file that cannot be read");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in manifests::definitions() {
            let name = crd.name_any();
            let force = PatchParams::apply("coupon-operator-tests").force();
            definitions.patch(&name, &force, &Patch::Apply(&crd)).await.unwrap();
            tokio::time::timeout(
                DEADLINE,
                await_condition(definitions.clone(), &name, conditions::is_crd_established()),
            )
            .await
            .unwrap_or_else(|_| panic!("{name} is not established after {DEADLINE:?}"))
            .unwrap();
        }
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"generateName": "cel-"}})).unwrap();
        let namespace = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any();
        let server = Self { client, namespace };
        for kind in [Kind::Campaign, Kind::Class] {
            server.until_served(kind).await;
        }
        server
    }

    /// An established definition answers 404 for a moment longer.
    async fn until_served(&self, kind: Kind) {
        let started = tokio::time::Instant::now();
        while let Err(error) = self.api(kind).list(&ListParams::default().limit(1)).await {
            assert!(started.elapsed() < DEADLINE, "{kind:?} is not served: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        match kind {
            Kind::Campaign => {
                Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<CouponCampaign>(&()))
            }
            Kind::Class => Api::all_with(self.client.clone(), &ApiResource::erase::<CampaignClass>(&())),
        }
    }

    async fn create(&self, kind: Kind, object: &Value, dry_run: bool) -> Result<DynamicObject, kube::Error> {
        let object = serde_json::from_value(object.clone()).unwrap();
        self.api(kind).create(&PostParams { dry_run, ..PostParams::default() }, &object).await
    }

    /// Creates `old` for real under a name of its own, then replaces it by `new` in a dry run.
    async fn update(&self, kind: Kind, index: usize, old: &Value, new: &Value) -> Result<DynamicObject, kube::Error> {
        // Classes are shared by the whole cluster: the namespace's name makes theirs unique.
        let name = json!(format!("{}-{index}", self.namespace));
        let (mut old, mut new) = (old.clone(), new.clone());
        old["metadata"]["name"] = name.clone();
        let stored = self.create(kind, &old, false).await.expect("the object before an update must be taken");
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let begin = Instant::now();
        let mut version = stored.metadata.resource_version.clone();
        let result = loop {
            new["metadata"] = json!({"name": name, "resourceVersion": version});
            let object = serde_json::from_value(new.clone()).unwrap();
            match self.api(kind).replace(&stored.name_any(), &dry_run, &object).await {
                // An operator in this cluster may write its finalizer and status meanwhile.
                Err(kube::Error::Api(status)) if status.is_conflict() && begin.elapsed() < DEADLINE => {
                    version = self.api(kind).get(&stored.name_any()).await.unwrap().metadata.resource_version;
                }
                result => break result,
            }
        };
        self.api(kind).delete(&stored.name_any(), &DeleteParams::default()).await.unwrap();
        result
    }

    async fn remove(self) {
        Api::<Namespace>::all(self.client).delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Whether the answer is the expected one: the schema names the path, a rule says its message.
fn as_expected(expect: Expect, result: &Result<DynamicObject, kube::Error>) -> bool {
    match (expect, result) {
        (Expect::Taken, Ok(_)) => true,
        (Expect::Schema(part) | Expect::Cel(part), Err(kube::Error::Api(status))) => {
            status.code == 422 && status.message.contains(part)
        }
        _ => false,
    }
}

#[tokio::test]
async fn every_case_of_the_table() {
    let server = Server::connect().await;
    let mut wrong = Vec::new();
    for (index, case) in cases::all().into_iter().enumerate() {
        let result = match case.before() {
            None => server.create(case.kind, &case.object(), true).await,
            Some(old) => server.update(case.kind, index, &old, &case.object()).await,
        };
        if !as_expected(case.expect, &result) {
            wrong.push(format!("{case:?}\n  {result:?}"));
        }
    }
    server.remove().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_server_fills_in_the_defaults() {
    let server = Server::connect().await;
    let campaign = server.create(Kind::Campaign, &Kind::Campaign.minimal(), true).await.unwrap();
    assert_eq!(
        campaign.data["spec"],
        json!({
            "totalQuantity": 100,
            "window": {"start": "2026-12-01T10:00:00+09:00", "end": "2026-12-01T12:00:00+09:00"},
            "perUserLimit": 1, "partitions": 3, "suspend": false, "acknowledge": "Durable", "keyBy": "User",
            "issuer": {},
            "consumer": {"minReplicas": 0, "drainTargetSeconds": 30},
            "deletionPolicy": "Retain",
        })
    );
    let class = server.create(Kind::Class, &Kind::Class.minimal(), true).await.unwrap();
    let spec = &class.data["spec"];
    let kafka = json!({
        "bootstrapServers": ["kafka-0.kafka:9092"], "security": {"protocol": "Plaintext"}, "replicationFactor": 3,
        "minInSyncReplicas": 2, "allowLowerReplication": false, "createTopics": true, "retentionHours": 168,
        "topicConfig": {},
        "names": {
            "topic": "{realm}.{namespace}.{couponId}.coupon-events", "deadLetterTopic": "{topic}.DLT",
            "consumerGroup": "{realm}.{namespace}.{couponId}.coupon-consumer",
        },
    });
    assert_eq!(spec["kafka"], kafka);
    assert_eq!(spec["database"]["port"], 3306);
    assert_eq!(spec["database"]["tls"], "VerifyIdentity");
    assert_eq!(spec["warmUpSeconds"], 300);
    let limits = json!({
        "maxTotalQuantity": 1_000_000, "maxPerUserLimit": 10, "maxPartitions": 24, "maxReplicas": 24, "maxWindowDays": 366,
        "campaignsPerNamespace": 100,
    });
    assert_eq!(spec["limits"], limits);
    assert_eq!(spec["namespaceSelector"], json!({"matchLabels": {"coupon-operator.io/enabled": "true"}}));
    // What the server filled in means the same to us as what we fill in ourselves.
    let ours: CampaignClass = serde_json::from_value(Kind::Class.minimal()).unwrap();
    let theirs: CampaignClass = serde_json::from_value(serde_json::to_value(&class).unwrap()).unwrap();
    assert_eq!(ours.spec, theirs.spec);
    server.remove().await;
}

#[tokio::test]
async fn every_example_is_taken() {
    let server = Server::connect().await;
    for (file, kind, mut object) in examples() {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
        // Another name: the product may be installed in this cluster, with a class of the example's name.
        object["metadata"]["name"] = json!(format!("{}-example", object["metadata"]["name"].as_str().unwrap()));
        if let Err(error) = server.create(kind, &object, true).await {
            panic!("{file}: {error}");
        }
    }
    server.remove().await;
}

#[tokio::test]
async fn short_names_and_the_category_are_found() {
    let server = Server::connect().await;
    let list = server.client.list_api_group_resources("coupon-operator.io/v1alpha1").await.unwrap();
    for (plural, short) in [("couponcampaigns", "cpn"), ("campaignclasses", "cpnclass")] {
        let found = list.resources.iter().find(|resource| resource.name == plural).unwrap();
        assert_eq!(found.short_names, Some(vec![short.to_owned()]));
        assert_eq!(found.categories, Some(vec!["coupons".to_owned()]));
        assert!(list.resources.iter().any(|resource| resource.name == format!("{plural}/status")));
    }
    server.remove().await;
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_with_their_values() {
    // A path that does not match shows an empty cell, and nobody is told: hence values, not only names.
    let server = Server::connect().await;
    let name = server.namespace.clone();
    let mut class = Kind::Class.minimal();
    class["metadata"] = json!({"name": name, "annotations": {"coupon-operator.io/is-default-class": "true"}});
    server.create(Kind::Class, &class, false).await.unwrap();
    server.create(Kind::Campaign, &Kind::Campaign.minimal(), false).await.unwrap();
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-12-01T00:00:00Z",
    }]);
    let status = json!({"status": {
        "phase": "Open", "issued": 7, "persisted": 5, "lag": 2, "className": "main", "conditions": ready,
        "terms": {
            "totalQuantity": 90, "perUserLimit": 1, "suspended": false,
            "window": {"start": "2026-12-01T01:00:00Z", "end": "2026-12-01T03:00:00Z"},
        },
    }});
    let campaigns = format!("/apis/coupon-operator.io/v1alpha1/namespaces/{name}/couponcampaigns/first-hundred");
    let expected: [(&str, Value); 9] = [
        ("Phase", json!("Open")),
        ("Issued", json!(7)),
        ("Total", json!(90)),
        ("Persisted", json!(5)),
        ("Lag", json!(2)),
        ("Ready", json!("True")),
        ("Window-Start", json!("2026-12-01T10:00:00+09:00")),
        ("Partitions", json!(3)),
        ("Class", json!("main")),
    ];
    // An operator in this cluster may write its first status meanwhile; then it leaves the object alone.
    let begin = Instant::now();
    loop {
        let (api, parameters) = (server.api(Kind::Campaign), PatchParams::default());
        api.patch_status("first-hundred", &parameters, &Patch::Merge(&status)).await.unwrap();
        let row = server.row(&campaigns).await;
        match expected.iter().find(|(column, value)| row[column] != *value) {
            None => break,
            Some((column, value)) => {
                assert!(begin.elapsed() < Duration::from_secs(20), "{column} is {}, not {value}", row[column]);
            }
        }
    }
    let row = server.row(&format!("/apis/coupon-operator.io/v1alpha1/campaignclasses/{name}")).await;
    assert_eq!((&row["Realm"], &row["Default"]), (&json!("prod"), &json!("true")));
    server.api(Kind::Class).delete(&name, &DeleteParams::default()).await.unwrap();
    server.remove().await;
}

impl Server {
    /// One object as `kubectl get` shows it: cells by column.
    async fn row(&self, path: &str) -> Value {
        let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table: Value = self.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
        let names =
            table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
        let cells = table["rows"][0]["cells"].as_array().unwrap().iter().cloned();
        names.map(str::to_owned).zip(cells).collect::<serde_json::Map<_, _>>().into()
    }
}
