//! What is done to a sale, and which alerts must come of it.

use std::collections::BTreeSet;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::scene::Scene;
use crate::chaos::fault::Role;

/// A trouble, of one thing or of some that have nothing to do with each other.
pub struct Fault {
    /// In words.
    pub name: &'static str,
    /// What is done.
    hurts: &'static [Hurt],
    /// The alerts that must fire, and reach whoever they are for, unless another one that names the cause inhibits them.
    pub expected: &'static [&'static str],
}

enum Hurt {
    /// These parts of the stack are killed.
    Parts(&'static [&'static str]),
    /// Redis answers, and takes no writes.
    RedisWrites,
    /// No operator runs.
    Operator,
    /// The sale's pods of this kind run and do nothing.
    Frozen(Role),
    /// The topic has so many records that nobody can read.
    Records(usize),
    /// The quantity is set below what is issued.
    Quantity,
    /// Another campaign opens in five minutes, and its class is not there.
    Class,
}

/// Groups, each once all alerts of the one before are over. Within a group a fault follows as soon as the one before is mended: what still
/// fires of that one has nothing to do with it.
pub const FAULTS: [&[Fault]; 4] = [
    &[Fault { name: "Redis is away", hurts: &[Hurt::Parts(&["redis"])], expected: &["SaleTurnsUsersAway"] }],
    &[
        Fault { name: "Redis takes no writes", hurts: &[Hurt::RedisWrites], expected: &["RedisRefusesWrites"] },
        Fault {
            name: "Kafka and the database are away",
            hurts: &[Hurt::Parts(&["mariadb", "kafka-1"])],
            expected: &["ProducerFailing", "KafkaBreakerOpen", "IssueLatencyHigh"],
        },
    ],
    &[
        // The other campaign stays from here on.
        Fault {
            name: "consumers are frozen, and a campaign that opens soon has no class",
            hurts: &[Hurt::Frozen(Role::Consumer), Hurt::Class],
            expected: &[
                "ConsumerDown",
                "HighConsumerLag",
                "StoredBehind",
                "WindowOpensSoonNotReady",
                "ReconcileErrors",
            ],
        },
        Fault {
            name: "a stranger writes into the topic, and the quantity is set below what is issued",
            // Mended the other way round: letters are given up in a consumer, and none runs while nobody can buy.
            hurts: &[Hurt::Records(12), Hurt::Quantity],
            expected: &["CampaignStalled", "DLQMessagesDetected"],
        },
    ],
    &[
        Fault {
            name: "issuers are frozen",
            hurts: &[Hurt::Frozen(Role::Issuer)],
            expected: &["SaleUnreachable", "IssuerDown"],
        },
        Fault { name: "no operator runs", hurts: &[Hurt::Operator], expected: &["OperatorDown"] },
    ],
];

/// The alerts that must come of the faults.
pub fn tested() -> BTreeSet<&'static str> {
    FAULTS.iter().copied().flatten().flat_map(|fault| fault.expected.iter().copied()).collect()
}

impl Fault {
    /// Does it.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn strike(&self, scene: &Scene) -> Result<()> {
        for hurt in self.hurts {
            match hurt {
                Hurt::Parts(parts) => scene.kill(parts).await,
                Hurt::RedisWrites => scene.need_replicas("1").await,
                Hurt::Operator => scene.run_operators("0").await,
                Hurt::Frozen(role) => scene.signal(*role, Signal::SIGSTOP).await,
                Hurt::Records(count) => scene.write_unreadable(*count).await,
                Hurt::Quantity => scene.ask_for_quantity(1).await,
                Hurt::Class => scene.plan_without_class().await,
            }?;
        }
        Ok(())
    }

    /// Undoes it as people would, the last first. Everything serves afterwards.
    ///
    /// # Errors
    /// If it cannot be undone.
    pub async fn mend(&self, scene: &Scene) -> Result<()> {
        for hurt in self.hurts.iter().rev() {
            match hurt {
                Hurt::Parts(parts) => scene.start(parts).await,
                Hurt::RedisWrites => scene.need_replicas("0").await,
                Hurt::Operator => scene.run_operators("1").await,
                Hurt::Frozen(role) => scene.signal(*role, Signal::SIGCONT).await,
                Hurt::Records(count) => scene.discard_letters(*count).await,
                Hurt::Quantity => scene.ask_again().await,
                Hurt::Class => scene.make_class().await,
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a fault waits for an alert that has another name by now.
    #[test]
    fn what_is_expected_is_an_alert() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitoring/rules/coupon.rules.yaml");
        let rules = std::fs::read_to_string(path).unwrap();
        for Fault { name, expected, .. } in FAULTS.iter().copied().flatten() {
            assert!(!expected.is_empty(), "{name}");
            for alert in *expected {
                assert!(rules.contains(&format!("- alert: {alert}\n")), "{name}: {alert}");
            }
        }
    }
}
