//! One cluster: its API server and its operator, and what they say.

use std::sync::Arc;

use clap::Parser;
use coupon_core::connections::Login;
use coupon_core::identity::CampaignId;
use coupon_core::names::KafkaNames;
use coupon_runtime::telemetry;
use operator::config::{Cli, Command};
use operator::controller::campaign;
use operator::controller::health::Health;
use operator::metrics::Metrics;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::api::Api;
use super::wait::{NAME, NAMESPACE, until};

pub(crate) fn run(api: &Api, name: Option<&str>) -> JoinHandle<()> {
    let mut arguments = vec!["coupon-operator", "run", "--image", "example.com/coupon:0"];
    arguments.extend(name.into_iter().flat_map(|name| ["--cluster-id", name]));
    let Command::Run(config) = Cli::parse_from(arguments).command else { panic!("it runs") };
    let metrics = Metrics::new(&telemetry::registry("coupon"));
    let run = campaign::run(api.client(), config, metrics, Arc::new(Health::default()), std::future::pending::<()>());
    tokio::spawn(run)
}

/// One cluster.
pub(crate) struct Cluster {
    pub(crate) uid: &'static str,
    pub(crate) api: Api,
    pub(crate) realm: CampaignId,
    /// With which login pods are at Redis.
    pub(crate) pods: Login,
    pub(crate) operator: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Its operator is gone; its pods are not.
    pub(crate) async fn stop(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.abort();
            drop(operator.await);
        }
    }

    /// An operator is at work again.
    pub(crate) fn starts(&mut self) {
        self.operator = Some(run(&self.api, None));
    }

    /// The class is made again, with these names.
    pub(crate) fn names_topics(&self, names: &KafkaNames) {
        let patch = json!({"metadata": {"name": "main"}, "spec": {"kafka": {"names": names}}});
        self.api.apply("campaignclasses", "", &patch);
    }

    /// The class is made again, in this realm.
    pub(crate) fn is_in_realm(&self, realm: &str) {
        self.api.apply("campaignclasses", "", &json!({"metadata": {"name": "main"}, "spec": {"realm": realm}}));
    }

    /// The class wants these settings of topics.
    pub(crate) fn wants_of_topics(&self, settings: &Value) {
        let patch = json!({"metadata": {"name": "main"}, "spec": {"kafka": {"topicConfig": settings}}});
        self.api.apply("campaignclasses", "", &patch);
    }

    /// Its operator starts anew, with this `clusterId`.
    pub(crate) async fn is_called(&mut self, name: Option<&str>) {
        self.stop().await;
        self.operator = Some(run(&self.api, name));
    }

    pub(crate) fn object(&self) -> Option<Value> {
        self.api.get("couponcampaigns", NAMESPACE, NAME)
    }

    pub(crate) fn class(&self) -> Option<Value> {
        self.api.get("campaignclasses", "", "main")
    }

    /// The reasons of all events.
    pub(crate) fn events(&self) -> Vec<String> {
        self.api.all("events", "").iter().filter_map(|event| Some(event["reason"].as_str()?.to_owned())).collect()
    }

    /// What the events of this reason say.
    pub(crate) fn said(&self, reason: &str) -> Vec<String> {
        let all = self.api.all("events", "");
        let of_reason = all.iter().filter(|event| event["reason"] == json!(reason));
        of_reason.filter_map(|event| Some(event["note"].as_str()?.to_owned())).collect()
    }

    pub(crate) fn change(&self, patch: &Value) {
        let mut patch = patch.clone();
        patch["metadata"]["name"] = json!(NAME);
        self.api.apply("couponcampaigns", NAMESPACE, &patch);
    }

    pub(crate) fn delete(&self) {
        self.api.delete("couponcampaigns", NAMESPACE, NAME);
    }

    fn condition(&self, type_: &str) -> Option<Value> {
        let object = self.object()?;
        object["status"]["conditions"].as_array()?.iter().find(|each| each["type"] == json!(type_)).cloned()
    }

    /// Waits until a condition says this; what else it says.
    pub(crate) async fn says(&self, type_: &str, status: &str, reason: &str) -> String {
        let what = format!("{}: {type_} {status} {reason}", self.uid);
        until(&what, async || {
            let found = self.condition(type_)?;
            let is_so = found["status"] == json!(status) && found["reason"] == json!(reason);
            is_so.then(|| found["message"].as_str().unwrap().to_owned())
        })
        .await
    }

    pub(crate) async fn is_stalled(&self, reason: &str) -> String {
        self.says("Stalled", "True", reason).await
    }

    pub(crate) async fn waits_for(&self, type_: &str, reason: &str) -> String {
        self.says(type_, "False", reason).await
    }

    /// Waits until the campaign is in this phase here, by status.
    pub(crate) async fn is(&self, phase: &str) {
        let what = format!("{}: phase {phase}", self.uid);
        let is_so = async || (self.object()?["status"]["phase"] == json!(phase)).then_some(());
        until(&what, is_so).await;
    }

    /// Waits until the campaign's window is open here, by status.
    pub(crate) async fn is_open(&self) {
        self.is("Open").await;
    }

    /// Its pods end, as those of a Deployment that has none any more.
    pub(crate) async fn loses_its_pods(&self) {
        for pod in self.api.all("pods", NAMESPACE) {
            self.api.delete("pods", NAMESPACE, pod["metadata"]["name"].as_str().unwrap());
        }
        until("its pods go", async || self.has_no_pods().then_some(())).await;
    }

    pub(crate) async fn has_seen_its_spec(&self) {
        let seen = async || {
            let object = self.object()?;
            (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
        };
        until("a pass over what was changed", seen).await;
    }

    /// Annotates the campaign as its condition says.
    pub(crate) async fn takes_over(&self) {
        let text = self.is_stalled("LedgerOwnedElsewhere").await;
        let value = text.split(&format!("{}=", operator::reconcile::TAKE_OVER_ANNOTATION)).nth(1).unwrap();
        self.change(&json!({"metadata": {"annotations": {operator::reconcile::TAKE_OVER_ANNOTATION: value}}}));
    }

    pub(crate) fn made_nothing(&self) -> bool {
        ["deployments", "services", "secrets", "poddisruptionbudgets"]
            .iter()
            .all(|kind| self.api.all(kind, NAMESPACE).is_empty())
    }

    pub(crate) fn has_no_pods(&self) -> bool {
        self.api.all("pods", NAMESPACE).is_empty()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(operator) = &self.operator {
            operator.abort();
        }
    }
}
