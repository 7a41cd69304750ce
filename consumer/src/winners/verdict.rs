//! Whether a list of winners is whole, for good. Pure.

use std::fmt;

use super::given::{Given, InRedis};
use super::tally::Gaps;

/// What is said of a list. Prizes are handed out by it, so that it is whole only if nobody can have, or get, a coupon beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    lacks: Vec<Lack>,
}

/// Why a list is not whole, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lack {
    /// Ranks are no rows, and nobody has given them up: so many of these.
    RanksMissing { count: u64, among: Gaps },
    /// The window has not begun.
    WindowNotBegun { start_ms: i64 },
    /// More may be given until the window is over, as a total may be raised.
    WindowOpen { end_ms: i64, issued: u64, total: u64 },
    /// Redis may have given more.
    RedisNotAsked { why: String },
}

impl Verdict {
    /// `gaps`: ranks that are no rows, and that nobody has given up. `settled`: how many ranks of the campaign are rows, or given up; it matters only
    /// where the keys were removed, as nobody can tell then which rank was free and which has lost its row.
    pub(super) fn of(given: &Given, gaps: Gaps, settled: u64) -> Self {
        let count = match given {
            Given::KeysRemoved { winners } => gaps.count().min(winners.saturating_sub(settled)),
            Given::InRedis(_) | Given::Unknown { .. } => gaps.count(),
        };
        let missing = (count > 0).then_some(Lack::RanksMissing { count, among: gaps });
        let not_final = match given {
            Given::KeysRemoved { .. } => None,
            Given::InRedis(found) => not_final(found),
            Given::Unknown { why } => Some(Lack::RedisNotAsked { why: why.clone() }),
        };
        Self { lacks: missing.into_iter().chain(not_final).collect() }
    }

    /// Whether every coupon that was given is in the list, or was given up, and no more can be given.
    pub fn is_whole(&self) -> bool {
        self.lacks.is_empty()
    }

    /// How many ranks are known to be missing.
    pub fn missing(&self) -> u64 {
        let of = |lack: &Lack| if let Lack::RanksMissing { count, .. } = lack { *count } else { 0 };
        self.lacks.iter().map(of).sum()
    }

    /// Stable names of what it lacks, for programs, with commas between them.
    pub fn lacks(&self) -> String {
        let names: Vec<&str> = self.lacks.iter().map(Lack::name).collect();
        names.join(",")
    }
}

/// Only what is over is final.
fn not_final(InRedis { start_ms, end_ms, now_ms, issued, total, .. }: &InRedis) -> Option<Lack> {
    if now_ms >= end_ms {
        None
    } else if now_ms < start_ms {
        Some(Lack::WindowNotBegun { start_ms: *start_ms })
    } else {
        Some(Lack::WindowOpen { end_ms: *end_ms, issued: *issued, total: *total })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.lacks.first() else { return f.write_str("the list is whole") };
        f.write_str(match first {
            Lack::RanksMissing { .. } => "the list is not whole: ",
            Lack::WindowNotBegun { .. } | Lack::WindowOpen { .. } => "the list is not final: ",
            Lack::RedisNotAsked { .. } => "the list may not be whole: ",
        })?;
        let words: Vec<String> = self.lacks.iter().map(ToString::to_string).collect();
        f.write_str(&words.join("; "))
    }
}

impl Lack {
    fn name(&self) -> &'static str {
        match self {
            Self::RanksMissing { .. } => "RanksMissing",
            Self::WindowNotBegun { .. } => "WindowNotBegun",
            Self::WindowOpen { .. } => "WindowOpen",
            Self::RedisNotAsked { .. } => "RedisNotAsked",
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RanksMissing { count, among } => {
                match (*count, among.count()) {
                    (1, 1) => write!(f, "rank {among} is no row")?,
                    (count, all) if count == all => write!(f, "ranks {among} are no rows")?,
                    (count, _) => write!(f, "{count} of the ranks {among} should be rows, and are none")?,
                }
                f.write_str(" (on the way, or dead letters: make the list again, and look at the dead letters if that does not help)")
            }
            Self::WindowNotBegun { start_ms } => write!(f, "the window begins at {}", time(*start_ms)),
            Self::WindowOpen { end_ms, issued, total } => {
                write!(f, "the window is open until {}, and {issued} of {total} are issued", time(*end_ms))
            }
            Self::RedisNotAsked { why } => {
                write!(f, "Redis could not be asked ({why}), and whether more were given is not known")
            }
        }
    }
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_redis(now_ms: i64) -> Given {
        Given::InRedis(InRedis { epoch: 1, issued: 5, highest: 5, total: 5, start_ms: 1_000, end_ms: 9_000, now_ms })
    }

    /// Wrong: prizes are handed out by a list that lacks somebody, or a list that is whole is never said to be.
    #[test]
    fn a_list_is_whole_only_if_nobody_can_have_a_coupon_beside_it() {
        let removed = || Given::KeysRemoved { winners: 5 };
        let away = || Given::Unknown { why: "no route".to_owned() };
        let again =
            " (on the way, or dead letters: make the list again, and look at the dead letters if that does not help)";
        let open = "the window is open until 1970-01-01T00:00:09Z, and 5 of 5 are issued";
        let asked = "Redis could not be asked (no route), and whether more were given is not known";
        let whole = || "the list is whole".to_owned();
        for (what, given, gaps, settled, expected, lacks) in [
            ("over, and all are rows", in_redis(9_000), vec![], 0, whole(), ""),
            (
                "over, and some are no rows",
                in_redis(9_000),
                vec![3, 5, 6],
                0,
                format!("the list is not whole: ranks 3, 5-6 are no rows{again}"),
                "RanksMissing",
            ),
            (
                "all sold, but the total may be raised",
                in_redis(8_999),
                vec![],
                0,
                format!("the list is not final: {open}"),
                "WindowOpen",
            ),
            (
                "open, and one is on its way",
                in_redis(1_000),
                vec![5],
                0,
                format!("the list is not whole: rank 5 is no row{again}; {open}"),
                "RanksMissing,WindowOpen",
            ),
            (
                "not begun",
                in_redis(999),
                vec![],
                0,
                "the list is not final: the window begins at 1970-01-01T00:00:01Z".to_owned(),
                "WindowNotBegun",
            ),
            (
                "nobody can say whether more were given",
                away(),
                vec![],
                0,
                format!("the list may not be whole: {asked}"),
                "RedisNotAsked",
            ),
            (
                "nor that, and ranks are missing",
                away(),
                vec![2],
                0,
                format!("the list is not whole: rank 2 is no row{again}; {asked}"),
                "RanksMissing,RedisNotAsked",
            ),
            ("removed, with all as rows", removed(), vec![], 0, whole(), ""),
            ("removed, and a rank was free then", removed(), vec![2], 5, whole(), ""),
            (
                "removed, and a row has gone since",
                removed(),
                vec![2],
                4,
                format!("the list is not whole: rank 2 is no row{again}"),
                "RanksMissing",
            ),
            (
                "the same, where a rank was free",
                removed(),
                vec![2, 4],
                4,
                format!("the list is not whole: 1 of the ranks 2, 4 should be rows, and are none{again}"),
                "RanksMissing",
            ),
        ] {
            let verdict = Verdict::of(&given, Gaps::of(gaps), settled);
            assert_eq!((verdict.to_string(), verdict.lacks().as_str()), (expected, lacks), "{what}");
            assert_eq!(verdict.is_whole(), lacks.is_empty(), "{what}");
            assert_eq!(verdict.missing() > 0, lacks.contains("RanksMissing"), "{what}");
        }
    }
}
