//! All cases, and which are chosen. Pure.

use anyhow::{Result, bail};
use coupon_core::contract::SignatureAlgorithm;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A route that does nothing else.
    Bare,
    /// One script call and one record for each request.
    Plain,
    /// An issuer that answers once Kafka has acknowledged.
    Durable,
    /// An issuer that answers once Redis has decided.
    Fast,
}

/// How users ask while it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Each connection again once it was answered; there are coupons enough.
    Closed,
    /// The same once all coupons are issued: everybody is a loser.
    SoldOut,
    /// The same, and those who ask are the winners.
    Again,
    /// At a constant rate.
    Constant(u64),
    /// So many people within one second.
    Flash(u64),
}

/// How requests say whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Who asks is believed.
    Believed,
    /// A gateway's header says it.
    Header,
    /// A token says it, signed in this way, which the issuer has not seen before.
    NewToken(SignatureAlgorithm),
    /// A token says it that the issuer knows.
    KnownToken,
}

/// A case in which users are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answering {
    /// Who answers.
    pub(crate) service: Service,
    /// Kept connections.
    pub(crate) connections: u64,
    /// How they ask.
    pub(crate) load: Load,
    /// How they say who they are.
    pub(crate) identity: Identity,
}

/// What is done in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Users are answered.
    Answering(Answering),
    /// A consumer drains a topic that is full.
    Consumer,
    /// The same rows, inserted many at a time.
    ManyRows,
    /// The same rows, inserted one by one, for some seconds.
    RowByRow,
    /// A sale from the first request to the last row.
    Sale,
    /// Redis is filled from the rows.
    Rebuild,
    /// Three times as many ask as can be answered.
    Overload(Bottleneck),
}

/// What bounds how many can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bottleneck {
    /// Redis, which is far away: what refuses has processors enough.
    Redis,
    /// All processors of this machine together, the load generator's share included.
    Processors,
}

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) kind: Kind,
    /// Whether a quick run has it.
    pub(crate) quick: bool,
}

/// How long, and how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    /// Seconds that are measured.
    pub(crate) seconds: f64,
    /// Seconds before that, which are not.
    pub(crate) warm_up: f64,
    /// Records that a consumer drains, and rows that are inserted.
    pub(crate) rows: u64,
    /// Coupons of a sale.
    pub(crate) sale: u64,
    /// Winners with which Redis is filled.
    pub(crate) rebuild: u64,
    /// Seconds of inserting one by one.
    pub(crate) row_by_row: f64,
    /// Seconds in which too many ask.
    pub(crate) overload: f64,
}

/// The sizes that limits are about.
pub(crate) const FULL: Sizes = Sizes {
    seconds: 10.0,
    warm_up: 2.0,
    rows: 1_000_000,
    sale: 1_000_000,
    rebuild: 1_000_000,
    row_by_row: 5.0,
    overload: 6.0,
};
/// Enough to see whether something is amiss.
pub(crate) const QUICK: Sizes =
    Sizes { seconds: 3.0, warm_up: 2.0, rows: 100_000, sale: 50_000, rebuild: 100_000, row_by_row: 2.0, overload: 3.0 };

/// Connections at which a rate is kept: more than can be waited for at once.
const ENOUGH: u64 = 1024;
/// People of a flash.
const FLASH: u64 = 30_000;

const fn answering(name: &'static str, service: Service, connections: u64, load: Load) -> Case {
    of(name, Answering { service, connections, load, identity: Identity::Believed })
}

/// As `sold-out`, and who asks is not believed.
const fn identified(name: &'static str, identity: Identity) -> Case {
    of(name, Answering { service: Service::Durable, connections: 256, load: Load::SoldOut, identity })
}

const fn of(name: &'static str, case: Answering) -> Case {
    other(name, Kind::Answering(case))
}

const fn other(name: &'static str, kind: Kind) -> Case {
    Case { name, kind, quick: false }
}

impl Case {
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    fn is_meant_by(&self, word: &str) -> bool {
        self.name == word || self.name.strip_prefix(word).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// What is done once before all rounds, and not measured: else whoever comes first meets a Java machine that has compiled nothing yet.
pub(crate) const WARM_UP: Case = answering("warm-up", Service::Durable, 64, Load::Closed);

/// All cases, in the order in which each round goes through them.
pub(crate) const ALL: [Case; 29] = [
    answering("bare", Service::Bare, 256, Load::Closed).quick(),
    answering("plain-64", Service::Plain, 64, Load::Closed),
    answering("plain-256", Service::Plain, 256, Load::Closed).quick(),
    answering("durable-16", Service::Durable, 16, Load::Closed),
    answering("durable-64", Service::Durable, 64, Load::Closed).quick(),
    answering("durable-256", Service::Durable, 256, Load::Closed).quick(),
    answering("durable-1024", Service::Durable, 1024, Load::Closed),
    answering("fast-64", Service::Fast, 64, Load::Closed),
    answering("fast-256", Service::Fast, 256, Load::Closed).quick(),
    answering("sold-out", Service::Durable, 256, Load::SoldOut).quick(),
    identified("sold-out-header", Identity::Header),
    identified("sold-out-rs256", Identity::NewToken(SignatureAlgorithm::Rs256)),
    identified("sold-out-es256", Identity::NewToken(SignatureAlgorithm::Es256)),
    identified("sold-out-eddsa", Identity::NewToken(SignatureAlgorithm::EdDsa)),
    identified("sold-out-known", Identity::KnownToken),
    answering("winners-again", Service::Durable, 256, Load::Again),
    answering("constant-1k", Service::Durable, ENOUGH, Load::Constant(1_000)),
    answering("constant-5k", Service::Durable, ENOUGH, Load::Constant(5_000)),
    answering("constant-10k", Service::Durable, ENOUGH, Load::Constant(10_000)).quick(),
    answering("constant-10k-plain", Service::Plain, ENOUGH, Load::Constant(10_000)).quick(),
    answering("constant-20k", Service::Durable, ENOUGH, Load::Constant(20_000)),
    answering("flash", Service::Durable, ENOUGH, Load::Flash(FLASH)),
    other("overload", Kind::Overload(Bottleneck::Redis)).quick(),
    other("cpu-overload", Kind::Overload(Bottleneck::Processors)),
    other("consumer", Kind::Consumer).quick(),
    other("insert-many", Kind::ManyRows).quick(),
    other("insert-one", Kind::RowByRow).quick(),
    other("sale", Kind::Sale).quick(),
    other("rebuild", Kind::Rebuild),
];

/// The cases of a run: those that these words mean, or without words all, or the quick ones.
///
/// # Errors
/// A word means no case.
pub(crate) fn chosen(words: &[String], quick: bool) -> Result<Vec<Case>> {
    if let Some(word) = words.iter().find(|word| !ALL.iter().any(|case| case.is_meant_by(word))) {
        let all: Vec<_> = ALL.iter().map(|case| case.name).collect();
        bail!("there is no case `{word}`; there are {}", all.join(", "));
    }
    let wanted = |case: &&Case| match words {
        [] => case.quick || !quick,
        words => words.iter().any(|word| case.is_meant_by(word)),
    };
    Ok(ALL.iter().filter(wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str], quick: bool) -> Vec<&'static str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        chosen(&words, quick).unwrap().into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn a_word_means_a_case_or_a_family() {
        assert_eq!(names(&["fast", "sale"], true), ["fast-64", "fast-256", "sale"]);
        assert_eq!(names(&["durable-1024"], true), ["durable-1024"]);
        assert_eq!(names(&["constant-10k"], false), ["constant-10k", "constant-10k-plain"]);
        assert_eq!(names(&[], false).len(), ALL.len());
        assert!(names(&[], true).contains(&"durable-256") && !names(&[], true).contains(&"flash"));
        let error = chosen(&["dura".to_owned()], false).unwrap_err().to_string();
        assert!(error.starts_with("there is no case `dura`; there are bare, "), "{error}");
    }

    #[test]
    fn names_are_unique_and_can_be_part_of_a_coupon_id() {
        let mut all: Vec<_> = ALL.iter().map(|case| case.name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ALL.len());
        assert!(all.iter().all(|name| name.len() < 30));
    }
}
