//! Whether this process may grant, and under which epoch: a small state machine without I/O.
//!
//! Rules (each is there because leaving it out lets two epochs grant side by side):
//! - the epoch comes from SQL, from a read that began after this process did, and is read only while not serving;
//! - a fence raises the floor, which never falls; nothing below the floor is ever served again, so a value that was on its
//!   way when the fence came is dropped;
//! - a refusal of Redis ends serving until SQL has been asked again.

use std::fmt;

use coupon_core::contract::control::reason;
use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{RedisState, Refusal};

/// Why nothing is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotServing {
    /// The open epoch has not been read yet.
    Starting,
    /// The database could not be asked for the open epoch.
    DatabaseAway,
    /// The database has no row of the campaign (yet).
    Unknown,
    /// The operator has not opened an epoch, or has closed it.
    Closed,
    /// The campaign's ledger belongs to another cluster.
    Elsewhere,
    /// The operator has fenced this process, and the open epoch is still an older one.
    Fenced,
    /// Redis could not be asked whether it serves the open epoch.
    RedisAway,
    /// Redis does not serve the open epoch.
    Refused(Refusal),
    /// Redis answered something that makes no sense. Needs a new epoch.
    Broken,
}

impl NotServing {
    /// Stable name, for logs and for the operator.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => reason::STARTING,
            Self::DatabaseAway => reason::DATABASE_AWAY,
            Self::Unknown => reason::UNKNOWN_CAMPAIGN,
            Self::Closed => "Closed",
            Self::Elsewhere => "LedgerOwnedElsewhere",
            Self::Fenced => "Fenced",
            Self::RedisAway => reason::REDIS_AWAY,
            Self::Refused(Refusal::Closed) => "CampaignClosed",
            Self::Refused(Refusal::OtherEpoch { .. }) => "OtherEpoch",
            Self::Refused(Refusal::HistoryChanged) => "RedisHistoryChanged",
            Self::Refused(Refusal::Behind) => "RedisBehind",
            Self::Refused(Refusal::Damaged) => "RedisKeysDamaged",
            Self::Broken => reason::REDIS_KEYS_BROKEN,
        }
    }
}

impl fmt::Display for NotServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "this server is starting",
            Self::DatabaseAway => "the database is not reachable",
            Self::Unknown => "the campaign is being set up",
            Self::Closed => "the campaign is closed for now",
            Self::Elsewhere => "the campaign is served by another cluster",
            Self::Fenced => "the campaign's keys in Redis are being repaired",
            Self::RedisAway => "Redis cannot be read",
            Self::Refused(_) => "the campaign's keys in Redis must be checked before issuing goes on",
            Self::Broken => "the campaign's keys in Redis are damaged and must be rebuilt",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unopened(NotServing),
    Serving { epoch: u64 },
}

/// The state machine. Starts unopened with a floor of 0.
#[derive(Debug)]
pub(crate) struct EpochState {
    floor: u64,
    state: State,
    /// Highest rank seen, and the epoch it was seen under.
    seen: (u64, u64),
    has_served: bool,
}

impl Default for EpochState {
    fn default() -> Self {
        Self { floor: 0, state: State::Unopened(NotServing::Starting), seen: (0, 0), has_served: false }
    }
}

impl EpochState {
    /// The epoch under which may be granted now.
    pub(crate) fn serving(&self) -> Option<u64> {
        match self.state {
            State::Serving { epoch } => Some(epoch),
            State::Unopened(_) => None,
        }
    }

    /// Why nothing is granted; `None` while serving.
    pub(crate) fn reason(&self) -> Option<NotServing> {
        match self.state {
            State::Serving { .. } => None,
            State::Unopened(reason) => Some(reason),
        }
    }

    /// Below this epoch nothing is served.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether an epoch was ever served.
    pub(crate) fn has_served(&self) -> bool {
        self.has_served
    }

    /// The highest epoch that this process has heard of.
    pub(crate) fn highest_epoch(&self) -> u64 {
        self.floor.max(self.serving().unwrap_or(0)).max(self.seen.0)
    }

    /// Raises the floor. A lower floor than the present one changes nothing.
    pub(crate) fn fence(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.stop_below(self.floor);
    }

    /// Stops serving an older epoch. By itself it is no fence: a value of that epoch that is on its way would be served.
    pub(crate) fn stop_below(&mut self, epoch: u64) {
        if self.serving().is_some_and(|serving| serving < epoch) {
            self.state = State::Unopened(NotServing::Fenced);
        }
    }

    /// Begins to serve `epoch`, the open epoch of SQL. Changes nothing while serving. Returns whether `epoch` is served.
    pub(crate) fn open(&mut self, epoch: u64) -> bool {
        if self.serving().is_none() {
            if epoch < self.floor {
                self.state = State::Unopened(NotServing::Fenced);
            } else {
                self.state = State::Serving { epoch };
                self.has_served = true;
            }
        }
        self.serving() == Some(epoch)
    }

    /// Says why it is still unopened. Changes nothing while serving.
    pub(crate) fn stay_closed(&mut self, reason: NotServing) {
        if self.serving().is_none() {
            self.state = State::Unopened(reason);
        }
    }

    /// Redis refused a batch that was sent under `epoch`.
    pub(crate) fn refused(&mut self, epoch: u64, refusal: Refusal) {
        if self.serving() == Some(epoch) {
            self.state = State::Unopened(NotServing::Refused(refusal));
        }
    }

    /// Redis answered nonsense to a batch that was sent under `epoch`: that epoch is never served again.
    pub(crate) fn broken(&mut self, epoch: u64) {
        self.floor = self.floor.max(epoch.saturating_add(1));
        if self.serving().is_some_and(|serving| serving < self.floor) {
            self.state = State::Unopened(NotServing::Broken);
        }
    }

    /// Remembers the highest rank of an answer.
    pub(crate) fn saw(&mut self, epoch: u64, highest: u64) {
        if self.seen.0 == epoch {
            self.seen.1 = self.seen.1.max(highest);
        } else if epoch > self.seen.0 {
            self.seen = (epoch, highest);
        }
    }

    /// The highest rank ever seen under `epoch`.
    pub(crate) fn highest_rank(&self, epoch: u64) -> u64 {
        if self.seen.0 == epoch { self.seen.1 } else { 0 }
    }
}

/// The epoch that the campaign's row opens, if it may be served: it is not below `floor`, and this `cluster` owns the ledger, as the owner's
/// fences reach no other cluster. `None`: the cluster is not configured.
pub(crate) fn candidate(row: Option<&CampaignRow>, floor: u64, cluster: Option<&str>) -> Result<u64, NotServing> {
    let owner = row.and_then(|row| row.custody.owner.as_deref());
    match row.map(|row| row.open_epoch) {
        None => Err(NotServing::Unknown),
        _ if owner.zip(cluster).is_some_and(|(owner, cluster)| owner != cluster) => Err(NotServing::Elsewhere),
        Some(None) => Err(NotServing::Closed),
        Some(Some(epoch)) if epoch < floor => Err(NotServing::Fenced),
        Some(Some(epoch)) => Ok(epoch),
    }
}

/// Whether Redis serves `epoch`, of which rank `seen` was already seen. The script checks the same again for each batch;
/// asking first keeps users from waiting in a queue for a refusal.
pub(crate) fn redis_serves(state: &RedisState, epoch: u64, seen: u64) -> Result<(), Refusal> {
    let open = state.open.as_ref().ok_or(Refusal::Closed)?;
    if open.history != state.history {
        return Err(Refusal::HistoryChanged);
    }
    if open.epoch != epoch {
        return Err(Refusal::OtherEpoch { current: open.epoch });
    }
    if open.highest < seen {
        return Err(Refusal::Behind);
    }
    if open.misfit.is_some() {
        return Err(Refusal::Damaged);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_ledger::database::{CampaignRowId, Custody};
    use coupon_ledger::redis::{OpenInRedis, Terms};
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Open(u64),
        Fence(u64),
        Refused(u64),
        Broken(u64),
        StayClosed,
    }

    fn apply(state: &mut EpochState, step: &Step) {
        match step {
            Step::Open(epoch) => drop(state.open(*epoch)),
            Step::Fence(floor) => state.fence(*floor),
            Step::Refused(epoch) => state.refused(*epoch, Refusal::HistoryChanged),
            Step::Broken(epoch) => state.broken(*epoch),
            Step::StayClosed => state.stay_closed(NotServing::Closed),
        }
    }

    #[test]
    fn transitions() {
        use Step::{Broken, Fence, Open, Refused, StayClosed};
        let history_changed = NotServing::Refused(Refusal::HistoryChanged);
        for (what, steps, expected) in [
            ("nothing is served at first", vec![], Err(NotServing::Starting)),
            ("an epoch of SQL is served", vec![Open(3)], Ok(3)),
            ("the floor itself is served", vec![Fence(3), Open(3)], Ok(3)),
            ("a fence stops what is older", vec![Open(3), Fence(4)], Err(NotServing::Fenced)),
            ("a fence leaves what is as new", vec![Open(4), Fence(4)], Ok(4)),
            ("a value read before the fence is dropped", vec![Open(3), Fence(4), Open(3)], Err(NotServing::Fenced)),
            ("the floor does not fall", vec![Fence(5), Fence(2), Open(4)], Err(NotServing::Fenced)),
            ("the next epoch is served after a fence", vec![Open(3), Fence(4), Open(4)], Ok(4)),
            ("a running epoch is not replaced, only fenced", vec![Open(3), Open(4)], Ok(3)),
            ("a refusal stops", vec![Open(3), Refused(3)], Err(history_changed)),
            ("SQL is believed again after a refusal", vec![Open(3), Refused(3), Open(3)], Ok(3)),
            ("a late refusal of an older epoch is nothing", vec![Open(3), Fence(4), Open(4), Refused(3)], Ok(4)),
            ("a broken epoch is never served again", vec![Open(3), Broken(3), Open(3)], Err(NotServing::Fenced)),
            ("a new epoch mends it", vec![Open(3), Broken(3), Open(4)], Ok(4)),
            ("a reason does not close what serves", vec![Open(3), StayClosed], Ok(3)),
        ] {
            let mut state = EpochState::default();
            for step in &steps {
                apply(&mut state, step);
            }
            assert_eq!(state.serving().ok_or_else(|| state.reason().unwrap()), expected, "{what}: {steps:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_below_the_floor_is_ever_served(steps in proptest::collection::vec(
            prop_oneof![
                (0u64..6).prop_map(Step::Open),
                (0u64..6).prop_map(Step::Fence),
                (0u64..6).prop_map(Step::Refused),
                (0u64..6).prop_map(Step::Broken),
                Just(Step::StayClosed),
            ],
            0..30,
        )) {
            let (mut state, mut floor) = (EpochState::default(), 0);
            for step in &steps {
                apply(&mut state, step);
                match step {
                    Step::Fence(wanted) => floor = floor.max(*wanted),
                    Step::Broken(epoch) => floor = floor.max(epoch + 1),
                    _ => {}
                }
                prop_assert_eq!(state.floor(), floor);
                prop_assert!(state.serving().is_none_or(|epoch| epoch >= floor));
                prop_assert!(state.serving().is_some() != state.reason().is_some());
            }
        }
    }

    #[test]
    fn ranks_are_remembered_per_epoch() {
        let mut state = EpochState::default();
        state.saw(3, 10);
        state.saw(3, 7);
        assert_eq!((state.highest_rank(3), state.highest_rank(4)), (10, 0));
        state.saw(4, 2);
        state.saw(3, 99);
        assert_eq!(
            (state.highest_rank(3), state.highest_rank(4)),
            (0, 2),
            "a late answer of an older epoch says nothing of the new one"
        );
    }

    fn row(open_epoch: Option<u64>) -> CampaignRow {
        CampaignRow {
            terms_number: 0,
            id: CampaignRowId(1),
            total: 10,
            epoch: 9,
            open_epoch,
            topic_id: None,
            kafka_cluster_id: None,
            opened_start_ms: None,
            opened_end_ms: None,
            opened_user_limit: None,
            opened_key_by: None,
            object_uid: None,
            custody: Custody::default(),
            issued_count: 0,
            keys_removed_ms: None,
        }
    }

    #[test]
    fn only_the_open_epoch_counts() {
        assert_eq!(candidate(None, 0, None), Err(NotServing::Unknown));
        assert_eq!(candidate(Some(&row(None)), 0, None), Err(NotServing::Closed), "allotted is not open");
        assert_eq!(candidate(Some(&row(Some(3))), 4, None), Err(NotServing::Fenced));
        assert_eq!(candidate(Some(&row(Some(4))), 4, None), Ok(4));
    }

    /// Wrong: an issuer of the cluster that had the ledger before takes the new owner's epoch, and no fence reaches it.
    #[test]
    fn only_the_owners_issuers_serve_what_it_opens() {
        let owned = |owner: Option<&str>| {
            let owner = owner.map(str::to_owned);
            CampaignRow { custody: Custody { owner, ..Custody::default() }, ..row(Some(4)) }
        };
        for (owner, cluster, expected) in [
            (Some("a"), Some("a"), Ok(4)),
            (Some("b"), Some("a"), Err(NotServing::Elsewhere)),
            (None, Some("a"), Ok(4)),
            (Some("b"), None, Ok(4)),
        ] {
            assert_eq!(candidate(Some(&owned(owner)), 4, cluster), expected, "{owner:?} {cluster:?}");
        }
    }

    #[test]
    fn redis_must_hold_what_sql_opened() {
        let terms = Terms { total: 9, limit: 1, start_ms: 0, end_ms: 1, suspended: false };
        let state = |epoch, bound: &str, highest| RedisState {
            clock_ms: 0,
            now_ms: 0,
            history: "now".into(),
            issued: 5,
            open: Some(OpenInRedis { epoch, history: bound.into(), terms, number: 1, highest, misfit: None }),
        };
        assert_eq!(redis_serves(&state(3, "now", 5), 3, 5), Ok(()));
        assert_eq!(redis_serves(&state(3, "before", 5), 3, 5), Err(Refusal::HistoryChanged));
        assert_eq!(redis_serves(&state(2, "now", 5), 3, 5), Err(Refusal::OtherEpoch { current: 2 }));
        assert_eq!(redis_serves(&state(3, "now", 5), 3, 6), Err(Refusal::Behind));
        let mut damaged = state(3, "now", 5);
        damaged.open.as_mut().unwrap().misfit = Some("5 winners and the requests of 4".into());
        assert_eq!(redis_serves(&damaged, 3, 5), Err(Refusal::Damaged));
        assert!(!damaged.serves(3));
        let closed = RedisState { open: None, ..state(3, "now", 5) };
        assert_eq!(redis_serves(&closed, 3, 0), Err(Refusal::Closed));
    }
}
