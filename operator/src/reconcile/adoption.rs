//! Whether an object continues a ledger that was another object's, and with how many winners. Pure.
//!
//! It is said once, in the pass that puts the object's name on the ledger. The process may end right then, with nothing said: the next one
//! finds the object's name on a ledger that has winners, and a status that knows of no epoch. (A campaign that has lost its status reports it as well:
//! by what it knows of itself it continues a ledger.)

use coupon_ledger::database::CampaignRow;

use super::observe::Observation;

/// What this process knows of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// The ledger was not read yet.
    #[default]
    Unread,
    /// The ledger was read, and nothing was adopted in this process' time.
    Nothing,
    /// It was another's, and had so many winners.
    Of(u64),
}

impl Adoption {
    /// The winners of the ledger that was adopted in this process' time.
    pub(crate) fn winners(self) -> Option<u64> {
        match self {
            Self::Of(winners) => Some(winners),
            Self::Unread | Self::Nothing => None,
        }
    }

    /// Takes in what was read of the ledger; with how many winners the process before this one has adopted it, if it has not said so.
    /// `is_new`: the object has had no epoch, by its status.
    pub(super) fn observe(&mut self, is_new: bool, uid: &str, seen: &Observation) -> Option<u64> {
        let Ok(ledger) = &seen.ledger else { return None };
        // What was adopted stays known: the watch may show the status of before for some passes.
        if *self != Self::Unread {
            return None;
        }
        *self = Self::Nothing;
        let row = ledger.row.as_ref().filter(|row| row.object_uid.as_deref() == Some(uid))?;
        of_claim(is_new, row, seen)
    }
}

/// With how many winners a ledger becomes this object's. `None`: it has had it before, or there is nothing to continue.
pub(super) fn of_claim(is_new: bool, row: &CampaignRow, seen: &Observation) -> Option<u64> {
    let stored = seen.ledger.as_ref().map_or(0, |ledger| ledger.stored);
    let issued = seen.redis.as_ref().map_or(0, |redis| redis.issued);
    // As it was closed: winners that are no rows, and that Redis has lost.
    let winners = stored.max(issued).max(row.issued_count.min(row.total));
    (is_new && row.epoch > 0 && winners > 0).then_some(winners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    /// A ledger of another object's time, which bears this name now.
    fn continued(uid: &str) -> Scene {
        Scene::open().issued(30).stored(28).with(|s| {
            (s.row().epoch, s.row().open_epoch, s.row().issued_count) = (7, None, 31);
            s.row().object_uid = Some(uid.to_owned());
        })
    }

    #[test]
    fn all_winners_count_that_anybody_remembers() {
        let of = |scene: Scene| {
            let row = scene.clone().row().clone();
            of_claim(true, &row, &scene.observation())
        };
        assert_eq!(of(continued("another")), Some(31));
        assert_eq!(of(continued("another").redis_away()), Some(31));
        assert_eq!(of(continued("another").with(|s| s.row().issued_count = 0)), Some(30));
        assert_eq!(of(continued("another").redis_emptied().with(|s| s.row().issued_count = 0)), Some(28));
        assert_eq!(
            of(continued("another").with(|s| s.row().issued_count = 900)),
            Some(100),
            "no more than there are ranks"
        );
        assert_eq!(of(Scene::registered()), None);
        assert_eq!(of(Scene::prepared()), None, "nobody has won");
    }

    /// Wrong: a process that ends right after it has put the object's name on the ledger leaves it unsaid for ever; or it is said by each
    /// process anew.
    #[test]
    fn what_the_process_before_adopted_and_did_not_say_is_found_once() {
        let seen = continued("0001").observation();
        let mut known = Adoption::default();
        let away = continued("0001").database_away().observation();
        assert_eq!(known.observe(true, "0001", &away), None);
        assert_eq!(known.observe(true, "0001", &seen), Some(31), "the first that could be read");
        assert_eq!(known.observe(true, "0001", &seen), None, "the watch may show the status of before for some passes");
        for (what, is_new, uid) in [("it was said", false, "0001"), ("it is claimed in this pass", true, "0002")] {
            assert_eq!(Adoption::default().observe(is_new, uid, &seen), None, "{what}");
        }
        let mut known = Adoption::Of(31);
        assert_eq!((known.observe(true, "0001", &seen), known.winners()), (None, Some(31)), "status goes on saying it");
        let own = Scene::new_campaign().observation();
        let mut known = Adoption::default();
        assert_eq!(known.observe(true, "0001", &own), None);
        assert_eq!(known.observe(true, "0001", &seen), None, "what was granted since is its own");
    }
}
