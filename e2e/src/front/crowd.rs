//! The people of a sale: who comes for what, what each has heard, and whether an answer fits that. Pure: times are given.

use std::time::{Duration, Instant};

use serde_json::Value;

/// One request in so many is somebody's first.
const COMES: u64 = 25;
/// So old a token is when its owner gets another one.
pub const TOKEN_AGE: Duration = Duration::from_secs(5);

/// What somebody comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Asks for a coupon for the first time.
    First,
    /// Asks again, with the same key.
    Again,
    /// Looks up which coupons are one's own.
    Look,
    /// Looks at the countdown, as nobody in particular.
    Count,
}

/// What somebody was told, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A coupon of this rank.
    Rank(u64),
    /// That all are issued.
    SoldOut,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who it is.
    pub name: String,
    /// The key of the one wish.
    pub key: String,
    /// What came of it.
    pub heard: Option<Heard>,
    /// Waits for an answer: nobody asks twice at the same time, and an issuer looks nobody up twice at the same time.
    waits: bool,
    token: Option<(String, Instant)>,
}

/// Those who have come, in the order in which they came.
#[derive(Debug)]
pub struct Crowd {
    people: Vec<Person>,
    all: usize,
}

impl Crowd {
    /// Nobody yet, of so many.
    pub fn new(all: usize) -> Self {
        Self { people: Vec::new(), all }
    }

    /// Who has the turn at this tick, and comes for what.
    pub fn next(&mut self, tick: u64) -> (usize, Errand) {
        let there = self.people.len();
        if there == 0 || (tick.is_multiple_of(COMES) && there < self.all) {
            let number = there + 1;
            let (name, key) = (format!("user-{number:04}"), format!("wish-of-{number:04}"));
            self.people.push(Person { name, key, heard: None, waits: true, token: None });
            return (there, Errand::First);
        }
        // A prime: those who come back are neither the first ones only nor the last.
        let who = usize::try_from(tick.wrapping_mul(7_919) % there as u64).unwrap_or(0);
        let errand = match tick % 3 {
            0 => Errand::Again,
            1 => Errand::Look,
            _ => Errand::Count,
        };
        match self.people.get_mut(who).filter(|person| !person.waits && errand != Errand::Count) {
            Some(person) => {
                person.waits = true;
                // Who was told nothing yet asks for that again, with the same key.
                (who, if person.heard.is_some() { errand } else { Errand::First })
            }
            None => (who, Errand::Count),
        }
    }

    /// One of them.
    pub fn person(&self, who: usize) -> Option<&Person> {
        self.people.get(who)
    }

    /// Their token: the one they have, or another one of `sign` if that is old.
    pub fn token(&mut self, who: usize, now: Instant, sign: impl FnOnce(&str) -> String) -> Option<String> {
        let person = self.people.get_mut(who)?;
        let kept = person.token.take().filter(|(_, signed)| now.duration_since(*signed) < TOKEN_AGE);
        let (token, signed) = kept.unwrap_or_else(|| (sign(&person.name), now));
        person.token = Some((token.clone(), signed));
        Some(token)
    }

    /// They were answered, and told this, if it is new.
    pub fn hears(&mut self, who: usize, told: Option<Heard>) {
        if let Some(person) = self.people.get_mut(who) {
            person.waits = false;
            person.heard = told.or(person.heard);
        }
    }

    /// How many have come.
    pub fn come(&self) -> usize {
        self.people.len()
    }

    /// Whether all have come, and been told something.
    pub fn is_served(&self) -> bool {
        self.people.len() == self.all && self.people.iter().all(|person| person.heard.is_some())
    }

    /// Rank and name of those with a coupon, by rank.
    pub fn winners(&self) -> Vec<(u64, String)> {
        let mut winners: Vec<_> = self
            .people
            .iter()
            .filter_map(|person| match person.heard {
                Some(Heard::Rank(rank)) => Some((rank, person.name.clone())),
                _ => None,
            })
            .collect();
        winners.sort();
        winners
    }

    /// Some with a coupon, the first of them.
    pub fn some_winners(&self, count: usize) -> Vec<Person> {
        let won = |person: &&Person| matches!(person.heard, Some(Heard::Rank(_)));
        self.people.iter().filter(won).take(count).cloned().collect()
    }
}

/// What an answer says, if it fits what the person has heard before.
///
/// # Errors
/// A word about what does not fit.
pub fn judge(errand: Errand, before: Option<Heard>, status: u16, body: &Value) -> Result<Option<Heard>, &'static str> {
    let sold_out = (status, body["code"].as_str()) == (400, Some("SOLD_OUT"));
    let told = match body["rank"].as_u64().filter(|_| status == 200) {
        Some(rank) => Some(Heard::Rank(rank)),
        None => sold_out.then_some(Heard::SoldOut),
    };
    match (errand, before) {
        (Errand::First, _) => told.map(Some).ok_or("neither a rank nor sold out"),
        (Errand::Again, before) if told.is_some() && told == before => Ok(None),
        (Errand::Again, _) => Err("asked again, and heard something else"),
        (Errand::Look, before) => {
            let ranks: Option<Vec<u64>> =
                body["coupons"].as_array().map(|all| all.iter().filter_map(|one| one["rank"].as_u64()).collect());
            let expected = match before {
                Some(Heard::Rank(rank)) => vec![rank],
                _ => Vec::new(),
            };
            if status == 200 && ranks == Some(expected) { Ok(None) } else { Err("looked, and saw other coupons") }
        }
        (Errand::Count, _) if status == 200 && body["couponId"].is_string() => Ok(None),
        (Errand::Count, _) => Err("no countdown"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_come_at_a_pace_and_come_back_once_they_have_heard() {
        let mut crowd = Crowd::new(40);
        let mut firsts = Vec::new();
        for tick in 0..2_000 {
            let (who, errand) = crowd.next(tick);
            if errand == Errand::First {
                firsts.push(tick);
                crowd.hears(who, Some(Heard::SoldOut));
            }
        }
        assert_eq!((firsts.len(), crowd.come()), (40, 40));
        assert_eq!(firsts.iter().copied().max(), Some(39 * COMES), "at a steady pace: {firsts:?}");
        assert!(crowd.is_served());
        let one = &mut Crowd::new(1);
        one.next(0);
        one.hears(0, Some(Heard::SoldOut));
        let busy: Vec<Errand> = (1..=4).map(|tick| one.next(tick).1).collect();
        assert_eq!(busy, [Errand::Look, Errand::Count, Errand::Count, Errand::Count], "one thing at a time");
        one.hears(0, None);
        assert_eq!((one.next(6), one.people[0].heard), ((0, Errand::Again), Some(Heard::SoldOut)));
        let mut waits = Crowd::new(2);
        waits.next(0);
        assert!((1..COMES).all(|tick| waits.next(tick) == (0, Errand::Count)), "who waits asks for nothing else");
        assert!(!waits.is_served());
        waits.hears(0, None);
        assert_eq!(waits.next(1), (0, Errand::First), "who was told nothing asks again");
    }

    #[test]
    fn a_token_is_kept_until_it_is_old() {
        let mut crowd = Crowd::new(1);
        crowd.next(0);
        let begin = Instant::now();
        let mut get = |after: Duration, text: &str| crowd.token(0, begin + after, |name| format!("{name} {text}"));
        assert_eq!(get(Duration::ZERO, "a"), Some("user-0001 a".to_owned()));
        assert_eq!(get(TOKEN_AGE / 2, "b"), Some("user-0001 a".to_owned()));
        assert_eq!(get(TOKEN_AGE, "c"), Some("user-0001 c".to_owned()));
    }

    #[test]
    fn an_answer_fits_what_was_heard_or_not() {
        let (seven, sold_out) = (Some(Heard::Rank(7)), Some(Heard::SoldOut));
        let rank = |rank: u64| (200, json!({"success": true, "rank": rank}));
        let no = |status: u16, code: &str| (status, json!({"code": code}));
        let holds = |ranks: &[u64]| {
            let coupons: Vec<Value> = ranks.iter().map(|rank| json!({"rank": rank})).collect();
            (200, json!({"coupons": coupons}))
        };
        use Errand::{Again, Count, First, Look};
        for (errand, before, answer, expected) in [
            (First, None, rank(7), Some(seven)),
            (First, None, no(400, "SOLD_OUT"), Some(sold_out)),
            (First, None, no(400, "ALREADY_ISSUED"), None),
            (First, None, no(503, "UNCONFIRMED"), None),
            (First, None, (502, json!(null)), None),
            (Again, seven, rank(7), Some(None)),
            (Again, seven, rank(8), None),
            (Again, seven, no(400, "SOLD_OUT"), None),
            (Again, sold_out, no(400, "SOLD_OUT"), Some(None)),
            (Again, sold_out, rank(1), None),
            (Again, None, no(401, "INVALID_TOKEN"), None),
            (Look, seven, holds(&[7]), Some(None)),
            (Look, seven, holds(&[]), None),
            (Look, seven, holds(&[7, 8]), None),
            (Look, sold_out, holds(&[]), Some(None)),
            (Look, sold_out, holds(&[1]), None),
            (Look, sold_out, no(403, "USER_MISMATCH"), None),
            (Count, None, (200, json!({"couponId": "x"})), Some(None)),
            (Count, None, no(503, "NOT_OPEN"), None),
        ] {
            let judged = judge(errand, before, answer.0, &answer.1);
            assert_eq!(judged.ok(), expected, "{errand:?} after {before:?}: {answer:?}");
        }
    }
}
