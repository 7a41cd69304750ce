//! What can happen to a sale, and what happens in which round: a pure function of the round's seed.

use std::time::Duration;

pub use coupon_testing::proxy::Trouble;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use strum::{Display, EnumIter, IntoEnumIterator};

/// What a pod of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Display, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Role {
    /// Answers users.
    Issuer,
    /// Stores winners.
    Consumer,
    /// The operator.
    Operator,
}

/// One of the three systems that a campaign lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Display, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Service {
    /// Redis; with Sentinel, its primary.
    Redis,
    /// A Kafka broker.
    Kafka,
    /// MariaDB.
    Database,
}

/// A connection that leads through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// From the users to the issuers.
    Users,
    /// From one kind of pod to one system.
    Inner(Role, Service),
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Users => write!(f, "users-issuer"),
            Self::Inner(role, service) => write!(f, "{role}-{service}"),
        }
    }
}

/// A kind of fault, as the table of recovery times lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Display, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// SIGKILL for an issuer's process.
    KillIssuer,
    /// SIGKILL for a consumer's process.
    KillConsumer,
    /// SIGKILL for the operator's process.
    KillOperator,
    /// SIGSTOP for an issuer's process, for seconds.
    PauseIssuer,
    /// SIGSTOP for a consumer's process, for seconds.
    PauseConsumer,
    /// SIGSTOP for the operator's process, for seconds.
    PauseOperator,
    /// The eviction API for an issuer's pod.
    EvictIssuer,
    /// The eviction API for a consumer's pod.
    EvictConsumer,
    /// SIGKILL for the Redis primary, which comes back with its append-only file (written every second).
    KillRedis,
    /// The same after the append-only file was off for a second: it comes back with an older state.
    KillRedisLogOff,
    /// The same, and its files are removed: it comes back empty.
    KillRedisLoseFiles,
    /// SIGSTOP for Redis, for seconds.
    PauseRedis,
    /// FLUSHALL.
    FlushRedis,
    /// SIGKILL for a broker, which comes back.
    KillKafka,
    /// SIGSTOP for a broker, for seconds.
    PauseKafka,
    /// SIGKILL for MariaDB, which comes back.
    KillDatabase,
    /// SIGSTOP for MariaDB, for seconds.
    PauseDatabase,
    /// [`Trouble::Cut`].
    CutLink,
    /// [`Trouble::Delay`].
    DelayLink,
    /// [`Trouble::Silence`].
    SilenceLink,
    /// [`Trouble::HalfClose`].
    HalfCloseLink,
    /// One broker is restarted (SIGTERM), so that its partitions get other leaders; then it becomes their leader again.
    ElectLeaders,
    /// Every broker is restarted, one after another, each when all copies are in sync; then leaders go back.
    RollKafka,
    /// Redis is restarted (SIGTERM); with Sentinel another becomes primary before, as one does it.
    RestartRedis,
    /// MariaDB is restarted (SIGTERM).
    RestartDatabase,
    /// The API server of Kubernetes is restarted (SIGTERM).
    RestartApiServer,
}

impl Kind {
    /// Whether it hurts only this campaign and its class, and nobody else on the stack.
    pub fn is_private(self) -> bool {
        matches!(
            self,
            Self::KillIssuer
                | Self::KillConsumer
                | Self::PauseIssuer
                | Self::PauseConsumer
                | Self::EvictIssuer
                | Self::EvictConsumer
                | Self::CutLink
                | Self::DelayLink
                | Self::SilenceLink
                | Self::HalfCloseLink
        )
    }

    fn hurts_link(self) -> bool {
        matches!(self, Self::CutLink | Self::DelayLink | Self::SilenceLink | Self::HalfCloseLink)
    }
}

/// One fault of a round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// How long after the first user.
    pub at: Duration,
    /// How long until it is repaired: what was killed by the stack is started again, what was frozen goes on.
    pub lasts: Duration,
    /// The link, and what is done to it.
    pub link: Option<(Link, Trouble)>,
    /// Which of several equal parts, modulo their number.
    pub which: usize,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some((link, _)) = self.link {
            write!(f, "({link})")?;
        }
        write!(f, "@{:.1}s", self.at.as_secs_f64())
    }
}

/// What there is to hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// Redis has a replica and Sentinels, which lead past the proxy.
    pub sentinel: bool,
    /// Brokers.
    pub brokers: usize,
    /// Others use the services too: only faults of our own pods and links.
    pub shared: bool,
}

impl Topology {
    fn allows(self, kind: Kind) -> bool {
        match kind {
            kind if self.shared => kind.is_private(),
            Kind::KillRedisLoseFiles => !self.sentinel,
            Kind::ElectLeaders => self.brokers > 1,
            _ => true,
        }
    }

    fn links(self) -> Vec<Link> {
        let inner = Role::iter()
            .filter(|role| !(self.shared && *role == Role::Operator))
            .flat_map(|role| Service::iter().map(move |service| (role, service)))
            // A consumer has nothing to do with Redis; Sentinels tell the real address.
            .filter(|pair| *pair != (Role::Consumer, Service::Redis))
            .filter(|(_, service)| !(self.sentinel && *service == Service::Redis))
            .map(|(role, service)| Link::Inner(role, service));
        std::iter::once(Link::Users).chain(inner).collect()
    }
}

/// What a round does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// `--rounds 1 --seed <this>` repeats the round.
    pub seed: u64,
    /// Coupons.
    pub coupons: u64,
    /// Users of the rush; more come later if coupons remain.
    pub users: usize,
    /// Issuer pods.
    pub issuers: u16,
    /// The time over which they arrive.
    pub stretch: Duration,
    /// What happens meanwhile.
    pub faults: Vec<Fault>,
}

/// The time over which users arrive.
const STRETCH: Duration = Duration::from_secs(6);
/// The latest fault: coupons must be left for those who come after it.
const LATEST: Duration = Duration::from_millis(3800);

/// The seed of the `number`th round, from 1.
pub fn round_seed(seed: u64, number: u64) -> u64 {
    seed.wrapping_add(number).wrapping_sub(1)
}

impl Plan {
    /// The plan of the round with this seed. Consecutive seeds go through all kinds in turn; every third has a second fault.
    pub fn new(seed: u64, topology: Topology) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let kinds: Vec<Kind> = Kind::iter().filter(|kind| topology.allows(*kind)).collect();
        let coupons = random.random_range(1000..=3000);
        let users = usize::try_from(coupons * 13 / 10).unwrap_or(usize::MAX);
        let (cycle, turn) = (seed / kinds.len() as u64, usize::try_from(seed % kinds.len() as u64).unwrap_or(0));
        let first = kinds.get(turn).copied().unwrap_or(Kind::KillIssuer);
        let mut chosen = vec![first];
        // In another third of the kinds in every cycle, so that each is seen alone and in company.
        if (turn as u64 + 2 * (cycle % 3)).is_multiple_of(3) {
            chosen.extend(kinds.choose(&mut random));
        }
        let issuers = random.random_range(1..=2);
        let mut faults: Vec<Fault> = chosen.into_iter().map(|kind| fault(kind, topology, &mut random)).collect();
        // Half of the second faults fall into the repair of the first.
        let soon = Duration::from_millis(random.random_range(0..2000));
        if let [first, second] = faults.as_mut_slice()
            && random.random()
        {
            second.at = (first.at + soon).min(LATEST);
        }
        Self { seed, coupons, users, issuers, stretch: STRETCH, faults }
    }
}

fn fault(kind: Kind, topology: Topology, random: &mut StdRng) -> Fault {
    let mut millis = |range: std::ops::Range<u64>| Duration::from_millis(random.random_range(range));
    let at = millis(300..3500);
    let lasts = if kind.hurts_link() { millis(1000..8000) } else { millis(1000..5000) };
    let delay = millis(20..400);
    let trouble = match kind {
        Kind::CutLink => Some(Trouble::Cut),
        Kind::DelayLink => Some(Trouble::Delay(delay)),
        Kind::SilenceLink => Some(Trouble::Silence),
        Kind::HalfCloseLink => Some(Trouble::HalfClose { toward_server: random.random() }),
        _ => None,
    };
    let link = trouble.and_then(|trouble| topology.links().choose(random).map(|link| (*link, trouble)));
    Fault { kind, at, lasts, link, which: random.random_range(0..12) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FULL: Topology = Topology { sentinel: false, brokers: 3, shared: false };

    #[test]
    fn a_seed_is_a_plan() {
        for seed in 0..50 {
            assert_eq!(Plan::new(seed, FULL), Plan::new(seed, FULL), "a failing round must be repeatable");
        }
        assert_ne!(Plan::new(1, FULL).coupons, Plan::new(2, FULL).coupons);
        assert_eq!(Plan::new(round_seed(7, 3), FULL), Plan::new(round_seed(9, 1), FULL));
    }

    #[test]
    fn every_kind_has_its_turn_and_every_link_is_hurt() {
        let plans: Vec<Plan> = (0..2000).map(|seed| Plan::new(seed, FULL)).collect();
        let all = Kind::iter().count();
        let kinds: BTreeSet<Kind> = plans.iter().take(all).map(|plan| plan.faults[0].kind).collect();
        assert_eq!(kinds.len(), all);
        let links: BTreeSet<String> =
            plans.iter().flat_map(|plan| &plan.faults).filter_map(|f| Some(f.link?.0.to_string())).collect();
        assert_eq!(links.len(), 9, "{links:?}");
        for faults in [1, 2] {
            let first = |plan: &Plan| (plan.faults.len() == faults).then(|| plan.faults[0].kind);
            let kinds: BTreeSet<Kind> = plans.iter().take(3 * all).filter_map(first).collect();
            assert_eq!(kinds.len(), all, "each is seen alone and in company within three cycles");
        }
    }

    #[test]
    fn faults_come_while_coupons_are_left_and_end() {
        for plan in (0..500).map(|seed| Plan::new(seed, FULL)) {
            // Of 1.3 N users, the last fifth finds nothing.
            let sold_out = plan.stretch.mul_f64(1.0 / 1.3);
            for fault in plan.faults {
                assert!(fault.at < sold_out, "{fault} is after the sale");
                assert!(fault.lasts <= Duration::from_secs(8));
                assert_eq!(fault.link.is_some(), fault.kind.hurts_link());
            }
        }
    }

    #[test]
    fn each_kind_of_stage_sees_its_kinds_alone_and_in_company() {
        for (sentinel, brokers, shared) in [(true, 3, false), (false, 1, false), (true, 1, false), (false, 1, true)] {
            let topology = Topology { sentinel, brokers, shared };
            let allowed = Kind::iter().filter(|kind| topology.allows(*kind)).count();
            for faults in [1, 2] {
                let plans = (0..3 * allowed as u64).map(|seed| Plan::new(seed, topology));
                let kinds: BTreeSet<Kind> =
                    plans.filter(|plan| plan.faults.len() == faults).map(|plan| plan.faults[0].kind).collect();
                assert_eq!(kinds.len(), allowed, "{topology:?} with {faults}");
            }
        }
    }

    #[test]
    fn on_a_shared_stack_nobody_else_is_hurt() {
        let shared = Topology { sentinel: false, brokers: 1, shared: true };
        for fault in (0..500).flat_map(|seed| Plan::new(seed, shared).faults) {
            assert!(fault.kind.is_private(), "{fault}");
            assert!(!matches!(fault.link, Some((Link::Inner(Role::Operator, _), _))), "{fault}");
        }
    }
}
