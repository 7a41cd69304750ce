//! By which names this cluster is known to ledgers. Pure.
//!
//! A cluster is known by the UID of its namespace `kube-system`, or by `clusterId`, once somebody has given it one. A ledger that bears that
//! very UID is still its own then: issuers were started under that name, and another one in their row would keep them from the next epoch. So
//! the operator goes on under it, and the row is renamed once no issuer runs or is wanted. The other way round nothing is proven: that
//! a ledger bears a name which was this cluster's once, only people can know.

use coupon_ledger::database::CampaignRow;

use super::plan::{Plan, Step};

/// This cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in ledgers.
    name: String,
    /// The UID of its namespace `kube-system`, where that is not its name.
    former: Option<String>,
}

impl Cluster {
    /// One that has had no other name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), former: None }
    }

    /// By what is known of it: the name that somebody gave it, and the UID of its `kube-system`.
    pub(crate) fn of(given: Option<&str>, uid: Option<&str>) -> Option<Self> {
        let given = given.filter(|given| !given.is_empty());
        let name = given.or(uid)?.to_owned();
        let former = uid.filter(|uid| *uid != name).map(str::to_owned);
        Some(Self { name, former })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is one of its names.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name || self.former.as_deref() == Some(name)
    }

    /// The name by which a row knows it; where none does, its own.
    pub(crate) fn in_row(&self, row: &CampaignRow) -> &str {
        let unfenced = row.custody.unfenced.as_ref().map(|unfenced| &unfenced.cluster);
        let known = row.custody.owner.iter().chain(unfenced).find(|name| self.is(name));
        match &self.former {
            Some(former) if known == Some(former) => former,
            _ => &self.name,
        }
    }

    /// The step that gives the row this cluster's present name, where it has an earlier one and nobody needs that.
    pub(super) fn renames(&self, row: &CampaignRow, plan: &Plan) -> Option<Step> {
        let has_former = self.former.is_some() && row.custody.owner == self.former && row.custody.unfenced.is_none();
        (has_former && plan.steps.is_empty() && !plan.hands_off && plan.goals.are_dormant()).then_some(Step::Rename)
    }
}

#[cfg(test)]
mod tests {
    use coupon_ledger::database::{Custody, Unfenced};

    use super::*;
    use crate::fixtures::{self, CLUSTER, HOUR, START};
    use crate::reconcile::scene::Scene;

    fn renamed() -> Cluster {
        Cluster::of(Some("seoul"), Some(CLUSTER)).unwrap()
    }

    #[test]
    fn a_cluster_has_the_name_that_it_was_given_and_the_uid_before_it() {
        for (given, uid, expected) in [
            (None, Some("uid"), Some(("uid", None))),
            (Some(""), Some("uid"), Some(("uid", None))),
            (Some("seoul"), Some("uid"), Some(("seoul", Some("uid")))),
            (Some("uid"), Some("uid"), Some(("uid", None))),
            (Some("seoul"), None, Some(("seoul", None))),
            (None, None, None),
        ] {
            let found = Cluster::of(given, uid);
            let found = found.as_ref().map(|found| (found.name.as_str(), found.former.as_deref()));
            assert_eq!(found, expected, "{given:?} {uid:?}");
        }
    }

    /// Wrong: issuers that were started under the former name, and those that are started now, do not find the owner in the row.
    #[test]
    fn a_ledger_goes_on_under_the_name_that_it_knows() {
        let unfenced = |cluster: &str| Some(Unfenced { cluster: cluster.to_owned(), epoch: Some(7), closed: false });
        for (what, owner, unfenced, expected) in [
            ("before it had another name", Some(CLUSTER), None, CLUSTER),
            ("with its name", Some("seoul"), None, "seoul"),
            ("nobody's", None, None, "seoul"),
            ("another's", Some("there"), None, "seoul"),
            ("another's, which waits for our issuers", Some("there"), unfenced(CLUSTER), CLUSTER),
            ("coming here from another", Some(CLUSTER), unfenced("there"), CLUSTER),
        ] {
            let custody = Custody { owner: owner.map(str::to_owned), changes: 1, unfenced };
            assert_eq!(renamed().in_row(&CampaignRow { custody, ..fixtures::row() }), expected, "{what}");
        }
    }

    /// Wrong: setting `clusterId` closes every sale; or the row gets the new name while issuers run that do not know it.
    #[test]
    fn a_ledger_is_renamed_when_no_issuer_runs_or_is_wanted() {
        for (what, scene, expected) in [
            ("long before the window", Scene::prepared(), true),
            ("soon before it", Scene::prepared().at(START - 60_000), false),
            ("open", Scene::open(), false),
            ("sold out", Scene::open().issued(100).stored(100).lag(0), false),
            ("over", Scene::completed(), true),
            ("over, and rows are missing", Scene::completed().stored(90), false),
            ("a repair", Scene::prepared().redis_emptied().at(START - 24 * HOUR), false),
        ] {
            let plan = scene.plan_of(&renamed());
            assert_eq!(plan.steps.contains(&Step::Rename), expected, "{what}: {:?}", plan.steps);
            assert!(!plan.is_closed_out, "{what}");
            assert!(!scene.plan().steps.contains(&Step::Rename), "{what}: it has its name");
        }
    }
}
