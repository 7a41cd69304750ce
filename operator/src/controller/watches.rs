//! What is watched: of each kind a copy of every object, and a stream of changes.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};

use crate::api::{CampaignClass, CouponCampaign};
use crate::controller::health::Health;
use crate::controller::unreadable::UnreadableObjects;
use crate::issuer_client::endpoints;
use crate::workloads::MANAGED_BY;

/// Watches that failed are tried again after this long at most: all of them share one pause.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
/// And after this long at first.
const WATCH_PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Changes that wait for the second reader of a stream. If there are more the watch waits for it.
const WAITING: usize = 64;

/// Pauses between tries of a watch: doubled up to a low cap, since all watches share one pause.
#[derive(Debug, Clone)]
pub(crate) struct WatchBackoff(Duration);

impl Default for WatchBackoff {
    fn default() -> Self {
        Self(WATCH_PAUSE_FIRST)
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(WATCH_PAUSE);
        Some(pause)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.0 = WATCH_PAUSE_FIRST;
    }
}

/// Objects as they change, those that are deleted included.
pub(crate) type Changes<K> = BoxStream<'static, Result<K, watcher::Error>>;

/// A kind that is watched.
pub(crate) struct Watched<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// A copy of every object, kept up to date while `changes` is polled.
    pub(crate) store: Store<K>,
    /// What changes.
    pub(crate) changes: Changes<K>,
}

/// Everything that is watched.
pub(crate) struct Watches {
    pub(crate) campaigns: Watched<CouponCampaign>,
    pub(crate) classes: Watched<CampaignClass>,
    /// The changes of classes once more, for the controller of classes. They come while those of `classes` are polled.
    pub(crate) class_changes: Changes<CampaignClass>,
    pub(crate) namespaces: Watched<Namespace>,
    pub(crate) deployments: Watched<Deployment>,
    pub(crate) endpoints: Watched<EndpointSlice>,
    pub(crate) pods: Watched<Pod>,
    pub(crate) autoscalers: Watched<HorizontalPodAutoscaler>,
}

impl Watches {
    /// Begins once the streams are polled.
    pub(crate) fn new(client: &Client, health: &Arc<Health>, unreadable: &Arc<UnreadableObjects>) -> Self {
        let watcher = Watcher { client, health, unreadable };
        let everything = watcher::Config::default;
        let ours = || everything().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        let pods_of_ours =
            format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/component in (issuer,consumer)");
        let Watched { store, changes } = watcher.watch(everything(), |_| {});
        let (changes, class_changes) = for_two_readers(changes);
        Self {
            campaigns: watcher.watch(everything(), |_| {}),
            classes: Watched { store, changes },
            class_changes,
            namespaces: watcher.watch(everything(), |_| {}),
            deployments: watcher.watch(ours(), |_| {}),
            // Slices bear the labels of their Service.
            endpoints: watcher.watch(ours(), endpoints::slim),
            pods: watcher.watch(everything().labels(&pods_of_ours), |pod: &mut Pod| pod.spec = None),
            autoscalers: watcher
                .watch(everything(), |autoscaler: &mut HorizontalPodAutoscaler| autoscaler.status = None),
        }
    }
}

/// What all watches need.
struct Watcher<'a> {
    client: &'a Client,
    health: &'a Arc<Health>,
    unreadable: &'a Arc<UnreadableObjects>,
}

impl Watcher<'_> {
    /// Watches a kind in all namespaces. `slim` removes what nobody here needs from each copy.
    fn watch<K>(&self, config: watcher::Config, slim: fn(&mut K)) -> Watched<K>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let (store, writer) = reflector::store();
        let (health, unreadable) = (Arc::clone(self.health), Arc::clone(self.unreadable));
        let changes = watcher(api, config)
            .backoff(WatchBackoff::default())
            .filter_map(move |event| std::future::ready(event.map(|event| unreadable.decoded(event)).transpose()))
            .modify(move |object| {
                // What other managers wrote is of no use to us, except on Deployments, where it tells who owns replicas.
                if K::kind(&()) != "Deployment" {
                    object.managed_fields_mut().clear();
                }
                slim(object);
            })
            .inspect(move |event| match event {
                Ok(_) => health.watch_works(&K::kind(&())),
                Err(error) => health.watch_failed(&K::kind(&()), error.to_string()),
            })
            .reflect(writer)
            .touched_objects()
            .boxed();
        Watched { store, changes }
    }
}

/// The same changes for two readers; errors are the first one's. The second gets what the first has polled, so both must be polled.
///
/// Not kube's shared reflector (`reflect_shared`): it passes no deletions on, and its handle, kube 5.0, returns `Pending` without a
/// waker when an object is gone before the handle is polled, so that the reader, and then the watch, would stand still.
fn for_two_readers<K: Clone + Send + 'static>(changes: Changes<K>) -> (Changes<K>, Changes<K>) {
    let (sender, second) = mpsc::channel(WAITING);
    let first = changes.then(move |change| {
        let mut sender = sender.clone();
        let copy = change.as_ref().ok().cloned();
        async move {
            if let Some(object) = copy {
                // A reader that has ended needs nothing any more.
                drop(sender.send(object).await);
            }
            change
        }
    });
    (first.boxed(), second.map(Ok).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, stream};

    /// Wrong: one of the controllers misses a change of a class, or one that has ended holds up the other.
    #[tokio::test]
    async fn both_readers_get_every_change_and_one_that_has_ended_holds_up_nobody() {
        let many = 3 * WAITING;
        let changes = || stream::iter((0..many).map(Ok)).boxed();
        let failed = stream::once(std::future::ready(Err(watcher::Error::NoResourceVersion)));
        let (first, second) = for_two_readers(failed.chain(changes()).boxed());
        let (first, second) = tokio::join!(first.collect::<Vec<_>>(), second.collect::<Vec<_>>());
        assert!(first[0].is_err(), "the first one hears of errors");
        let [first, second] =
            [&first[1..], &second[..]].map(|all| all.iter().flatten().copied().collect::<Vec<usize>>());
        assert_eq!(first, (0..many).collect::<Vec<_>>());
        assert_eq!(second, first);

        let (first, second) = for_two_readers(changes());
        drop(second);
        assert_eq!(first.count().now_or_never(), Some(many));
    }
}
