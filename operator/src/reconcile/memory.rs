//! What a process remembers of each campaign from pass to pass. Each part is a type of the module that uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::adoption::Adoption;
use super::blocking_record::BlockingRecord;
use super::cause_log::CauseLog;
use super::custody_change::CustodyChange;
use super::epochs::EpochWatch;
use super::event_log::EventLog;
use super::failure_log::FailureLog;
use super::observation_cache::ObservationCache;
use super::pod_connections::PodConnections;
use super::published::Published;
use super::replicas::Policies;
use super::rollout_watch::RolloutWatch;
use super::route_watch::RouteWatch;
use super::served::ServedWatch;
use super::starting::StartWatch;
use super::still::StillWatch;
use super::strays_watch::StraysWatch;
use super::tampering::TermsSeen;
use super::throttle::Throttle;
use super::unread::UnreadWatch;
use super::written_children::WrittenChildren;
use crate::controller::suspension::SuspensionOutcome;
use crate::issuer_client::pressure::Counts;
use crate::issuer_client::serving::ServingWatch;
use crate::ledger::repair::compare::CompareWatch;
use crate::ledger::repair::scan::Scan;
use crate::ledger::repair::watch::RepairWatch;
use crate::workloads::ControlTokens;

/// What a process remembers of a campaign. Losing it costs some reads, nothing else.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What need not be read again.
    pub cache: ObservationCache,
    /// When missing winners can be told from those on their way.
    pub watch: RepairWatch,
    /// Where the looks for missing winners are, and what they found.
    pub scan: Scan,
    /// How far rows and Redis are compared by rank.
    pub(crate) compare: CompareWatch,
    /// Whether the ledger was another object's.
    pub(crate) adoption: Adoption,
    /// Failures in a row.
    pub(crate) failures: FailureLog,
    /// What became of its epochs.
    pub(crate) epochs: EpochWatch,
    /// The text of the annotation about lost winners when an epoch was last opened.
    pub(crate) accepted_lost_winners: Option<String>,
    /// The record of a later version that the last attempt to open an epoch met in the topic.
    pub(crate) blocking_record: Option<BlockingRecord>,
    /// How far the ledger has come here from another cluster.
    pub(crate) custody: CustodyChange,
    /// What was last written to status and published as events.
    pub(crate) published: Published,
    /// When the counters in SQL were last written.
    pub(crate) issued_count: Throttle,
    /// What the policies of scaling have learned.
    pub policies: Policies,
    /// What the issuers counted last.
    pub counts: Counts,
    /// Whether they serve.
    pub(crate) serving: ServingWatch,
    /// Since when offsets cannot be read.
    pub(crate) unread: UnreadWatch,
    /// Since when users get nothing though the window is open.
    pub(crate) served: ServedWatch,
    /// Since when consumers store nothing though records wait.
    pub(crate) still: StillWatch,
    /// Children other than Deployments.
    pub(crate) children: WrittenChildren,
    /// What became of the way from outside.
    pub(crate) route: RouteWatch,
    /// What the pods connect to.
    pub(crate) pods: PodConnections,
    /// Issuing was closed for the campaign's deletion.
    pub closed: bool,
    /// What authenticates us to the issuers.
    pub tokens: Option<ControlTokens>,
    /// What became of the last try to stop issuing at once, and when.
    pub(crate) stop: Option<(SuspensionOutcome, Instant)>,
    /// Why pods do not come up, as far as an event was published for it.
    pub(crate) causes: CauseLog,
    /// Since when more issuers are wanted.
    pub(crate) issuer_starts: StartWatch,
    /// Since when more consumers are.
    pub(crate) consumer_starts: StartWatch,
    /// What the Service leads to besides the issuers.
    pub(crate) strays: StraysWatch,
    /// The terms that Redis had.
    pub terms_seen: TermsSeen,
    /// Pods that should be replaced.
    pub(crate) rollout: RolloutWatch,
    /// When it was last tried to remove keys that are not needed any more, if they were not.
    pub(crate) removal: Throttle,
    /// When the size of its keys was last asked for.
    pub(crate) size: Throttle,
    /// Which other events were published.
    pub(crate) events: EventLog,
    /// What the ledger called this cluster when it was last read.
    pub(crate) known_as: Option<String>,
}

impl Memory {
    /// Remembers what a pass has read. Where counts were forgotten, looks for missing winners begin at the first rank.
    pub fn remember(&mut self, cache: ObservationCache) {
        if self.cache.rows.pages.generation() != cache.rows.pages.generation() {
            self.scan = Scan::default();
        }
        self.cache = cache;
    }
}

/// The memory of one campaign, which its passes and the emergency stop share.
#[derive(Debug, Clone, Default)]
pub struct CampaignMemory(Arc<Mutex<Memory>>);

impl CampaignMemory {
    /// What is remembered now.
    pub fn get(&self) -> Memory {
        self.update(|memory| memory.clone())
    }

    /// Changes what is remembered.
    pub fn update<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        // Memories are plain values: one that a panicking pass left behind is as good as any.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The memories of all campaigns, by the UIDs of their objects.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<String, CampaignMemory>>);

impl Memories {
    /// The memory of a campaign. It begins with nothing.
    pub fn of(&self, uid: &str) -> CampaignMemory {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(uid.to_owned()).or_default().clone()
    }

    /// What is remembered of a campaign; of one that nothing is known of, nothing.
    pub fn get(&self, uid: &str) -> Memory {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned();
        known.map(|memory| memory.get()).unwrap_or_default()
    }

    /// Changes what is remembered of a campaign.
    pub fn update<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        self.of(uid).update(change)
    }

    /// Forgets a campaign that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
