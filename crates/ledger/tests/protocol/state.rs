//! One state of the world, small and comparable. Zero means *nothing* everywhere, so that equal situations are equal states.

use std::fmt;

use crate::budget::Budget;

/// Highest rank.
pub(crate) const RANKS: usize = 2;
/// Users, those who come when everything is quiet included.
pub(crate) const USERS: usize = 4;
/// Epochs that can be told apart, and the last one is for the quiet end.
pub(crate) const EPOCHS: usize = 6;
/// Records that a partition has room for, those of the quiet end included.
pub(crate) const LOG: usize = 12;

/// Who: user, the user's n-th coupon, and the key of the request, as one number above 0. 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Winner(pub u8);

impl Winner {
    /// A winner.
    pub(crate) fn new(user: u8, n: u8, key: u8) -> Self {
        Self(1 + user * 4 + n * 2 + key)
    }

    /// Nobody.
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The user.
    pub(crate) fn user(self) -> u8 {
        (self.0 - 1) / 4
    }

    /// Which request of the user's won.
    pub(crate) fn key(self) -> u8 {
        (self.0 - 1) % 2
    }

    /// User and n: what is unique in SQL.
    pub(crate) fn place(self) -> usize {
        usize::from((self.0 - 1) / 2)
    }

    /// Whether two say the same, as SQL compares them.
    pub(crate) fn same(self, other: Self) -> bool {
        self.is_none() == other.is_none() && (self.is_none() || self.place() == other.place())
    }
}

/// A winner with rank and epoch: a record, a row, a grant on its way. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Record {
    /// From 1; 0 in a call that has no rank yet.
    pub rank: u8,
    /// Who.
    pub winner: Winner,
    /// Under which epoch it was granted.
    pub epoch: u8,
}

impl Record {
    /// No record.
    pub(crate) const NONE: Self = Self { rank: 0, winner: Winner(0), epoch: 0 };

    /// Whether there is none.
    pub(crate) fn is_none(self) -> bool {
        self.winner.is_none()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, n) = (self.winner.user(), self.winner.place() % 2 + 1);
        write!(f, "(u{user} n{n}, rank {}, epoch {})", self.rank, self.epoch)
    }
}

/// Who holds each rank.
pub(crate) type Ranks = [Winner; RANKS];

/// What an issuer is doing with its one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Work {
    /// Nothing.
    #[default]
    Idle,
    /// The script is called.
    Called,
    /// Redis has given the rank, nothing is produced (after-script).
    Granted,
    /// Handed to Kafka, not acknowledged (after-produce).
    Produced,
    /// Kafka is away: the direct insert is on its way.
    Inserting,
    /// Durable, the user has heard nothing (before-answer, after-direct-insert).
    Durable,
}

/// An issuer process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Issuer {
    /// The epoch it serves; 0: none.
    pub epoch: u8,
    /// Below this it serves nothing.
    pub floor: u8,
    /// What it has read from SQL and not applied yet; 0: nothing.
    pub read: u8,
    /// The highest rank seen; only where snapshots are resumed.
    pub seen: u8,
    /// Under which epoch.
    pub seen_under: u8,
    /// The request under way.
    pub work: Work,
    /// Its content.
    pub record: Record,
}

/// The operator's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) enum Next {
    /// None is under way.
    #[default]
    Idle,
    /// Wait for every issuer (after-allot).
    Fence,
    /// Capture identity and committed offsets (after-fence).
    Offsets,
    /// Read the ends of the log.
    Ends,
    /// Commit the barrier.
    Barrier,
    /// Read SQL's rows (after-barrier).
    Rows,
    /// Read the log between the two.
    Tail,
    /// Read the dead letters.
    Dead,
    /// Read Redis.
    Held,
    /// Write Redis, or bind it (after-read).
    Fill,
    /// Write the temporary keys (after-chunk).
    Chunks,
    /// Swap them in (before-swap).
    Swap,
    /// Open the epoch (after-swap).
    Open,
    /// Opened, but a swap of this attempt is still on its way; only without `OneShotAttempt`.
    LateSwap,
    /// Deletion: remove the meta key.
    CloseStock,
    /// Deletion: remove the pods.
    PodsGone,
    /// Deletion: store what is left in the log.
    Drain,
    /// Deletion: remove keys, group and topic.
    Remove,
    /// Quantity: SQL, then Redis.
    TotalThenKeys,
    /// Quantity: Redis, then SQL.
    KeysThenTotal,
    /// Quantity: SQL.
    Total,
    /// Quantity: Redis.
    Keys,
    /// Removal of the keys: every winner that Redis holds is a row; allot an epoch, unless there is another already.
    Close,
    /// Removal of the keys: one script, if nothing has changed.
    RemoveKeys,
    /// The repair loop has read a grant; only without `EpochReadWithGrant`.
    Publish,
}

/// An operator process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Operator {
    /// Its next step.
    pub next: Next,
    /// The epoch it opens.
    pub epoch: u8,
    /// Identity of Redis, captured before Redis was read.
    pub identity: u8,
    /// Committed offsets as read.
    pub committed: [u8; 2],
    /// Ends as read.
    pub ends: [u8; 2],
    /// The topic that they belong to.
    pub topic: u8,
    /// What was read so far, in order of authority.
    pub ledger: Ranks,
    /// Issuers that have confirmed, as bits.
    pub fenced: u8,
    /// The epoch in the meta key when Redis was read, if Redis may be bound instead of written, or is to be emptied; else 0.
    pub rebind: u8,
    /// Winners written into temporary keys.
    pub chunks: u8,
    /// It is deleting the campaign.
    pub deleting: bool,
    /// It is removing the keys of a campaign that is over.
    pub removing: bool,
    /// The quantity that it brings.
    pub total: u8,
    /// The number of these terms.
    pub terms: u8,
    /// A grant read by the repair loop.
    pub grant: Record,
}

/// The campaign's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Keys {
    /// Epoch in the meta key; 0: there is no meta key.
    pub epoch: u8,
    /// History in the meta key.
    pub history: u8,
    /// Total.
    pub total: u8,
    /// Number of the terms.
    pub terms: u8,
    /// Highest rank given.
    pub highest: u8,
    /// Winners by rank. The free list is what is missing below `highest`.
    pub issued: Ranks,
}

/// A Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Redis {
    /// Its history; 0: there is no such server.
    pub identity: u8,
    /// Keys in use.
    pub keys: Keys,
    /// Temporary keys of each operator: bit 0 begun, then one bit per rank.
    pub temporary: [u8; 2],
}

/// A partition, and the consumer that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Partition {
    /// Records in it.
    pub end: u8,
    /// Committed offset.
    pub committed: u8,
    /// The consumer's next offset.
    pub at: u8,
    /// The consumer has given the record up and will write a dead letter.
    pub giving_up: bool,
    /// The records.
    pub records: [Record; LOG],
}

/// The database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Sql {
    /// Highest epoch allotted.
    pub epoch: u8,
    /// The open epoch; 0: closed.
    pub open: u8,
    /// Total.
    pub total: u8,
    /// Number of the terms allotted last.
    pub terms: u8,
    /// Rows by rank.
    pub rows: [Record; RANKS],
    /// Barrier of each epoch: one more than the end of each partition; 0: none.
    pub barriers: [[u8; 2]; EPOCHS],
    /// The topic of each barrier.
    pub topics: [u8; EPOCHS],
    /// The epoch of the barrier that somebody has written by hand; 0: none.
    pub forged: u8,
}

/// Whether the campaign's object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Object {
    /// It is.
    #[default]
    Applied,
    /// It is being deleted.
    Deleting,
    /// The same, and its pods are gone.
    NoPods,
    /// It is gone.
    Gone,
}

/// The world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    /// Issuers.
    pub issuers: [Issuer; 2],
    /// Operators. Nothing elects a leader here: each may act at any time, as a zombie would.
    pub operators: [Operator; 2],
    /// The primary, and an old primary that still serves whoever reaches it.
    pub redis: [Redis; 2],
    /// The replica: what the primary was at some time.
    pub replica: Redis,
    /// Redis identities used so far.
    pub identities: u8,
    /// The topic's partitions.
    pub log: [Partition; 2],
    /// The topic's id.
    pub topic: u8,
    /// Records on their way to Kafka, sorted.
    pub flights: [Record; 3],
    /// Direct inserts on their way to SQL that nobody waits for, sorted.
    pub inserts: [Record; 2],
    /// Dead letters and the offsets of their records.
    pub dead: [(Record, u8); 2],
    /// The database.
    pub sql: Sql,
    /// The rank that was answered for each place of a user; 0: none.
    pub answered: [u8; USERS * 2],
    /// Users that have ever asked: the next one to come is this one, as users are alike.
    pub asked: u8,
    /// The campaign's object.
    pub object: Object,
    /// The quantity in its spec.
    pub spec: u8,
    /// What may still go wrong.
    pub left: Budget,
}

impl State {
    /// Puts a record on its way to Kafka. False: there is no room, the step is outside the bounds.
    pub(crate) fn send(&mut self, record: Record) -> bool {
        put(&mut self.flights, record)
    }

    /// Issuers are alike, and so are operators: the lower one comes first. Says whether each pair changed places.
    pub(crate) fn sort(&mut self, issuers: usize, operators: usize) -> [bool; 2] {
        let issuers = issuers == 2 && self.issuers[0] > self.issuers[1];
        if issuers {
            self.issuers.swap(0, 1);
            for operator in &mut self.operators {
                operator.fenced = operator.fenced >> 1 | (operator.fenced & 1) << 1;
            }
        }
        let operators = operators == 2 && self.operators[0] > self.operators[1];
        if operators {
            self.operators.swap(0, 1);
            for redis in self.redis.iter_mut().chain([&mut self.replica]) {
                redis.temporary.swap(0, 1);
            }
        }
        [issuers, operators]
    }

    /// How many coupons of a user are answered: the number of the request that it makes next.
    pub(crate) fn wishes_answered(&self, user: u8) -> u8 {
        let first = usize::from(user) * 2;
        self.answered[first..first + 2].iter().map(|rank| u8::from(*rank > 0)).sum()
    }
}

/// Adds to a sorted bag. False: it is full.
pub(crate) fn put(bag: &mut [Record], record: Record) -> bool {
    if !bag[0].is_none() {
        return false;
    }
    bag[0] = record;
    bag.sort_unstable();
    true
}

/// Removes from a sorted bag.
pub(crate) fn take(bag: &mut [Record], index: usize) -> Record {
    let record = std::mem::take(&mut bag[index]);
    bag.sort_unstable();
    record
}
