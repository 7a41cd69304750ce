//! Whether this process may grant, and under which epoch: a small state machine without I/O.
//!
//! Rules (each is there because leaving it out lets two epochs grant side by side):
//! - the epoch comes from SQL, from a read that began after this process did, and is read only while not serving;
//! - a fence raises the floor, which never falls; nothing below the floor is ever served again, so a value that was on its
//!   way when the fence came is dropped;
//! - a refusal of Redis ends serving until SQL has been asked again.

use std::fmt;

use campaign::stock::{Refusal, StockState};
use campaign::table::CampaignRow;

/// Why nothing is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The open epoch has not been read yet.
    Starting,
    /// The database could not be asked for the open epoch.
    DatabaseAway,
    /// The database does not know the campaign (yet).
    Unknown,
    /// The operator has not opened an epoch, or has closed it.
    Closed,
    /// The campaign's ledger belongs to another cluster.
    Elsewhere,
    /// The operator has told this process to stop, and the open epoch is still an older one.
    Fenced,
    /// Redis could not be asked whether it serves the open epoch.
    RedisAway,
    /// Redis does not serve the open epoch.
    Refused(Refusal),
    /// Redis answered something that makes no sense. Needs a new epoch.
    Broken,
}

impl Reason {
    /// Stable name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::DatabaseAway => "DatabaseAway",
            Self::Unknown => "UnknownCampaign",
            Self::Closed => "Closed",
            Self::Elsewhere => "LedgerOwnedElsewhere",
            Self::Fenced => "Fenced",
            Self::RedisAway => "RedisAway",
            Self::Refused(Refusal::Closed) => "StockClosed",
            Self::Refused(Refusal::OtherEpoch { .. }) => "StockOfOtherEpoch",
            Self::Refused(Refusal::HistoryChanged) => "StockHistoryChanged",
            Self::Refused(Refusal::Behind) => "StockBehind",
            Self::Refused(Refusal::Damaged) => "StockDamaged",
            Self::Broken => "StockBroken",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "this server is starting",
            Self::DatabaseAway => "the database is not reachable",
            Self::Unknown => "the campaign is being set up",
            Self::Closed => "the campaign is closed for now",
            Self::Elsewhere => "the campaign is served by another cluster",
            Self::Fenced => "the campaign's stock is being repaired",
            Self::RedisAway => "Redis cannot be read",
            Self::Refused(_) => "the campaign's stock must be checked before issuing goes on",
            Self::Broken => "the campaign's stock is damaged and must be rebuilt",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unopened(Reason),
    Serving { epoch: u64 },
}

/// The state machine. Starts unopened with a floor of 0.
#[derive(Debug)]
pub struct Gate {
    floor: u64,
    state: State,
    /// Highest rank seen, and the epoch it was seen under.
    seen: (u64, u64),
    has_served: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self { floor: 0, state: State::Unopened(Reason::Starting), seen: (0, 0), has_served: false }
    }
}

impl Gate {
    /// The epoch under which may be granted now.
    pub fn serving(&self) -> Option<u64> {
        match self.state {
            State::Serving { epoch } => Some(epoch),
            State::Unopened(_) => None,
        }
    }

    /// Why nothing is granted; `None` while serving.
    pub fn reason(&self) -> Option<Reason> {
        match self.state {
            State::Serving { .. } => None,
            State::Unopened(reason) => Some(reason),
        }
    }

    /// Below this epoch nothing is served.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether an epoch was ever served.
    pub fn has_served(&self) -> bool {
        self.has_served
    }

    /// The highest epoch that this process has heard of.
    pub fn known(&self) -> u64 {
        self.floor.max(self.serving().unwrap_or(0)).max(self.seen.0)
    }

    /// Raises the floor. A lower floor than the present one changes nothing.
    pub fn fence(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.stop_below(self.floor);
    }

    /// Stops serving an older epoch. By itself it is no fence: a value of that epoch that is on its way would be served.
    pub fn stop_below(&mut self, epoch: u64) {
        if self.serving().is_some_and(|serving| serving < epoch) {
            self.state = State::Unopened(Reason::Fenced);
        }
    }

    /// Begins to serve `epoch`, the open epoch of SQL. Changes nothing while serving. Returns whether `epoch` is served.
    pub fn open(&mut self, epoch: u64) -> bool {
        if self.serving().is_none() {
            if epoch < self.floor {
                self.state = State::Unopened(Reason::Fenced);
            } else {
                self.state = State::Serving { epoch };
                self.has_served = true;
            }
        }
        self.serving() == Some(epoch)
    }

    /// Says why it is still unopened. Changes nothing while serving.
    pub fn stay_closed(&mut self, reason: Reason) {
        if self.serving().is_none() {
            self.state = State::Unopened(reason);
        }
    }

    /// Redis refused a batch that was sent under `epoch`.
    pub fn refused(&mut self, epoch: u64, refusal: Refusal) {
        if self.serving() == Some(epoch) {
            self.state = State::Unopened(Reason::Refused(refusal));
        }
    }

    /// Redis answered nonsense to a batch that was sent under `epoch`: that epoch is never served again.
    pub fn broken(&mut self, epoch: u64) {
        self.floor = self.floor.max(epoch.saturating_add(1));
        if self.serving().is_some_and(|serving| serving < self.floor) {
            self.state = State::Unopened(Reason::Broken);
        }
    }

    /// Remembers the highest rank of an answer.
    pub fn saw(&mut self, epoch: u64, highest: u64) {
        if self.seen.0 == epoch {
            self.seen.1 = self.seen.1.max(highest);
        } else if epoch > self.seen.0 {
            self.seen = (epoch, highest);
        }
    }

    /// The highest rank ever seen under `epoch`.
    pub fn seen(&self, epoch: u64) -> u64 {
        if self.seen.0 == epoch { self.seen.1 } else { 0 }
    }
}

/// The epoch that the campaign's row opens, if it may be served at all above `floor`, and in this `cluster`: the owner's fences reach
/// nobody else. `None`: whoever started this process did not say where it is.
pub fn candidate(row: Option<&CampaignRow>, floor: u64, cluster: Option<&str>) -> Result<u64, Reason> {
    let owner = row.and_then(|row| row.custody.owner.as_deref());
    match row.map(|row| row.open_epoch) {
        None => Err(Reason::Unknown),
        _ if owner.zip(cluster).is_some_and(|(owner, cluster)| owner != cluster) => Err(Reason::Elsewhere),
        Some(None) => Err(Reason::Closed),
        Some(Some(epoch)) if epoch < floor => Err(Reason::Fenced),
        Some(Some(epoch)) => Ok(epoch),
    }
}

/// Whether Redis serves `epoch`, of which rank `seen` was already seen. The script checks the same again for each batch;
/// asking first keeps users from waiting in a queue for a refusal.
pub fn stock_serves(state: &StockState, epoch: u64, seen: u64) -> Result<(), Refusal> {
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
    use campaign::stock::{OpenStock, Terms};
    use campaign::table::{CampaignRowId, Custody};
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Open(u64),
        Fence(u64),
        Refused(u64),
        Broken(u64),
        StayClosed,
    }

    fn apply(gate: &mut Gate, step: &Step) {
        match step {
            Step::Open(epoch) => drop(gate.open(*epoch)),
            Step::Fence(floor) => gate.fence(*floor),
            Step::Refused(epoch) => gate.refused(*epoch, Refusal::HistoryChanged),
            Step::Broken(epoch) => gate.broken(*epoch),
            Step::StayClosed => gate.stay_closed(Reason::Closed),
        }
    }

    #[test]
    fn transitions() {
        use Step::{Broken, Fence, Open, Refused, StayClosed};
        let history_changed = Reason::Refused(Refusal::HistoryChanged);
        for (what, steps, expected) in [
            ("nothing is served at first", vec![], Err(Reason::Starting)),
            ("an epoch of SQL is served", vec![Open(3)], Ok(3)),
            ("the floor itself is served", vec![Fence(3), Open(3)], Ok(3)),
            ("a fence stops what is older", vec![Open(3), Fence(4)], Err(Reason::Fenced)),
            ("a fence leaves what is as new", vec![Open(4), Fence(4)], Ok(4)),
            ("a value read before the fence is dropped", vec![Open(3), Fence(4), Open(3)], Err(Reason::Fenced)),
            ("the floor does not fall", vec![Fence(5), Fence(2), Open(4)], Err(Reason::Fenced)),
            ("the next epoch is served after a fence", vec![Open(3), Fence(4), Open(4)], Ok(4)),
            ("a running epoch is not replaced, only fenced", vec![Open(3), Open(4)], Ok(3)),
            ("a refusal stops", vec![Open(3), Refused(3)], Err(history_changed)),
            ("SQL is believed again after a refusal", vec![Open(3), Refused(3), Open(3)], Ok(3)),
            ("a late refusal of an older epoch is nothing", vec![Open(3), Fence(4), Open(4), Refused(3)], Ok(4)),
            ("a broken epoch is never served again", vec![Open(3), Broken(3), Open(3)], Err(Reason::Fenced)),
            ("a new epoch mends it", vec![Open(3), Broken(3), Open(4)], Ok(4)),
            ("a reason does not close what serves", vec![Open(3), StayClosed], Ok(3)),
        ] {
            let mut gate = Gate::default();
            for step in &steps {
                apply(&mut gate, step);
            }
            assert_eq!(gate.serving().ok_or_else(|| gate.reason().unwrap()), expected, "{what}: {steps:?}");
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
            let (mut gate, mut floor) = (Gate::default(), 0);
            for step in &steps {
                apply(&mut gate, step);
                match step {
                    Step::Fence(wanted) => floor = floor.max(*wanted),
                    Step::Broken(epoch) => floor = floor.max(epoch + 1),
                    _ => {}
                }
                prop_assert_eq!(gate.floor(), floor);
                prop_assert!(gate.serving().is_none_or(|epoch| epoch >= floor));
                prop_assert!(gate.serving().is_some() != gate.reason().is_some());
            }
        }
    }

    #[test]
    fn ranks_are_remembered_per_epoch() {
        let mut gate = Gate::default();
        gate.saw(3, 10);
        gate.saw(3, 7);
        assert_eq!((gate.seen(3), gate.seen(4)), (10, 0));
        gate.saw(4, 2);
        gate.saw(3, 99);
        assert_eq!((gate.seen(3), gate.seen(4)), (0, 2), "a late answer of an older epoch says nothing of the new one");
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
        assert_eq!(candidate(None, 0, None), Err(Reason::Unknown));
        assert_eq!(candidate(Some(&row(None)), 0, None), Err(Reason::Closed), "allotted is not open");
        assert_eq!(candidate(Some(&row(Some(3))), 4, None), Err(Reason::Fenced));
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
            (Some("b"), Some("a"), Err(Reason::Elsewhere)),
            (None, Some("a"), Ok(4)),
            (Some("b"), None, Ok(4)),
        ] {
            assert_eq!(candidate(Some(&owned(owner)), 4, cluster), expected, "{owner:?} {cluster:?}");
        }
    }

    #[test]
    fn redis_must_hold_what_sql_opened() {
        let terms = Terms { total: 9, limit: 1, start_ms: 0, end_ms: 1, suspended: false };
        let state = |epoch, bound: &str, highest| StockState {
            clock_ms: 0,
            now_ms: 0,
            history: "now".into(),
            issued: 5,
            open: Some(OpenStock { epoch, history: bound.into(), terms, number: 1, highest, misfit: None }),
        };
        assert_eq!(stock_serves(&state(3, "now", 5), 3, 5), Ok(()));
        assert_eq!(stock_serves(&state(3, "before", 5), 3, 5), Err(Refusal::HistoryChanged));
        assert_eq!(stock_serves(&state(2, "now", 5), 3, 5), Err(Refusal::OtherEpoch { current: 2 }));
        assert_eq!(stock_serves(&state(3, "now", 5), 3, 6), Err(Refusal::Behind));
        let mut damaged = state(3, "now", 5);
        damaged.open.as_mut().unwrap().misfit = Some("5 winners and the requests of 4".into());
        assert_eq!(stock_serves(&damaged, 3, 5), Err(Refusal::Damaged));
        assert!(!damaged.serves(3));
        let closed = StockState { open: None, ..state(3, "now", 5) };
        assert_eq!(stock_serves(&closed, 3, 0), Err(Refusal::Closed));
    }
}
