//! Whose ledger it is. A ledger outlives the object in Kubernetes: one that is new to it continues it only under the terms under
//! which it was opened, or by an annotation that says that it may. Pure.

use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::Terms;
use kube::ResourceExt;

use super::cluster::Cluster;
use super::handover::Elsewhere;
use super::observe::Observation;
use super::plan::terms::{asked, time};
use super::plan::{Plan, Step};
use super::scaling_goals::{ScalingGoal, ScalingGoals};
use crate::api::ConditionType::Stalled;
use crate::api::conditions::Report;
use crate::api::{CouponCampaign, KeyBy, Phase};
use crate::class::measure::clocks::Time;

/// Annotation of a campaign that takes an old ledger over under the campaign's own terms. It names the ledger's epoch, so that one
/// that stays in a manifest works once.
pub(super) const ADOPT_ANNOTATION: &str = "coupon-operator.io/adopt-ledger";

/// Reason: the ledger was opened under other terms.
pub(super) const TERMS_DIFFER: &str = "LedgerTermsDiffer";

/// How an object stands to the ledger of its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Owner {
    /// It is this object's.
    This,
    /// It becomes this object's.
    Claims {
        /// Its window counts as not opened from now on.
        forget_window: bool,
    },
    /// It was opened under other terms: all stays closed.
    Differs(Report),
    /// It is another cluster's: nothing is done.
    Elsewhere(Report),
    /// It is another cluster's, and is taken over.
    TakesOver {
        /// Its window counts as not opened from now on.
        forget_window: bool,
    },
    /// It was taken over from another cluster, whose issuers may still grant.
    Unfenced,
}

impl Owner {
    /// The step that puts this object's name on the ledger, if one is needed; or why nothing else is to be done in this pass.
    pub(super) fn claim(self) -> Result<Option<Step>, Closed> {
        match self {
            Self::This => Ok(None),
            Self::Claims { forget_window: false } => Ok(Some(Step::Claim { forget_window: false })),
            // What else is to be done depends on the window, which is forgotten by then.
            Self::Claims { forget_window: true } => Err(Closed::Adopted),
            Self::Differs(report) => Err(Closed::Out(report)),
            Self::Elsewhere(report) => Err(Closed::Elsewhere(report)),
            Self::TakesOver { forget_window } => Err(Closed::TakesOver { forget_window }),
            Self::Unfenced => Err(Closed::Unfenced),
        }
    }
}

/// How this object of this cluster stands to the ledger.
pub(super) fn owner(campaign: &CouponCampaign, row: &CampaignRow, cluster: &Cluster) -> Owner {
    if let Some(elsewhere) = Elsewhere::of(row, cluster) {
        return taken_over(campaign, row, cluster, &elsewhere);
    }
    if row.custody.unfenced.is_some() {
        return Owner::Unfenced;
    }
    match of_object(campaign, row) {
        // From before ledgers named their cluster, or given up by another one.
        Owner::This if row.custody.owner.is_none() => Owner::Claims { forget_window: false },
        other => other,
    }
}

/// Another cluster's ledger is taken over only if that was asked for, and only to be gone on with: other terms leave it where it is.
fn taken_over(campaign: &CouponCampaign, row: &CampaignRow, cluster: &Cluster, elsewhere: &Elsewhere) -> Owner {
    let stays = |why: &str| {
        let report = elsewhere.report(row, campaign, cluster);
        Owner::Elsewhere(Report { message: format!("{}{why}", report.message), ..report })
    };
    if !elsewhere.is_asked_for(campaign) {
        return stays("");
    }
    // It is on its way already, and not from here.
    if let Some(unfenced) = row.custody.unfenced.as_ref().filter(|unfenced| !cluster.is(&unfenced.cluster)) {
        let text = format!("; taking it over waits, as it is still coming there from cluster {}", unfenced.cluster);
        return stays(&text);
    }
    match of_object(campaign, row) {
        Owner::Differs(report) => stays(&format!("; taking it over is asked for, but {}", report.message)),
        Owner::Claims { forget_window } => Owner::TakesOver { forget_window },
        _ => Owner::TakesOver { forget_window: false },
    }
}

/// How this object stands to the ledger, whatever cluster that is in.
fn of_object(campaign: &CouponCampaign, row: &CampaignRow) -> Owner {
    let Some(uid) = campaign.uid() else { return Owner::This };
    if row.object_uid.as_ref() == Some(&uid) {
        return Owner::This;
    }
    let has_had_epoch = campaign.status.as_ref().is_some_and(|status| status.epoch.is_some());
    // Of a ledger without an object on record, the owner is the object that has had an epoch.
    let known = row.object_uid.is_none() && has_had_epoch;
    let forget_window = false;
    if known || row.epoch == 0 || row.opened_start_ms.is_none() {
        return Owner::Claims { forget_window };
    }
    let mut differs = differences(campaign, row);
    let limit = asked(campaign).limit;
    let lower = row.opened_user_limit.filter(|opened| limit < *opened);
    if differs.is_empty() {
        return Owner::Claims { forget_window };
    }
    let adopts =
        campaign.annotations().get(ADOPT_ANNOTATION).is_some_and(|epoch| epoch.trim() == row.epoch.to_string());
    let way_out = match (adopts, lower) {
        (true, None) => return Owner::Claims { forget_window: true },
        (true, Some(_)) => {
            differs.retain(|each| each.starts_with("perUserLimit"));
            "a lower limit cannot be adopted, as some users may hold more already: correct it"
        }
        (false, _) => "correct them, or take another couponId for another sale",
    };
    let text = format!(
        "the ledger of this couponId was opened under other terms, so the campaign stays closed: {}; {way_out}; or, to sell on \
         under the new terms with all earlier winners kept, annotate the campaign with {ADOPT_ANNOTATION}={}",
        differs.join(", "),
        row.epoch
    );
    Owner::Differs(Report::yes(Stalled, TERMS_DIFFER, text))
}

/// What the spec has otherwise than the ledger, in words. A longer end and a higher total are no difference.
fn differences(campaign: &CouponCampaign, row: &CampaignRow) -> Vec<String> {
    let terms = asked(campaign);
    let mut all = Vec::new();
    if let Some(start_ms) = row.opened_start_ms.filter(|start| *start != terms.start_ms) {
        all.push(format!("window.start is {}, the ledger's {}", time(terms.start_ms), time(start_ms)));
    }
    if let Some(end_ms) = row.opened_end_ms.filter(|end| terms.end_ms < *end) {
        all.push(format!("window.end is {}, the ledger's {}", time(terms.end_ms), time(end_ms)));
    }
    if terms.total < row.total {
        all.push(format!("totalQuantity is {}, the ledger's {}", terms.total, row.total));
    }
    if let Some(limit) = row.opened_user_limit.filter(|limit| *limit != terms.limit) {
        all.push(format!("perUserLimit is {}, the ledger's {limit}", terms.limit));
    }
    let key_by = campaign.spec.key_by.to_string();
    if let Some(opened) = row.opened_key_by.as_ref().filter(|opened| **opened != key_by) {
        all.push(format!("keyBy is {key_by}, the ledger's {opened}"));
    }
    all
}

/// Why an object does nothing with the ledger of its name in this pass.
pub(super) enum Closed {
    /// It takes it over first.
    Adopted,
    /// It may not go on with it.
    Out(Report),
    /// It may not touch it.
    Elsewhere(Report),
    /// It takes it over from another cluster first.
    TakesOver {
        /// Its window counts as not opened from now on.
        forget_window: bool,
    },
    /// The cluster that had it before may still grant.
    Unfenced,
}

/// The plan for such an object: all stays closed, and nothing is made, removed or scaled. Where the ledger is open even so (its
/// last object went without closing it), issuing is suspended; but not what is another cluster's.
/// `recorded`: the terms on record of its window.
pub(super) fn closed(
    seen: &Observation,
    clock: Time,
    recorded: Option<Terms>,
    terms: Terms,
    key_by: KeyBy,
    why: Closed,
) -> Plan {
    let open = seen.redis.as_ref().ok().and_then(|redis| redis.open.as_ref());
    let suspend = open.filter(|open| !open.terms.suspended).map(|_| Step::Suspend);
    let mut phase = Phase::Pending;
    let suspend = suspend.filter(|_| matches!(why, Closed::Adopted | Closed::Out(_)));
    let (step, refusals, reason) = match why {
        Closed::Adopted => (Some(Step::Claim { forget_window: true }), Vec::new(), "the ledger is being taken over"),
        Closed::Out(report) => (None, vec![report], "the ledger of this couponId was opened under other terms"),
        Closed::Elsewhere(report) => (None, vec![report], "the ledger of this couponId belongs to another cluster"),
        Closed::TakesOver { forget_window } => {
            (Some(Step::TakeOver { forget_window }), Vec::new(), "the ledger is being taken over from another cluster")
        }
        Closed::Unfenced => {
            phase = Phase::Repairing;
            (Some(Step::FenceOther), Vec::new(), "the ledger is being taken over from another cluster")
        }
    };
    let aim = ScalingGoal::Hold { reason };
    Plan {
        steps: suspend.into_iter().chain(step).collect(),
        phase,
        goals: ScalingGoals { issuer: aim, consumer: aim },
        hands_off: true,
        is_closed_out: !refusals.is_empty(),
        refusals,
        terms,
        in_force: recorded,
        has_opened: None,
        next_ms: None,
        now_ms: clock.now_ms,
        time: clock,
        key_by,
        wants_count: false,
        keys_removed: false,
        replaces: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CouponCampaignStatus, KeyBy};
    use crate::fixtures::{self, END, HOUR, START};
    use crate::reconcile::scene::Scene;

    /// A campaign that was applied anew, beside a ledger that had opened under the terms of the fixtures.
    fn applied_anew(change: impl FnOnce(&mut CouponCampaign)) -> (CouponCampaign, CampaignRow) {
        let mut row = Scene::open().row().clone();
        (row.epoch, row.open_epoch, row.object_uid) = (7, None, Some("another".to_owned()));
        let mut campaign = fixtures::campaign();
        change(&mut campaign);
        (campaign, row)
    }

    fn at(ms: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::from_millisecond(ms).unwrap())
    }

    fn here() -> Cluster {
        Cluster::named(fixtures::CLUSTER)
    }

    const CLAIMS: Owner = Owner::Claims { forget_window: false };

    /// Wrong: next year's sale with last year's name sells at once (W1).
    #[test]
    fn an_object_that_is_new_to_a_ledger_continues_it_under_the_same_terms_only() {
        type Change = Box<dyn Fn(&mut CouponCampaign)>;
        let change = |change: fn(&mut CouponCampaign)| -> Change { Box::new(change) };
        for (what, change, differs) in [
            ("nothing", change(|_| {}), None),
            ("a longer end", change(|c| c.spec.window.end = at(END + HOUR)), None),
            ("a higher total", change(|c| c.spec.total_quantity = 101), None),
            ("suspended", change(|c| c.spec.suspend = true), None),
            ("a later start", change(|c| c.spec.window.start = at(START + 1)), Some("window.start")),
            ("an earlier start", change(|c| c.spec.window.start = at(START - HOUR)), Some("window.start")),
            ("a shorter end", change(|c| c.spec.window.end = at(END - 1)), Some("window.end")),
            ("a lower total", change(|c| c.spec.total_quantity = 99), Some("totalQuantity")),
            ("another limit", change(|c| c.spec.per_user_limit = 2), Some("perUserLimit")),
            ("another key", change(|c| c.spec.key_by = KeyBy::Campaign), Some("keyBy")),
        ] {
            let (campaign, row) = applied_anew(&change);
            match (owner(&campaign, &row, &here()), differs) {
                (owner, None) => assert_eq!(owner, CLAIMS, "{what}"),
                (Owner::Differs(report), Some(field)) => {
                    assert_eq!(report.reason, "LedgerTermsDiffer", "{what}");
                    assert!(report.message.contains(field), "{what}: {}", report.message);
                    assert!(report.message.contains("adopt-ledger=7"), "{what}: {}", report.message);
                }
                (owner, _) => panic!("{what}: {owner:?}"),
            }
        }
    }

    #[test]
    fn other_terms_are_adopted_by_an_annotation_that_names_the_epoch() {
        let later = |epoch: &'static str| {
            move |campaign: &mut CouponCampaign| {
                campaign.spec.window.start = at(START + 1);
                campaign.annotations_mut().insert(ADOPT_ANNOTATION.to_owned(), epoch.to_owned());
            }
        };
        for (epoch, adopted) in [("7", true), (" 7 ", true), ("6", false), ("true", false), ("", false), ("07", false)]
        {
            let (campaign, row) = applied_anew(later(epoch));
            let expected = Owner::Claims { forget_window: true };
            assert_eq!(owner(&campaign, &row, &here()) == expected, adopted, "{epoch:?}");
        }
        let (campaign, mut row) = applied_anew(later("7"));
        row.opened_user_limit = Some(2);
        assert!(
            matches!(owner(&campaign, &row, &here()), Owner::Differs(_)),
            "users may hold more than a lower limit allows"
        );
    }

    #[test]
    fn a_ledger_without_terms_is_anybodys() {
        let later = |campaign: &mut CouponCampaign| campaign.spec.window.start = at(START + 1);
        let (campaign, row) = applied_anew(later);
        let never_opened = CampaignRow { opened_start_ms: None, ..row.clone() };
        assert_eq!(owner(&campaign, &never_opened, &here()), CLAIMS, "its window may move freely");
        let never_had_an_epoch = CampaignRow { epoch: 0, ..row.clone() };
        assert_eq!(owner(&campaign, &never_had_an_epoch, &here()), CLAIMS);
        let own = CampaignRow { object_uid: campaign.uid(), ..row.clone() };
        assert_eq!(owner(&campaign, &own, &here()), Owner::This);
        // An older version has opened it, for this object or for another.
        let unknown = CampaignRow { object_uid: None, ..row };
        assert!(matches!(owner(&campaign, &unknown, &here()), Owner::Differs(_)));
        let status = CouponCampaignStatus { epoch: Some(7), ..CouponCampaignStatus::default() };
        assert_eq!(owner(&CouponCampaign { status: Some(status), ..campaign }, &unknown, &here()), CLAIMS);
    }

    /// Wrong: of two clusters with one realm both sell, and what the one fences the other goes on granting.
    #[test]
    fn another_clusters_ledger_is_left_alone_unless_it_is_handed_over() {
        use crate::reconcile::handover::TAKE_OVER_ANNOTATION;
        use coupon_ledger::database::{Custody, Unfenced};
        let unfenced = |cluster: &str| Some(Unfenced { cluster: cluster.to_owned(), epoch: Some(7), closed: false });
        let same = |_: &mut CouponCampaign| {};
        let later = |campaign: &mut CouponCampaign| campaign.spec.window.start = at(START + 1);
        let asks = |change: fn(&mut CouponCampaign), value: &'static str| {
            let (mut campaign, row) = applied_anew(change);
            campaign.annotations_mut().insert(TAKE_OVER_ANNOTATION.to_owned(), value.to_owned());
            (campaign, row)
        };
        let takes = Owner::TakesOver { forget_window: false };
        for (what, (campaign, row), owner_cluster, on_its_way, expected) in [
            ("this cluster's", asks(same, ""), Some("here"), None, Some(CLAIMS)),
            ("nobody's", asks(same, ""), None, None, Some(CLAIMS)),
            ("another's", asks(same, ""), Some("there"), None, None),
            ("asked for", asks(same, "there/2"), Some("there"), None, Some(takes.clone())),
            ("asked for before", asks(same, "there/1"), Some("there"), None, None),
            ("other terms", asks(later, "there/2"), Some("there"), None, None),
            ("coming from a third", asks(same, "there/2"), Some("there"), unfenced("third"), None),
            ("back again", asks(same, "there/2"), Some("there"), unfenced("here"), Some(takes)),
            ("on its way here", asks(same, ""), Some("here"), unfenced("there"), Some(Owner::Unfenced)),
        ] {
            let owner_cluster = owner_cluster.map(str::to_owned);
            let row =
                CampaignRow { custody: Custody { owner: owner_cluster, changes: 2, unfenced: on_its_way }, ..row };
            match (owner(&campaign, &row, &here()), expected) {
                (found, Some(expected)) => assert_eq!(found, expected, "{what}"),
                (Owner::Elsewhere(report), None) => {
                    assert_eq!(report.reason, "LedgerOwnedElsewhere", "{what}");
                    assert!(report.message.contains("take-over-ledger=there/2"), "{what}: {}", report.message);
                }
                (found, None) => panic!("{what}: {found:?}"),
            }
        }
        // What this object has had before, when this was its cluster's.
        let (own, row) = applied_anew(same);
        let custody = Custody { owner: None, ..row.custody.clone() };
        let row = CampaignRow { object_uid: own.uid(), custody, ..row };
        assert_eq!(owner(&own, &row, &here()), CLAIMS, "it is put on record");
    }
}
