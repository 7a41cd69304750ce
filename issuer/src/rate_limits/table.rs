//! A bucket for each user or address, in memory that does not grow.
//!
//! A table of sets, as a processor's cache is one: a key belongs to one set, and a set has room for [`WAYS`] buckets. Where there is none for another
//! one, the bucket makes room that is full, or will be the soonest: who loses it gets back what is missing in it, and nobody has used less. Which keys share a
//! set depends on a secret of the process (SipHash), so nobody can choose them: to be forgotten, one who has used a bucket up must have as much used of
//! [`CAPACITY`] others first, on average, which all were full. Who floods the table with new keys takes the room from each other.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use coupon_core::contract::Rate;
use prometheus_client::metrics::counter::Counter;

use super::bucket::{Bucket, Filling, Nanos, Wait};

/// Buckets in all: 3 MiB.
const CAPACITY: usize = 131_072;
/// Buckets of a set.
const WAYS: usize = 16;
/// Parts of a table, each of which one thread uses at a time.
const SHARDS: usize = 64;
/// Sets of a part.
const SETS: usize = CAPACITY / (SHARDS * WAYS);

/// A bucket, and by what it is known. Two keys with the same 64 bits would share one: among as many keys as there is room for, once in some two billion processes.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    fingerprint: u64,
    bucket: Bucket,
}

type Set = [Slot; WAYS];

/// The buckets of all keys.
#[derive(Debug)]
pub(super) struct Table {
    filling: Filling,
    secret: RandomState,
    shards: Box<[Mutex<Box<[Set]>>]>,
    /// Buckets that made room before they were full.
    evictions: Counter,
}

impl Table {
    pub(super) fn new(rate: Rate, evictions: Counter) -> Self {
        let shard = || Mutex::new(vec![[Slot::default(); WAYS]; SETS].into_boxed_slice());
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { filling: Filling::new(rate), secret: RandomState::new(), shards, evictions }
    }

    pub(super) fn filling(&self) -> &Filling {
        &self.filling
    }

    /// Takes one request out of the bucket of `key`.
    pub(super) fn take(&self, key: impl Hash, now: Nanos) -> Result<(), Wait> {
        let fingerprint = self.secret.hash_one(key);
        let (shard, set) = place(fingerprint);
        // Nobody panics with it in hand; and if, buckets are plain numbers.
        let mut sets = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let set = &mut sets[set];
        let at = match find(set, fingerprint) {
            Found::There(at) => at,
            Found::Room(at) => {
                if set[at].bucket.full_at() > now {
                    self.evictions.inc();
                }
                set[at] = Slot { fingerprint, bucket: Bucket::default() };
                at
            }
        };
        set[at].bucket.take(&self.filling, now)
    }

    /// Buckets that are not full. Looks at all of them, one part after the other: a fraction of a millisecond.
    pub(super) fn in_use(&self, now: Nanos) -> usize {
        let of_shard = |shard: &Mutex<Box<[Set]>>| {
            let sets = shard.lock().unwrap_or_else(PoisonError::into_inner);
            sets.iter().flatten().filter(|slot| slot.bucket.full_at() > now).count()
        };
        self.shards.iter().map(of_shard).sum()
    }
}

/// The part, and the set in it, of a key.
fn place(fingerprint: u64) -> (usize, usize) {
    // The remainder is small.
    let of = |number: u64, many: usize| usize::try_from(number % many as u64).unwrap_or(0);
    (of(fingerprint, SHARDS), of(fingerprint / SHARDS as u64, SETS))
}

enum Found {
    There(usize),
    /// Not there; this one has to make room.
    Room(usize),
}

fn find(set: &Set, fingerprint: u64) -> Found {
    let mut fullest = 0;
    for (at, slot) in set.iter().enumerate() {
        if slot.fingerprint == fingerprint {
            return Found::There(at);
        }
        if slot.bucket.full_at() < set[fullest].bucket.full_at() {
            fullest = at;
        }
    }
    Found::Room(fullest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const SECOND: Nanos = 1_000_000_000;

    fn table(requests: u32, per_seconds: u32, burst: u32) -> Table {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate { requests: number(requests), per_seconds: number(per_seconds), burst: number(burst) };
        Table::new(rate, Counter::default())
    }

    fn served(table: &Table, key: impl Hash + Copy, asks: usize, now: Nanos) -> usize {
        (0..asks).filter(|_| table.take(key, now).is_ok()).count()
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let table = table(1, 1, 3);
        for key in 0..1_000u32 {
            assert_eq!(served(&table, key, 5, 0), 3, "{key}");
        }
        assert_eq!((table.in_use(0), table.evictions.get()), (1_000, 0));
        assert_eq!(served(&table, 7u32, 5, SECOND), 1);
        assert_eq!(table.in_use(3 * SECOND), 1, "who has paused for long enough needs no room");
        assert_eq!(table.in_use(4 * SECOND), 0);
    }

    /// Wrong: memory grows with the number of addresses that somebody has or makes up.
    #[test]
    fn ten_million_addresses_take_no_more_room_than_there_is() {
        let table = table(1, 60, 5);
        for address in 0..10_000_000u64 {
            assert!(table.take(address, address * 1_000).is_ok(), "a new one is never refused for the sake of others");
        }
        let (bytes, in_use) = (CAPACITY * size_of::<Slot>(), table.in_use(10 * SECOND));
        println!("{in_use} of {CAPACITY} buckets in use, {} KiB", bytes / 1024);
        assert_eq!((CAPACITY, bytes), (131_072, 3 * 1024 * 1024));
        assert!(in_use <= CAPACITY && in_use > CAPACITY * 9 / 10, "{in_use}");
        assert!(table.evictions.get() > 9_000_000, "{}", table.evictions.get());
    }

    /// Wrong: who has used a bucket up floods the table with addresses, and begins anew.
    #[test]
    fn a_flood_of_new_keys_gives_nobody_back_what_is_used_up() {
        let table = table(1, 60, 5);
        for greedy in 0..100u64 {
            assert_eq!(served(&table, ("greedy", greedy), 9, 0), 5);
        }
        for stranger in 0..2_000_000u64 {
            assert!(table.take(("stranger", stranger), 1).is_ok());
        }
        let again: usize = (0..100u64).map(|greedy| served(&table, ("greedy", greedy), 9, 2)).sum();
        assert_eq!(again, 0, "their buckets are emptier than those of the strangers");
    }

    /// What it takes: as many others as there is room for, each used up after it.
    #[test]
    fn who_wants_to_be_forgotten_must_use_up_as_much_with_all_others() {
        let table = table(1, 60, 5);
        assert_eq!(served(&table, "greedy", 9, 0), 5);
        let mut others = 0u64;
        while table.take("greedy", 1).is_err() {
            // Looking each time would be part of what is counted, and takes nothing.
            for _ in 0..512 {
                assert_eq!(served(&table, others, 5, 1), 5);
                others += 1;
            }
            assert!(others < 10 * CAPACITY as u64, "it is never forgotten");
        }
        assert!(others > CAPACITY as u64 / 10, "{others} others were enough");
    }

    #[test]
    fn keys_are_spread_evenly_and_otherwise_in_each_process() {
        let (one, other) = (table(1, 1, 1), table(1, 1, 1));
        let mut counts = vec![0u32; SHARDS * SETS];
        let mut alike = 0;
        for key in 0..CAPACITY as u64 / 2 {
            let (shard, set) = place(one.secret.hash_one(key));
            counts[shard * SETS + set] += 1;
            alike += usize::from((shard, set) == place(other.secret.hash_one(key)));
        }
        // Eight on average; a set that has more than twice as many is one in some hundred.
        assert!(counts.iter().filter(|count| **count > 16).count() < SHARDS * SETS / 50);
        assert!(alike < 100, "{alike}");
    }
}
