//! Objects that the API server accepts and this program cannot decode: skipped and reported, without affecting other objects.
//!
//! A typed list fails as a whole when one object in it does not fit the type, and with it every other object of the kind is no
//! longer watched. So each object is decoded by itself (kube's `DeserializeGuard`, made for this: kube-rs/kube#774).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

use crate::events::bounded;
use crate::metrics::{KindLabels, Metrics};

/// Objects that wait to be named in an event. More at once are named in the log only.
const WAITING: usize = 64;

/// The reason in conditions and events.
pub(crate) const UNREADABLE: &str = "Unreadable";

/// An object that could not be decoded, and why.
#[derive(Debug, Clone)]
struct Unreadable {
    object: ObjectReference,
    error: String,
}

/// Which objects cannot be decoded now, over all kinds that are watched.
pub(crate) struct UnreadableObjects {
    /// By kind, namespace and name.
    known: Mutex<BTreeMap<(String, String, String), String>>,
    found: mpsc::Sender<Unreadable>,
    metrics: Metrics,
}

impl UnreadableObjects {
    /// And what is to be awaited beside the watches: it says on each object, as an event, that it is skipped.
    pub(crate) fn new(metrics: Metrics, recorder: Recorder) -> (Self, impl Future<Output = ()> + Send) {
        let (found, mut waiting) = mpsc::channel::<Unreadable>(WAITING);
        let naming = async move {
            while let Some(Unreadable { object, error }) = waiting.recv().await {
                let text = format!("this object cannot be read and is skipped, nothing is done for it: {error}");
                let event = KubeEvent {
                    type_: EventType::Warning,
                    reason: UNREADABLE.to_owned(),
                    note: Some(bounded(&text).to_owned()),
                    action: "Skip".to_owned(),
                    secondary: None,
                };
                // Events are best effort; the log and the metric have it as well.
                if let Err(error) = recorder.publish(&event, &object).await {
                    tracing::debug!(%error, "event could not be published");
                }
            }
        };
        (Self { known: Mutex::default(), found, metrics }, naming)
    }

    /// The event with the object decoded; `None` if it could not be, which is noted.
    pub(crate) fn decoded<K>(&self, event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
    where
        K: Resource<DynamicType = ()>,
    {
        match event {
            Event::Apply(DeserializeGuard(Ok(object))) => {
                self.forget::<K>(object.meta().namespace.as_deref(), &object.name_any());
                Some(Event::Apply(object))
            }
            Event::InitApply(DeserializeGuard(Ok(object))) => {
                self.forget::<K>(object.meta().namespace.as_deref(), &object.name_any());
                Some(Event::InitApply(object))
            }
            Event::Delete(DeserializeGuard(Ok(object))) => {
                self.forget::<K>(object.meta().namespace.as_deref(), &object.name_any());
                Some(Event::Delete(object))
            }
            Event::Apply(DeserializeGuard(Err(invalid))) | Event::InitApply(DeserializeGuard(Err(invalid))) => {
                self.note::<K>(&invalid);
                None
            }
            // It was never in a store, or is there as it last was and goes with the next list.
            Event::Delete(DeserializeGuard(Err(invalid))) => {
                self.forget::<K>(
                    invalid.metadata.namespace.as_deref(),
                    invalid.metadata.name.as_deref().unwrap_or_default(),
                );
                None
            }
            Event::Init => {
                // What is still there comes again in the list that begins now.
                self.change::<K, _>(|known, kind| known.retain(|(of, _, _), _| of != kind));
                Some(Event::Init)
            }
            Event::InitDone => Some(Event::InitDone),
        }
    }

    /// Why this object, as it is now, cannot be decoded, in a sentence. Who has it, has it as it was before.
    pub(crate) fn trouble<K: Resource<DynamicType = ()>>(&self, object: &K) -> Option<String> {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let key = (K::kind(&()).into_owned(), namespace, object.name_any());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).map(|error| {
            format!(
                "the object as it is now cannot be read, so all goes on as it was before; correct it, and apply this release's \
                 CustomResourceDefinitions, which refuse such a change: {error}"
            )
        })
    }

    fn note<K: Resource<DynamicType = ()>>(&self, invalid: &InvalidObject) {
        let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
        let name = invalid.metadata.name.clone().unwrap_or_default();
        let kind = K::kind(&()).into_owned();
        let before = self.change::<K, _>(|known, _| {
            known.insert((kind.clone(), namespace.clone(), name.clone()), invalid.error.clone())
        });
        if before.as_ref() == Some(&invalid.error) {
            return;
        }
        tracing::warn!(kind, namespace, name, error = invalid.error, "an object cannot be decoded and is skipped");
        let object = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(kind),
            namespace: invalid.metadata.namespace.clone(),
            name: Some(name),
            uid: invalid.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        // Full: the line above says it.
        drop(self.found.try_send(Unreadable { object, error: invalid.error.clone() }));
    }

    fn forget<K: Resource<DynamicType = ()>>(&self, namespace: Option<&str>, name: &str) {
        self.change::<K, _>(|known, kind| {
            if !known.is_empty() {
                known.remove(&(kind.to_owned(), namespace.unwrap_or_default().to_owned(), name.to_owned()));
            }
        });
    }

    fn change<K: Resource<DynamicType = ()>, T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<(String, String, String), String>, &str) -> T,
    ) -> T {
        let kind = K::kind(&());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut known, &kind);
        let count = known.keys().filter(|(of, _, _)| *of == kind).count();
        let labels = KindLabels { kind: kind.into_owned() };
        self.metrics.unreadable.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CouponCampaign;
    use coupon_runtime::telemetry;
    use kube::Client;
    use kube::runtime::events::Reporter;
    use serde_json::{Value, json};

    fn campaign(name: &str, end: &str) -> Value {
        json!({
            "apiVersion": "coupon-operator.io/v1alpha1",
            "kind": "CouponCampaign",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"totalQuantity": 5, "window": {"start": "2026-12-01T10:00:00Z", "end": end}},
        })
    }

    fn guarded(object: Value) -> DeserializeGuard<CouponCampaign> {
        serde_json::from_value(object).unwrap()
    }

    fn name(event: Option<Event<CouponCampaign>>) -> Option<String> {
        match event? {
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object.name_any()),
            Event::Init | Event::InitDone => None,
        }
    }

    fn objects() -> (UnreadableObjects, Metrics) {
        let (mock, _) =
            tower_test::mock::pair::<http::Request<kube::client::Body>, http::Response<kube::client::Body>>();
        let reporter = Reporter { controller: "test".into(), instance: None };
        let metrics = Metrics::new(&telemetry::registry("coupon"));
        let recorder = Recorder::new(Client::new(mock, "default"), reporter);
        let (objects, _naming) = UnreadableObjects::new(metrics.clone(), recorder);
        (objects, metrics)
    }

    #[tokio::test]
    async fn one_object_that_cannot_be_decoded_hides_no_other() {
        let (objects, metrics) = objects();
        let count = || metrics.unreadable.get_or_create(&KindLabels { kind: "CouponCampaign".into() }).get();
        let listed = |end: &str| Event::InitApply(guarded(campaign("bad", end)));

        assert!(objects.decoded(Event::<DeserializeGuard<CouponCampaign>>::Init).is_some());
        assert!(objects.decoded(listed("9999-12-31T23:59:59Z")).is_none(), "skipped");
        let good = Event::InitApply(guarded(campaign("good", "2026-12-01T11:00:00Z")));
        assert_eq!(name(objects.decoded(good)).as_deref(), Some("good"));
        assert_eq!(count(), 1, "and counted");
        let as_it_was = |name: &str| guarded(campaign(name, "2026-12-01T11:00:00Z")).0.unwrap();
        let said = objects.trouble(&as_it_was("bad")).unwrap_or_default();
        assert!(said.contains("cannot be read") && said.contains("timestamp"), "who knew it before is told: {said}");
        assert_eq!(objects.trouble(&as_it_was("good")), None);

        let still_bad = Event::Apply(guarded(campaign("bad", "9999-12-31T23:59:59Z")));
        assert!(objects.decoded(still_bad).is_none());
        assert_eq!(count(), 1, "once");
        let mended = Event::Apply(guarded(campaign("bad", "2026-12-01T11:00:00Z")));
        assert_eq!(name(objects.decoded(mended)).as_deref(), Some("bad"));
        assert_eq!(count(), 0, "mended");

        assert!(objects.decoded(listed("9999-12-31T23:59:59Z")).is_none());
        assert!(objects.decoded(Event::<DeserializeGuard<CouponCampaign>>::Init).is_some());
        assert_eq!(count(), 0, "gone while the watch was away");
    }
}
