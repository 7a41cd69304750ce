//! Who asks next, and when. Pure.

use std::time::Duration;

use super::options::Options;

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Each connection asks again once it was answered.
    Closed,
    /// At even distances, so many a second.
    Constant(u64),
    /// The same, and after that at another rate for so long.
    Then(u64, u64, Duration),
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Who asks.
    pub(crate) user: u64,
    /// When it is due, from the beginning; nothing: at once.
    pub(crate) due: Option<Duration>,
}

/// All requests of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pattern: Pattern,
    duration: Duration,
    first_user: u64,
    among: Option<u64>,
    users: Option<u64>,
}

impl Plan {
    /// As the options say, for so many users in all, if it is not any number.
    pub(crate) fn new(options: &Options, users: Option<u64>) -> Self {
        let pattern = match (options.rate, options.then_rate) {
            (None, _) => Pattern::Closed,
            (Some(rate), None) => Pattern::Constant(rate),
            (Some(rate), Some(then)) => Pattern::Then(rate, then, options.then()),
        };
        let Options { first_user, among, .. } = *options;
        Self { pattern, duration: options.duration(), first_user, among, users }
    }

    /// The request of this number, counted from 0, when so much time has passed; nothing once all have been made.
    pub(crate) fn turn(&self, number: u64, elapsed: Duration) -> Option<Turn> {
        let due = match self.pattern {
            Pattern::Closed if elapsed >= self.duration => return None,
            Pattern::Closed => None,
            Pattern::Constant(rate) => Some(within(number, rate, self.duration)?),
            Pattern::Then(rate, then, longer) => match within(number, rate, self.duration) {
                Some(due) => Some(due),
                None => {
                    let before = self.duration.as_nanos().saturating_mul(rate.into()).div_ceil(1_000_000_000);
                    let number = number.saturating_sub(u64::try_from(before).unwrap_or(u64::MAX));
                    Some(self.duration + within(number, then, longer)?)
                }
            },
        };
        let user = self.first_user + self.among.map_or(number, |among| number % among.max(1));
        self.users.is_none_or(|users| user < users).then_some(Turn { user, due })
    }

    /// The first user after this many requests whom nobody has been yet.
    pub(crate) fn next_user(&self, requests: u64) -> u64 {
        self.first_user + self.among.map_or(requests, |among| requests.min(among))
    }
}

/// When the request of this number is due, if that is within the time.
fn within(number: u64, rate: u64, time: Duration) -> Option<Duration> {
    let due = Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate);
    (due < time).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Duration = Duration::ZERO;

    fn plan(pattern: Pattern, among: Option<u64>) -> Plan {
        Plan { pattern, duration: Duration::from_secs(2), first_user: 100, among, users: None }
    }

    #[test]
    fn who_is_answered_asks_again_until_the_time_is_over() {
        let plan = plan(Pattern::Closed, None);
        assert_eq!(plan.turn(5, BEGIN), Some(Turn { user: 105, due: None }));
        assert!(plan.turn(5, Duration::from_millis(1999)).is_some());
        assert_eq!(plan.turn(5, Duration::from_secs(2)), None);
        assert_eq!(plan.next_user(6), 106);
    }

    /// Wrong: a server that is slow is asked less often, and looks fast.
    #[test]
    fn a_constant_rate_does_not_heed_the_answers() {
        let plan = plan(Pattern::Constant(1000), None);
        let late = Duration::from_secs(60);
        assert_eq!(plan.turn(0, late), Some(Turn { user: 100, due: Some(BEGIN) }));
        assert_eq!(plan.turn(1999, late), Some(Turn { user: 2099, due: Some(Duration::from_millis(1999)) }));
        assert_eq!(plan.turn(2000, BEGIN), None);
    }

    #[test]
    fn a_second_rate_follows_the_first_without_a_gap() {
        let plan = plan(Pattern::Then(1000, 10, Duration::from_secs(1)), None);
        let due = |number| plan.turn(number, BEGIN).map(|turn| (turn.user, turn.due.unwrap().as_millis()));
        assert_eq!([1999, 2000, 2001].map(due), [Some((2099, 1999)), Some((2100, 2000)), Some((2101, 2100))]);
        assert_eq!([2009, 2010].map(due), [Some((2109, 2900)), None]);
    }

    #[test]
    fn it_ends_with_the_last_user_that_there_is() {
        let plan = Plan { users: Some(102), ..plan(Pattern::Closed, None) };
        let users: Vec<_> = (0..5).filter_map(|number| plan.turn(number, BEGIN)).map(|turn| turn.user).collect();
        assert_eq!(users, [100, 101]);
    }

    #[test]
    fn a_few_ask_again_and_again() {
        let plan = plan(Pattern::Closed, Some(3));
        let users: Vec<_> = (0..5).filter_map(|number| plan.turn(number, BEGIN)).map(|turn| turn.user).collect();
        assert_eq!(users, [100, 101, 102, 100, 101]);
        assert_eq!((plan.next_user(2), plan.next_user(5)), (102, 103));
    }
}
