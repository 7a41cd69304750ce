//! Clocks and their witnesses. Redis' clock decides in the script that gives ranks; here it is compared with the others, so that one
//! wrong clock neither opens nor ends a sale unseen. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::api::ConditionType;
use crate::api::conditions::Report;

/// Clocks further apart than this are said, in milliseconds.
pub const SAID_MS: i64 = 1_000;
/// Clocks further apart than this do not believe each other, in milliseconds.
pub const BELIEVED_MS: i64 = 5_000;
/// Why [`Clocks::report`] is False when they are too far apart to be believed.
pub(crate) const FAR_APART: &str = "ClocksFarApart";
/// How long a clock that was read once is counted on from there.
const KEPT: Duration = Duration::from_secs(600);

/// One look at somebody else's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// What it said, milliseconds since 1970.
    remote_ms: i64,
    /// What the operator's own said at the middle of the question.
    own_ms: i64,
    /// That middle, on the clock that never jumps.
    at: Instant,
    /// Half of what question and answer took: what it said may be off by so much.
    vague_ms: i64,
}

impl ClockSample {
    /// Asks, and notes the time around it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn measure<E>(ask: impl Future<Output = Result<i64, E>>) -> Result<Self, E> {
        let (began, own) = (Instant::now(), Timestamp::now().as_millisecond());
        let remote_ms = ask.await?;
        Ok(Self::of(remote_ms, own, began, began.elapsed()))
    }

    fn of(remote_ms: i64, own_ms: i64, began: Instant, took: Duration) -> Self {
        let half = took / 2;
        let vague_ms = i64::try_from(half.as_millis()).unwrap_or(i64::MAX / 4);
        Self { remote_ms, own_ms: own_ms + vague_ms, at: began + half, vague_ms }
    }

    /// How far it is ahead of the operator's clock; what may be due to the way there is taken off.
    pub fn offset_ms(&self) -> i64 {
        let offset = self.remote_ms - self.own_ms;
        offset.signum() * (offset.abs() - self.vague_ms).max(0)
    }

    /// What it says by now; `None` if the look is too long ago.
    fn now_ms(&self, now: Instant) -> Option<i64> {
        let passed = now.saturating_duration_since(self.at);
        let passed_ms = i64::try_from(passed.as_millis()).ok()?;
        (passed <= KEPT).then_some(self.remote_ms + passed_ms)
    }
}

/// The clocks of a class, as they were last read. Brokers are not among them: Kafka tells nobody its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Redis'.
    pub redis: Option<ClockSample>,
    /// The database's.
    pub database: Option<ClockSample>,
}

impl Clocks {
    /// What the class says of its clocks.
    pub fn report(&self) -> Report {
        let offsets: Vec<(&str, i64)> = [("Redis", self.redis), ("the database", self.database)]
            .into_iter()
            .filter_map(|(who, sample)| Some((who, sample?.offset_ms())))
            .collect();
        if offsets.is_empty() {
            let text = "neither Redis nor the database could be asked for its time; Kafka tells nobody";
            return Report::unknown(ConditionType::ClocksAgree, "ClocksUnread", text);
        }
        let all = || offsets.iter().map(|(_, offset)| *offset).chain([0]);
        let apart = all().max().unwrap_or(0) - all().min().unwrap_or(0);
        if apart <= SAID_MS {
            return Report::yes(
                ConditionType::ClocksAgree,
                "WithinASecond",
                "the clocks of Redis, database and operator are within a second, as far as they could be asked; Kafka's is not known",
            );
        }
        let told: Vec<String> =
            offsets.iter().map(|(who, offset)| format!("{who} is {} the operator", words(*offset))).collect();
        let (reason, outlook) = if apart > BELIEVED_MS {
            (FAR_APART, "; nothing opens, ends or shrinks on the word of one clock until they agree")
        } else {
            ("ClocksApart", "")
        };
        let text = format!("clocks differ: {}{outlook}; let the machines keep their time by NTP", told.join(", "));
        Report::no(ConditionType::ClocksAgree, reason, text)
    }

    /// What others say at this moment, to be heard beside Redis' own answer.
    pub fn witnesses(&self, own_ms: i64, now: Instant) -> Witnesses {
        let read = |sample: Option<ClockSample>| sample.and_then(|sample| sample.now_ms(now));
        Witnesses { own_ms, database_ms: read(self.database), redis_ms: read(self.redis) }
    }
}

/// An offset in words that do not change with every look.
fn words(offset_ms: i64) -> String {
    let far = offset_ms.unsigned_abs();
    let long = match far {
        0..1_000 => return "within a second of".to_owned(),
        1_000..60_000 => format!("{} s", (far + 500) / 1_000),
        60_000..5_400_000 => format!("{} min", (far + 30_000) / 60_000),
        _ => format!("{} h", (far + 1_800_000) / 3_600_000),
    };
    format!("{long} {}", if offset_ms > 0 { "ahead of" } else { "behind" })
}

/// What is heard beside Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witnesses {
    /// The operator's own clock.
    pub own_ms: i64,
    /// The database's, counted on from the last look.
    pub database_ms: Option<i64>,
    /// Redis', counted on from the last look: heard while Redis does not answer.
    pub redis_ms: Option<i64>,
}

impl Witnesses {
    /// What was heard in the middle of something that lay between these two.
    pub fn between(&self, after: &Self) -> Self {
        let middle = |a: i64, b: i64| a + (b - a) / 2;
        let either = |a: Option<i64>, b: Option<i64>| Some(middle(a?, b?));
        Self {
            own_ms: middle(self.own_ms, after.own_ms),
            database_ms: either(self.database_ms, after.database_ms),
            redis_ms: either(self.redis_ms, after.redis_ms),
        }
    }
}

/// The time that a pass goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Nobody knows: no two clocks agree. What depends on time stays as it is.
    pub frozen: bool,
    /// What the clocks say, if Redis' or all of them are not believed.
    pub doubt: Option<String>,
    /// The time that Redis gives ranks by, which decides what users hear.
    pub redis_ms: Option<i64>,
    /// Redis' clock is right, and it goes by a time that it had when its clock was not: by that of the latest grant.
    pub left_ahead: bool,
}

impl Time {
    /// A time that nobody doubts.
    pub fn agreed(now_ms: i64) -> Self {
        Self { now_ms, frozen: false, doubt: None, redis_ms: Some(now_ms), left_ahead: false }
    }

    /// Redis' clock if any other one stands by it; else what two others agree on; else nobody's.
    pub fn compare(redis_ms: Option<i64>, heard: &Witnesses) -> Self {
        let believed = |a: i64, b: i64| (a - b).abs() <= BELIEVED_MS;
        let Witnesses { own_ms, database_ms, .. } = *heard;
        let Some(redis) = redis_ms else { return Self::without_redis(heard) };
        let stands = [Some(own_ms), database_ms].into_iter().flatten().any(|other| believed(redis, other));
        if stands {
            return Self::agreed(redis);
        }
        let told = |who: &str, ms: i64| format!("{who} is {} Redis", words(ms - redis));
        let mut all = vec![told("the operator's clock", own_ms)];
        all.extend(database_ms.map(|ms| told("the database's", ms)));
        let others_agree = database_ms.is_some_and(|database| believed(database, own_ms));
        let text = if others_agree {
            format!(
                "Redis' clock is wrong: {}; the campaign goes by the two that agree, but Redis gives coupons by its own: set its clock",
                all.join(", ")
            )
        } else {
            format!(
                "no two clocks agree: {}; nothing opens, ends or shrinks until they do: set the clocks",
                all.join(", ")
            )
        };
        let now_ms = if others_agree { own_ms } else { redis };
        Self { now_ms, frozen: !others_agree, doubt: Some(text), redis_ms, left_ahead: false }
    }

    /// As [`Self::judge`], of a Redis whose clock says `clock_ms` and that gives ranks by `now_ms`, as time never goes back behind a
    /// grant: one of a clock that was wrong for a while holds it there after the clock is right again.
    pub fn judge_grants(now_ms: i64, clock_ms: i64, heard: &Witnesses) -> Self {
        let judged = Self::compare(Some(now_ms), heard);
        let ahead_ms = now_ms.saturating_sub(clock_ms);
        if judged.doubt.is_none() || ahead_ms <= BELIEVED_MS || Self::compare(Some(clock_ms), heard).doubt.is_some() {
            return judged;
        }
        let text = format!(
            "Redis' clock is right, but was not when the latest coupon was given, whose time is {} it, and no coupon is given by an \
             earlier one; that time is corrected",
            words(ahead_ms)
        );
        Self { now_ms: clock_ms, frozen: false, doubt: Some(text), redis_ms: Some(now_ms), left_ahead: true }
    }

    /// While Redis is away the operator's clock needs somebody to stand by it: the database, or what Redis last said.
    fn without_redis(heard: &Witnesses) -> Self {
        let Witnesses { own_ms, database_ms, redis_ms } = *heard;
        let mut others = [database_ms, redis_ms].into_iter().flatten().peekable();
        let alone = others.peek().is_none();
        if others.any(|other| (other - own_ms).abs() <= BELIEVED_MS) {
            return Self { redis_ms: None, ..Self::agreed(own_ms) };
        }
        let text = if alone {
            "no clock but the operator's own could be read; nothing opens, ends or shrinks on its word".to_owned()
        } else {
            "Redis is away, and the operator's clock is not that of the database; nothing opens, ends or shrinks until a second clock \
             says the same: set the clocks"
                .to_owned()
        };
        Self { now_ms: own_ms, frozen: true, doubt: (!alone).then_some(text), redis_ms: None, left_ahead: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const S: i64 = 1_000;
    const H: i64 = 3_600_000;

    fn sample(offset_ms: i64, took: Duration) -> ClockSample {
        let half = i64::try_from(took.as_millis()).unwrap() / 2;
        ClockSample::of(NOW + half + offset_ms, NOW, Instant::now(), took)
    }

    #[test]
    fn offsets_are_said_from_one_second_on_and_disbelieved_from_five() {
        let quick = Duration::from_millis(2);
        for (redis, database, reason, says) in [
            (Some(0), Some(0), "WithinASecond", ""),
            (Some(900), Some(-50), "WithinASecond", ""),
            (Some(900), Some(-900), "ClocksApart", "within a second"),
            (Some(-3 * S), Some(0), "ClocksApart", "Redis is 3 s behind the operator"),
            (Some(0), Some(4 * S), "ClocksApart", "the database is 4 s ahead of the operator"),
            (Some(6 * S), Some(0), "ClocksFarApart", "Redis is 6 s ahead of the operator"),
            (Some(-2 * H), None, "ClocksFarApart", "Redis is 2 h behind the operator"),
            (None, Some(100 * S), "ClocksFarApart", "2 min ahead"),
            (Some(3 * S), Some(-3 * S), "ClocksFarApart", "3 s behind"),
            (None, None, "ClocksUnread", ""),
        ] {
            let take = |offset: Option<i64>| offset.map(|offset| sample(offset, quick));
            let clocks = Clocks { redis: take(redis), database: take(database) };
            let report = clocks.report();
            assert_eq!(report.reason, reason, "{redis:?} {database:?}");
            assert!(report.message.contains(says), "{}", report.message);
        }
    }

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        assert_eq!(sample(1_900, Duration::from_secs(4)).offset_ms(), 0, "2 s either way are the network's");
        assert_eq!(sample(-5_000, Duration::from_secs(4)).offset_ms(), -3_000);
    }

    #[test]
    fn a_sample_is_counted_on_and_forgotten() {
        let taken = sample(2 * H, Duration::ZERO);
        let clocks = Clocks { redis: None, database: Some(taken) };
        let later = |seconds| clocks.witnesses(0, taken.at + Duration::from_secs(seconds)).database_ms;
        // On a clock that never jumps: the operator's own may be set meanwhile, and the database's is not blamed for it.
        assert_eq!(later(60), Some(NOW + 2 * H + 60 * S));
        assert_eq!(later(601), None);
    }

    /// Wrong: one clock opens or ends a sale.
    #[test]
    fn one_clock_alone_is_not_believed() {
        for (redis, own, database, now, frozen, doubt) in [
            // As it should be, with what machines differ by.
            (Some(0), 0, Some(0), 0, false, false),
            (Some(0), 4 * S, Some(-4 * S), 0, false, false),
            (Some(0), 0, None, 0, false, false),
            // Somebody else is wrong: Redis has a witness.
            (Some(0), 2 * H, Some(0), 0, false, false),
            (Some(0), 0, Some(-2 * H), 0, false, false),
            // Redis is wrong, and two know better.
            (Some(2 * H), 0, Some(0), 0, false, true),
            (Some(-2 * H), 0, Some(S), 0, false, true),
            (Some(6 * S), 0, Some(0), 0, false, true),
            // Nobody knows.
            (Some(2 * H), 0, None, 2 * H, true, true),
            (Some(-H), 0, Some(H), -H, true, true),
            // Redis is away.
            (None, 0, Some(0), 0, false, false),
            (None, 0, Some(2 * H), 0, true, true),
            (None, 0, None, 0, true, false),
        ] {
            let heard = Witnesses { own_ms: NOW + own, database_ms: database.map(|ms| NOW + ms), redis_ms: None };
            let time = Time::compare(redis.map(|ms| NOW + ms), &heard);
            let found = (time.now_ms - NOW, time.frozen, time.doubt.is_some());
            assert_eq!(found, (now, frozen, doubt), "Redis {redis:?}, operator {own}, database {database:?}");
        }
        let before = Witnesses { own_ms: NOW, database_ms: None, redis_ms: Some(NOW) };
        assert!(!Time::compare(None, &before).frozen, "what Redis said a moment ago counts on");
    }

    #[test]
    fn who_differs_is_named() {
        let heard = Witnesses { own_ms: NOW, database_ms: Some(NOW), redis_ms: None };
        let told = Time::compare(Some(NOW + 2 * H), &heard).doubt.unwrap();
        assert!(told.starts_with("Redis' clock is wrong: the operator's clock is 2 h behind Redis"), "{told}");
    }
}
