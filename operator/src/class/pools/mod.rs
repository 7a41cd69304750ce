//! Live connections to the systems of each class, shared by all of its campaigns.

mod systems;
mod tried;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kube::{Client, ResourceExt};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::api::CampaignClass;
use crate::class::{self, ClassError, IssuerFiles};
use crate::error::ReconcileError;
pub use systems::Systems;

/// How long the Secrets of a class are taken as read.
pub(crate) const SECRETS_FRESH: Duration = Duration::from_secs(10);
/// Passes over campaigns of one class at the same time. They mostly wait, and Kafka is read once for those that come together.
const PASSES: usize = 64;
// Whatever is repaired, most of them are left for others.
const _: () = assert!(2 * crate::ledger::epoch::MOST_PASSES <= PASSES);

/// What issuers of a class find beside their connections.
async fn issuer_files(client: &Client, class: &CampaignClass, own_namespace: &str) -> Result<IssuerFiles, ClassError> {
    let mut files = class::key_files(client, class, own_namespace).await?;
    files.extend(class::header_files(client, class, own_namespace).await?);
    Ok(files)
}

/// What is known of one class.
#[derive(Default)]
struct Slot {
    /// Taken while Secrets are read: one class waits for its own only.
    known: Mutex<Option<CachedSystems>>,
    /// Looks in a row that found something wrong.
    troubled: AtomicU32,
    /// Passes of its campaigns at the same time.
    passes: OnceLock<Arc<Semaphore>>,
}

struct CachedSystems {
    systems: Arc<Systems>,
    generation: Option<i64>,
    read_at: Instant,
}

/// The systems of every class in use, each with a lock, connections and pauses of its own: a class that does not work delays no other.
#[derive(Default)]
pub struct SystemsByClass {
    slots: StdMutex<HashMap<String, Arc<Slot>>>,
}

impl SystemsByClass {
    fn slot(&self, class: &str) -> Arc<Slot> {
        // Slots are plain values: one that a panicking pass left behind is as good as any.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(class.to_owned()).or_default())
    }

    /// The systems of `class`. Secrets are read again every few seconds; new connections are made only when they changed.
    pub async fn get(
        &self,
        client: &Client,
        class: &CampaignClass,
        own_namespace: &str,
    ) -> Result<Arc<Systems>, ReconcileError> {
        let slot = self.slot(&class.name_any());
        let mut known = slot.known.lock().await;
        if let Some(entry) = known.as_ref()
            && entry.generation == class.metadata.generation
            && entry.read_at.elapsed() < SECRETS_FRESH
        {
            return Ok(Arc::clone(&entry.systems));
        }
        let settings = class::connections(client, class, own_namespace).await?;
        let issuer_files = issuer_files(client, class, own_namespace).await;
        // Of these no pod can be made. What is wrong with files alone keeps no sale from being suspended, ended or repaired.
        if let Err(unusable @ (ClassError::AuthenticationIncomplete(_) | ClassError::RateLimitsUnusable(_))) =
            issuer_files
        {
            return Err(unusable.into());
        }
        let systems = match known.as_ref() {
            Some(entry) if entry.systems.settings == settings => Arc::clone(&entry.systems),
            _ => Arc::new(Systems::new(settings)?),
        };
        systems.set_issuer_files(issuer_files);
        let (generation, read_at) = (class.metadata.generation, Instant::now());
        *known = Some(CachedSystems { systems: Arc::clone(&systems), generation, read_at });
        Ok(systems)
    }

    /// Waits for the turn of a pass over a campaign of this class. Passes that hang, as their class's servers do, take turns from
    /// each other only.
    pub async fn turn(&self, class: &str) -> Option<OwnedSemaphorePermit> {
        let slot = self.slot(class);
        let passes = slot.passes.get_or_init(|| Arc::new(Semaphore::new(PASSES)));
        // Nobody closes it.
        Arc::clone(passes).acquire_owned().await.ok()
    }

    /// Takes in how a look at a class ended. Answers how many in a row have found something wrong.
    pub fn record_check(&self, class: &str, well: bool) -> u32 {
        let slot = self.slot(class);
        if well {
            slot.troubled.store(0, Ordering::Relaxed);
            return 0;
        }
        slot.troubled.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Closes the connections of classes that are not there any more, and removes what looks at them have made. `probed`: the topics of
    /// looks at classes that are there.
    pub async fn keep_only(&self, classes: &BTreeSet<String>, probed: &BTreeSet<String>) {
        let gone: Vec<(String, Arc<Slot>)> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.extract_if(|name, _| !classes.contains(name)).collect()
        };
        for (class, slot) in gone {
            // A pass that still has them notices, and ends; Kafka's clients go with the last of their users.
            if let Some(known) = slot.known.lock().await.take() {
                known.systems.remove_probed(&class, probed).await;
                known.systems.sql.close().await;
                known.systems.forget_redis().await;
            }
        }
    }

    /// The classes of which something is known.
    pub fn classes(&self) -> BTreeSet<String> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::ClassConnections;
    use crate::fixtures;
    use serde_json::json;

    /// Wrong: campaigns of a class whose servers do not answer keep those of another one from their turn.
    #[tokio::test(start_paused = true)]
    async fn passes_of_one_class_take_no_turns_from_another() {
        let all = SystemsByClass::default();
        let mut hanging = Vec::new();
        for _ in 0..PASSES {
            hanging.push(all.turn("broken").await.unwrap());
        }
        let within = |class: &'static str| tokio::time::timeout(Duration::from_secs(1), all.turn(class));
        assert!(within("broken").await.is_err(), "its own wait");
        assert!(within("healthy").await.is_ok());
        hanging.pop();
        assert!(within("broken").await.is_ok());
    }

    #[tokio::test]
    async fn classes_that_are_gone_are_forgotten_and_their_troubles_with_them() {
        let all = SystemsByClass::default();
        assert_eq!(
            (all.record_check("a", false), all.record_check("a", false), all.record_check("b", false)),
            (1, 2, 1)
        );
        assert_eq!((all.record_check("a", true), all.record_check("a", false)), (0, 1));
        all.keep_only(&BTreeSet::from(["b".to_owned()]), &BTreeSet::new()).await;
        assert_eq!(all.classes(), BTreeSet::from(["b".to_owned()]));
        assert_eq!((all.record_check("a", false), all.record_check("b", false)), (1, 2));
    }

    /// Wrong: a Secret with keys of tokens that somebody deletes or spoils takes the suspension, the end and the repair of open sales out of force, as no
    /// pass comes further than its class.
    #[tokio::test]
    async fn keys_of_tokens_that_cannot_be_used_keep_nobody_from_the_servers() {
        let all = SystemsByClass::default();
        let mut class = fixtures::class();
        let jwt =
            json!({"issuer": "https://login.example", "audiences": ["a"], "keys": {"secretRef": {"name": "keys"}}});
        class.spec.authentication = serde_json::from_value(json!({"type": "Jwt", "jwt": jwt})).unwrap();
        let good = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;
        for (generation, keys, is_good) in [(1, Some(good), true), (2, Some("sesame"), false), (3, None, false)] {
            class.metadata.generation = Some(generation);
            let login = [("database-username", b"op".to_vec())];
            let data: Vec<_> = login.into_iter().chain(keys.map(|keys| ("jwks.json", keys.into()))).collect();
            let client = class::connections::tests::with_bytes(&data);
            let systems = all.get(&client, &class, "coupon-system").await.unwrap();
            assert_eq!(systems.issuer_files().values().cloned().collect::<Vec<_>>(), [good], "{keys:?}");
            let credentials = systems.credentials();
            assert_eq!(credentials.status, Some(is_good), "{credentials:?}");
            assert!(is_good || credentials.message.ends_with("issuers go on with what they have"));
        }
        // Of one that is said by half no pod can be made.
        class.metadata.generation = Some(4);
        class.spec.authentication.jwt = None;
        let client = class::connections::tests::with_bytes(&[("database-username", b"op".to_vec())]);
        let refused = all.get(&client, &class, "coupon-system").await.err().unwrap();
        assert_eq!(refused.reason(), "AuthenticationIncomplete");
    }

    /// Wrong: the process dials the dead servers of a class that is gone for as long as it lives.
    #[tokio::test]
    async fn what_leads_to_the_servers_of_a_class_that_is_gone_is_closed() {
        let all = SystemsByClass::default();
        let both = ClassConnections { operator: fixtures::connections(), workload: fixtures::connections() };
        let mut systems = Vec::new();
        for class in ["gone", "there"] {
            let made = Arc::new(Systems::new(both.clone()).unwrap());
            let known = CachedSystems { systems: Arc::clone(&made), generation: None, read_at: Instant::now() };
            *all.slot(class).known.lock().await = Some(known);
            systems.push(made);
        }
        all.keep_only(&BTreeSet::from(["there".to_owned()]), &BTreeSet::new()).await;
        assert_eq!((systems[0].sql.is_closed(), systems[1].sql.is_closed()), (true, false));
        // Clients of Kafka, and the watch of Sentinel, end with their last user, and nobody but us is one any more.
        assert_eq!((Arc::strong_count(&systems[0]), Arc::strong_count(&systems[1])), (1, 2));
    }
}
