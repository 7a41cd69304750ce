//! Tokens that were checked a moment ago: who asks again is not checked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use coupon_core::identity::UserId;
use ring::digest::{SHA256, digest};

/// Most tokens that are remembered, in two halves. Each is some 250 bytes: 8 MiB in all.
const MOST: usize = 32_768;
/// Longest that one is, in seconds.
const LONGEST: i64 = 600;

type Fingerprint = [u8; 32];

#[derive(Debug, Clone)]
struct Known {
    user: UserId,
    /// Up to when, exclusive, in seconds of Unix time.
    until: i64,
}

/// Tokens that were checked with the present keys. Only good ones: who forges makes another each time, and would drive out all others.
#[derive(Debug, Default)]
pub(super) struct KnownTokens {
    halves: Mutex<Halves>,
}

/// When the young half is full it becomes the old one, whose tokens are forgotten: nothing is sorted, and nothing is looked for.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Fingerprint, Known>,
    old: HashMap<Fingerprint, Known>,
}

impl Halves {
    fn insert(&mut self, fingerprint: Fingerprint, known: Known) {
        if self.young.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, known);
    }
}

/// A token as it is remembered: by its SHA-256, so that no token can be read out of memory, and none can be made to look like another.
pub(super) fn fingerprint(token: &str) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

impl KnownTokens {
    /// Whose token it is, if that is remembered at this second.
    pub(super) fn user(&self, fingerprint: &Fingerprint, now: i64) -> Option<UserId> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = halves.young.get(fingerprint) {
            return (now < known.until).then(|| known.user.clone());
        }
        let known = halves.old.get(fingerprint).filter(|known| now < known.until)?.clone();
        let user = known.user.clone();
        halves.insert(*fingerprint, known);
        Some(user)
    }

    /// Remembers a good token until it expires, and for ten minutes at most. With the leeway of clocks it may be good a bit longer: it is checked
    /// again then.
    pub(super) fn remember(&self, fingerprint: Fingerprint, user: &UserId, expires: i64, now: i64) {
        let until = expires.min(now.saturating_add(LONGEST));
        if until > now {
            let known = Known { user: user.clone(), until };
            self.halves.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint, known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> UserId {
        UserId::new("anna").unwrap()
    }

    #[test]
    fn a_token_is_known_for_ten_minutes_and_never_beyond_its_end() {
        for (expires, now, known) in [
            (2_000, 1_000, true),
            (2_000, 1_599, true),
            (2_000, 1_600, false),
            (1_100, 1_099, true),
            (1_100, 1_100, false),
            (1_000, 1_000, false),
            (900, 1_000, false),
            (i64::MAX, 1_599, true),
        ] {
            let tokens = KnownTokens::default();
            let token = fingerprint("a.b.c");
            tokens.remember(token, &anna(), expires, 1_000);
            assert_eq!(tokens.user(&token, now).is_some(), known, "{expires}, {now}");
            assert_eq!(tokens.user(&fingerprint("a.b.d"), now), None);
        }
    }

    /// Wrong: memory grows with the number of users.
    #[test]
    fn the_oldest_are_forgotten_and_who_asks_again_is_kept() {
        let tokens = KnownTokens::default();
        let of = |n: usize| fingerprint(&n.to_string());
        for n in 0..3 * MOST {
            tokens.remember(of(n), &anna(), i64::MAX, 0);
            assert!(tokens.user(&of(0), 1).is_some(), "asked for again and again, after {n}");
            let halves = tokens.halves.lock().unwrap();
            assert!(halves.young.len() + halves.old.len() <= MOST, "{n}");
        }
        assert!(tokens.user(&of(1), 1).is_none());
        assert!(tokens.user(&of(3 * MOST - MOST / 2 + 1), 1).is_some());
    }
}
