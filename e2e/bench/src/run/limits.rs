//! What the project sets itself, as ratios within one run, and whether that holds. Pure.

use serde::Serialize;

use super::figures::{
    ANSWERED, CaseOutcome, ERRORS, GOODPUT, LAST_ROW, P99, PUT_OFF_P99, REBUILD, RECOVERED, REDIS_CPU, RETRY_AFTER,
    ROWS, SAME_RETRY, SERVER_CPU, SERVER_PEAK,
};
use super::spread::{Spread, shown};

/// What is held against a bound.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// A figure of a case.
    Figure(&'static str, &'static str),
    /// A figure of one case divided by one of another in the same round.
    Ratio((&'static str, &'static str), (&'static str, &'static str)),
    /// The same, and the one taken from the other.
    Difference((&'static str, &'static str), (&'static str, &'static str)),
}

/// A bound, which is within unless it is said.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    name: &'static str,
    value: Value,
    bound: Bound,
    /// It is about a million, so that nothing follows from fewer.
    full: bool,
}

const BARE: &str = "bare";
const OURS: &str = "durable-256";
const AT_10K: &str = "constant-10k";
const AT_20K: &str = "constant-20k";
const TOO_MANY: &str = "overload";
const BELIEVED: &str = "sold-out";

const fn limit(name: &'static str, value: Value, bound: Bound) -> Limit {
    Limit { name, value, bound, full: false }
}

const fn of_a_million(name: &'static str, value: Value, bound: Bound) -> Limit {
    Limit { name, value, bound, full: true }
}

const fn ratio(over: (&'static str, &'static str), under: (&'static str, &'static str)) -> Value {
    Value::Ratio(over, under)
}

/// What it costs the issuer to know who asks.
const fn identity(name: &'static str, case: &'static str, bound: Bound) -> Limit {
    limit(name, Value::Difference((case, SERVER_CPU), (BELIEVED, SERVER_CPU)), bound)
}

const LIMITS: [Limit; 24] = [
    limit("durable256_cpu_vs_bare", ratio((OURS, SERVER_CPU), (BARE, SERVER_CPU)), Bound::AtMost(1.6)),
    limit("durable256_throughput_vs_bare", ratio((OURS, ANSWERED), (BARE, ANSWERED)), Bound::AtLeast(0.5)),
    limit("durable256_vs_plain256", ratio((OURS, ANSWERED), ("plain-256", ANSWERED)), Bound::AtLeast(2.0)),
    limit("fast_vs_bare", ratio(("fast-256", ANSWERED), (BARE, ANSWERED)), Bound::AtLeast(0.6)),
    limit("sold_out_vs_bare", ratio(("sold-out", ANSWERED), (BARE, ANSWERED)), Bound::AtLeast(0.9)),
    limit("constant10k_p99_vs_plain", ratio((AT_10K, P99), ("constant-10k-plain", P99)), Bound::Below(1.0)),
    limit("constant10k_p99_ms", Value::Figure(AT_10K, P99), Bound::Below(15.0)),
    limit("constant20k_p99_ms", Value::Figure(AT_20K, P99), Bound::Below(40.0)),
    limit("constant20k_errors", Value::Figure(AT_20K, ERRORS), Bound::AtMost(0.0)),
    limit("redis_us_per_grant", Value::Figure(OURS, REDIS_CPU), Bound::AtMost(8.0)),
    limit("overload_goodput_vs_best", Value::Figure(TOO_MANY, GOODPUT), Bound::AtLeast(0.9)),
    limit("overload_refused_p99_ms", Value::Figure(TOO_MANY, PUT_OFF_P99), Bound::AtMost(50.0)),
    limit("overload_retry_after_part", Value::Figure(TOO_MANY, RETRY_AFTER), Bound::AtLeast(1.0)),
    limit("overload_same_retry_after_part", Value::Figure(TOO_MANY, SAME_RETRY), Bound::AtMost(0.5)),
    limit("overload_server_mib", Value::Figure(TOO_MANY, SERVER_PEAK), Bound::AtMost(256.0)),
    limit("overload_recovered_s", Value::Figure(TOO_MANY, RECOVERED), Bound::AtMost(1.0)),
    limit("consumer_vs_raw", ratio(("consumer", ROWS), ("insert-many", ROWS)), Bound::AtLeast(0.8)),
    identity("header_us", "sold-out-header", Bound::AtMost(1.0)),
    identity("new_token_rs256_us", "sold-out-rs256", Bound::Below(15.0)),
    identity("new_token_es256_us", "sold-out-es256", Bound::Below(15.0)),
    identity("new_token_eddsa_us", "sold-out-eddsa", Bound::Below(15.0)),
    identity("known_token_us", "sold-out-known", Bound::Below(1.0)),
    of_a_million("rebuild_1m_s", Value::Figure("rebuild", REBUILD), Bound::AtMost(15.0)),
    of_a_million("last_row_1m_s", Value::Figure("sale", LAST_ROW), Bound::AtMost(10.0)),
];

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::Below(end) => value < end,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {}", shown(most)),
            Self::Below(end) => format!("below {}", shown(end)),
            Self::AtLeast(least) => format!("at least {}", shown(least)),
        }
    }
}

/// A limit, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judged {
    /// Its name.
    pub(crate) name: &'static str,
    /// What was found; nothing if it was not measured.
    pub(crate) value: Option<Spread>,
    /// The limit, in words.
    pub(crate) limit: String,
    /// Whether the median is within it; nothing if it was not measured, or of too few.
    pub(crate) holds: Option<bool>,
}

/// Holds what was measured against all limits. `full`: whether it was a million.
pub(crate) fn judge(outcomes: &[CaseOutcome], full: bool) -> Vec<Judged> {
    let judged = |limit: &Limit| {
        let value = value(outcomes, limit.value);
        let counts = full || !limit.full;
        let holds = value.filter(|_| counts).map(|found| limit.bound.holds(found.median));
        Judged { name: limit.name, value, limit: limit.bound.words(), holds }
    };
    LIMITS.iter().map(judged).collect()
}

fn value(outcomes: &[CaseOutcome], value: Value) -> Option<Spread> {
    let case = |name: &str| outcomes.iter().find(|outcome| outcome.name == name);
    match value {
        Value::Figure(of, figure) => Spread::of(case(of)?.figures(figure)),
        Value::Ratio(over, under) => of_rounds((case(over.0)?, over.1), (case(under.0)?, under.1), |a, b| a / b),
        Value::Difference(more, less) => of_rounds((case(more.0)?, more.1), (case(less.0)?, less.1), |a, b| a - b),
    }
}

/// What follows from two figures of the same round, of all rounds.
fn of_rounds(
    (one, first): (&CaseOutcome, &str),
    (other, second): (&CaseOutcome, &str),
    follows: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    let of_round = |round| Some(follows(one.figure(round, first)?, other.figure(round, second)?));
    Spread::of((0..one.rounds.len()).filter_map(of_round).filter(|value| value.is_finite()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Figures, Round};
    use super::*;

    fn outcome(name: &'static str, rounds: &[&[(&'static str, f64)]]) -> CaseOutcome {
        let round = |all: &&[(&'static str, f64)]| Round {
            figures: Figures::from_iter(all.iter().copied()),
            wrong: Vec::new(),
        };
        CaseOutcome { name, rounds: rounds.iter().map(round).collect() }
    }

    fn found(judged: &[Judged], name: &str) -> (Option<f64>, Option<bool>) {
        let one = judged.iter().find(|one| one.name == name).unwrap();
        (one.value.map(|value| value.median), one.holds)
    }

    /// Wrong: a machine that was slower in one round than in the next makes us look better or worse.
    #[test]
    fn ratios_are_of_two_figures_of_one_round() {
        let bare = outcome("bare", &[&[(ANSWERED, 100.0)], &[(ANSWERED, 200.0)], &[(ANSWERED, 400.0)]]);
        let ours = outcome("durable-256", &[&[(ANSWERED, 60.0)], &[(ANSWERED, 110.0)], &[(ANSWERED, 100.0)]]);
        let judged = judge(&[bare, ours], true);
        assert_eq!(found(&judged, "durable256_throughput_vs_bare"), (Some(0.55), Some(true)));
        assert_eq!(found(&judged, "durable256_vs_plain256"), (None, None));
        assert_eq!(judged.len(), LIMITS.len());
    }

    #[test]
    fn what_a_token_costs_is_what_is_more_than_without_one() {
        let costs = |name, rounds: [f64; 2]| outcome(name, &[&[(SERVER_CPU, rounds[0])], &[(SERVER_CPU, rounds[1])]]);
        let judged = judge(&[costs("sold-out", [12.0, 10.0]), costs("sold-out-eddsa", [50.0, 52.0])], true);
        assert_eq!(found(&judged, "new_token_eddsa_us"), (Some(40.0), Some(false)));
        assert_eq!(found(&judged, "new_token_rs256_us"), (None, None));
    }

    #[test]
    fn a_limit_is_within_unless_it_is_said() {
        let at = |p99| judge(&[outcome("constant-10k", &[&[(P99, p99)]])], true);
        assert_eq!(found(&at(14.9), "constant10k_p99_ms"), (Some(14.9), Some(true)));
        assert_eq!(found(&at(15.0), "constant10k_p99_ms"), (Some(15.0), Some(false)));
        let redis = judge(&[outcome("durable-256", &[&[(REDIS_CPU, 8.0)]])], true);
        assert_eq!(found(&redis, "redis_us_per_grant"), (Some(8.0), Some(true)));
    }

    #[test]
    fn nothing_follows_from_fewer_than_a_million() {
        let sale = [outcome("sale", &[&[(LAST_ROW, 1.0)]])];
        assert_eq!(found(&judge(&sale, true), "last_row_1m_s"), (Some(1.0), Some(true)));
        assert_eq!(found(&judge(&sale, false), "last_row_1m_s"), (Some(1.0), None));
    }

    #[test]
    fn a_round_that_does_not_count_gives_no_ratio() {
        let bare = outcome("bare", &[&[(ANSWERED, 100.0)], &[(ANSWERED, 100.0)]]);
        let mut ours = outcome("durable-256", &[&[(ANSWERED, 10.0)], &[(ANSWERED, 70.0)]]);
        ours.rounds[0].wrong.push("a rank was told twice".to_owned());
        assert_eq!(found(&judge(&[bare, ours], true), "durable256_throughput_vs_bare"), (Some(0.7), Some(true)));
    }

    /// Wrong: a case is renamed, and its limit is never judged again.
    #[test]
    fn every_limit_is_about_cases_that_there_are() {
        let names: Vec<_> = super::super::catalogue::ALL.iter().map(|case| case.name).collect();
        for limit in &LIMITS {
            let cases = match limit.value {
                Value::Figure(case, _) => vec![case],
                Value::Ratio((over, _), (under, _)) | Value::Difference((over, _), (under, _)) => vec![over, under],
            };
            assert!(cases.iter().all(|case| names.contains(case)), "{}: {cases:?}", limit.name);
        }
    }
}
