//! How many look-ups of users' coupons run at once: in all, and about the same user.
//!
//! Who asks may not be known, and behind a proxy all have the same address. Whom they ask about is: a client that asks again and
//! again about one user gets in its own way, and the bound on all keeps the rest from Redis and the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coupon_core::identity::UserId;

/// Why a look-up may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Too many are under way.
    All,
    /// Too many are under way about this user.
    User,
}

/// What is under way.
#[derive(Debug)]
pub(crate) struct Lookups {
    most: usize,
    most_of_one: usize,
    under_way: Mutex<HashMap<UserId, usize>>,
}

impl Lookups {
    /// At most `most` at once, and `most_of_one` about the same user.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, under_way: Mutex::default() })
    }

    /// A look-up about this user begins; it ends when what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>, user: &UserId) -> Result<Lookup, Busy> {
        let mut under_way = self.under_way();
        let of_one = under_way.get(user).copied().unwrap_or(0);
        if of_one >= self.most_of_one {
            return Err(Busy::User);
        }
        if under_way.values().sum::<usize>() >= self.most {
            return Err(Busy::All);
        }
        under_way.insert(user.clone(), of_one + 1);
        Ok(Lookup { of: Arc::clone(self), user: user.clone() })
    }

    /// Nobody panics with it in hand; and if, the counts are whole.
    fn under_way(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up that is under way.
#[derive(Debug)]
pub(crate) struct Lookup {
    of: Arc<Lookups>,
    user: UserId,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let mut under_way = self.of.under_way();
        if let Some(of_one) = under_way.get_mut(&self.user) {
            *of_one -= 1;
            if *of_one == 0 {
                under_way.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_s_look_ups_leave_room_for_others_and_all_have_an_end() {
        let lookups = Lookups::new(3, 2);
        let begin = |user: &str| lookups.begin(&UserId::new(user).unwrap());
        let (first, second) = (begin("anna").unwrap(), begin("anna").unwrap());
        assert_eq!(begin("anna").unwrap_err(), Busy::User);
        let third = begin("bert").unwrap();
        assert_eq!(begin("carl").unwrap_err(), Busy::All);
        drop(first);
        let again = begin("anna").unwrap();
        assert_eq!(begin("anna").unwrap_err(), Busy::User);
        drop((second, third, again));
        assert!(lookups.under_way().is_empty(), "nothing is kept of whom nobody asks about any more");
    }
}
