//! The rules of the protocol, each of which a test can leave out, and the policies that were considered for conflicts.

use std::fmt;

/// A rule that can be left out. The first seven are the defences of `coupon_core::failpoints`, by the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the name is that of the defence")]
pub(crate) enum Rule {
    /// Records of an epoch that ended before they arrived are void.
    BarrierRule,
    /// Scripts refuse a Redis whose history is not the one that the keys were written in.
    HistoryCheck,
    /// Issuers are fenced, and waited for, before the ledger is read.
    Fence,
    /// A fence sets a floor below which an issuer serves nothing.
    Floor,
    /// A direct insert commits only while its epoch is SQL's.
    ConditionalInsert,
    /// What only Redis holds is published again.
    RepairLoop,
    /// Offsets are committed after the rows.
    FrontierCommit,
    /// Committed offsets are read before SQL's rows.
    ReadingOrder,
    /// The barrier is committed before SQL's rows are read.
    BarrierBeforeRows,
    /// An issuer takes the open epoch from SQL, after its start; nobody hands one out.
    PullEpoch,
    /// An issuer confirms a fence only when nothing of an older epoch is under way.
    DrainBeforeConfirm,
    /// Each script of a rebuild compares Redis' identity with the one captured before Redis was read.
    IdentityInEveryScript,
    /// The swap counts what arrived in the temporary keys.
    CountsBeforeSwap,
    /// The temporary keys of an attempt are used once, and its swap is never sent again.
    OneShotAttempt,
    /// The repair loop stamps a grant with the epoch that the same script call read.
    EpochReadWithGrant,
    /// Rebinding is refused when epoch or winners in Redis are not those that were read.
    RebindUnchanged,
    /// Dead letters hold their ranks: a repair reads them.
    DeadLettersRead,
    /// A dead letter is void where its record is, by the record's place in the topic.
    DeadLettersVoid,
    /// Epochs go on where they were when a campaign is applied again.
    EpochOutlivesDeletion,
    /// Deletion allots an epoch whatever it finds, so that no repair that began before can still open one.
    CloseAlwaysAllots,
    /// An epoch opens only with a barrier of the present topic, and a new topic closes the epoch.
    EpochOfThisTopic,
    /// Terms are ordered by a number allotted in SQL; SQL and Redis refuse those of an older number.
    TermsNumbered,
    /// An epoch takes a number of terms, and refuses to begin when it has seen an older one than SQL's.
    EpochTakesNumber,
    /// A higher quantity goes to SQL before Redis, a lower one to Redis before SQL.
    TotalInOrder,
    /// The script refuses when ranks that the issuer has seen are missing.
    Behind,
    /// While there is a barrier of an epoch that was never allotted, nothing is judged by barriers, and none is allotted.
    AllottedBarriers,
}

impl Rule {
    /// All of them.
    pub(crate) const EVERY: &[Self] = &[
        Self::BarrierRule,
        Self::HistoryCheck,
        Self::Fence,
        Self::Floor,
        Self::ConditionalInsert,
        Self::RepairLoop,
        Self::FrontierCommit,
        Self::ReadingOrder,
        Self::BarrierBeforeRows,
        Self::PullEpoch,
        Self::DrainBeforeConfirm,
        Self::IdentityInEveryScript,
        Self::CountsBeforeSwap,
        Self::OneShotAttempt,
        Self::EpochReadWithGrant,
        Self::RebindUnchanged,
        Self::DeadLettersRead,
        Self::DeadLettersVoid,
        Self::EpochOutlivesDeletion,
        Self::CloseAlwaysAllots,
        Self::EpochOfThisTopic,
        Self::TermsNumbered,
        Self::EpochTakesNumber,
        Self::TotalInOrder,
        Self::Behind,
        Self::AllottedBarriers,
    ];

    /// The name as a command line or a table has it.
    pub(crate) fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

/// The rules in force.
#[derive(Clone, Copy)]
pub(crate) struct Rules(u32);

impl Rules {
    /// All of them.
    pub(crate) const ALL: Self = Self(u32::MAX);

    /// All but these.
    pub(crate) fn without(rules: &[Rule]) -> Self {
        Self(rules.iter().fold(u32::MAX, |all, rule| all & !(1 << *rule as u32)))
    }

    /// Whether a rule is in force.
    pub(crate) fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

/// What happens to a winner whose rank, or whose user's place, is taken by another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The protocol: no stored row is ever replaced.
    FirstRowStands,
    /// A newer epoch replaces the row of that rank, unless the user has another row.
    NewerByRank,
    /// `ON DUPLICATE KEY UPDATE`: a newer epoch changes one matching row, the one of the rank if there is one.
    OnDuplicateKeyUpdate,
    /// A newer epoch replaces every row in its way; the same content leaves the row, and its epoch, as they are.
    NewerKeepsEpoch,
    /// The same, but the same content under a newer epoch raises the row's epoch.
    NewerRaisesEpoch,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// Every answered user ends in SQL, once, with that rank.
    I1,
    /// At most N rows, one for each place of a user.
    I2,
    /// With demand, exactly N rows once everything is quiet.
    I3,
    /// No answered user is ever displaced, not even for a moment.
    I4,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I1 => "I1: an answered user does not end in SQL with that rank",
            Self::I2 => "I2: more rows than coupons, or two rows for one place of a user",
            Self::I3 => "I3: everything is quiet, and not exactly N rows are stored",
            Self::I4 => "I4: an answered user is displaced",
        })
    }
}
