//! The objects that a campaign owns besides Deployments: Secret, Service, budget, policy.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use crate::api::CouponCampaign;
use crate::error::ReconcileError;
use crate::events;
use crate::reconcile::control_token;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::workloads::apply::{Applied, delete, ensure};
use crate::workloads::ownership::{Ownership, claim, ownership};
use crate::workloads::{self, ChildContext};

/// Why a child is removed.
pub(super) const NOT_ASKED_FOR: &str = "its class does not ask for it any more";
/// How often children that are not watched are looked at.
const CHILDREN_FRESH: Duration = Duration::from_secs(30);

/// Secret, Service and budget. They are not watched, so they are looked at when they change and every half minute. An error means that
/// no Deployment is to be written: something is somebody else's, or pods would start without their Secret. What else could not be
/// written comes as an outcome.
pub(super) async fn apply(
    pass: &ReconcileContext<'_>,
    family: &ChildContext<'_>,
    unread: Option<ReconcileError>,
) -> Result<Result<(), ReconcileError>, ReconcileError> {
    let client = &pass.context.client;
    let namespace = pass.id.namespace();
    let mut secret = workloads::connections_secret(family)?;
    let service = workloads::issuer_service(family);
    let budget = workloads::issuer_budget(family);
    let policy = workloads::network_policy(family, &pass.context.config.operator_pods());
    let wanted = workloads::hex_digest(format!("{secret:?}{service:?}{budget:?}{policy:?}").as_bytes(), 32);
    let last = pass.memory.get().children.looked_at(&wanted);
    if last.is_some_and(|at| at.elapsed() < CHILDREN_FRESH) && pass.users_reach_issuers() {
        return Ok(Ok(()));
    }
    let (secrets, services, budgets): (Api<Secret>, Api<Service>, Api<PodDisruptionBudget>) = (
        Api::namespaced(client.clone(), namespace),
        Api::namespaced(client.clone(), namespace),
        Api::namespaced(client.clone(), namespace),
    );
    let found_service = ours(claimed(&services, &service.name_any(), pass.campaign).await)?;
    let found_secret = ours(claimed(&secrets, &secret.name_any(), pass.campaign).await)?;
    if let Ok(Some(found)) = &found_secret {
        workloads::keep_issuer_files(&mut secret, found);
    }
    let found_budget = ours(claimed(&budgets, &budget.name_any(), pass.campaign).await)?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let found_policy = match &policy {
        Some(policy) => ours(claimed(&policies, &policy.name_any(), pass.campaign).await)?,
        None => Ok(None),
    };
    let had = last.is_some();
    let service = apply_child(pass, &services, &service, found_service, had).await;
    let secret = match unread {
        None => apply_child(pass, &secrets, &secret, found_secret, had).await,
        // The Service needs no token: users get lost without it, whatever else is wrong.
        Some(error) => Err(error),
    };
    let policy = match &policy {
        Some(policy) => apply_child(pass, &policies, policy, found_policy, had).await,
        None => {
            let name = workloads::network_policy_name(&pass.campaign.name_any());
            remove_child(pass, &policies, &name, NOT_ASKED_FOR).await
        }
    };
    let budget = apply_child(pass, &budgets, &budget, found_budget, had).await;
    if secret.is_err() {
        // It may have been written all the same: what it holds is read again before another token is made.
        pass.memory.update(|memory| memory.tokens = None);
    }
    secret?;
    let outcome = service.and(budget).and(policy);
    remember(pass, family, wanted, outcome.is_ok()).await;
    Ok(outcome)
}

/// Remembers what pods find beside them from now on. `are_written`: all objects are as they should be.
async fn remember(pass: &ReconcileContext<'_>, family: &ChildContext<'_>, wanted: String, are_written: bool) {
    let before = pass.memory.get().tokens;
    control_token::note_rotation(pass, before.as_ref(), family.tokens).await;
    pass.memory.update(|memory| {
        memory.tokens = Some(family.tokens.clone());
        memory.pods.connections = Some(family.connections.clone());
        if are_written {
            memory.children.set(wanted);
        }
    });
}

/// What was found, or why it could not be read; an object of somebody else's is an error, before anything is written.
fn ours<T>(found: Result<T, ReconcileError>) -> Result<Result<T, ReconcileError>, ReconcileError> {
    match found {
        Err(error @ ReconcileError::NotOurs(_)) => Err(error),
        other => Ok(other),
    }
}

/// Makes sure that a child is as it should be. An event says where somebody else has changed it (`had`: it was as it should be).
async fn apply_child<K>(
    pass: &ReconcileContext<'_>,
    api: &Api<K>,
    desired: &K,
    found: Result<Option<K>, ReconcileError>,
    had: bool,
) -> Result<(), ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = found?;
    let applied = ensure(api, desired, found.as_ref()).await?;
    if had && applied == Applied::Written {
        let kind = K::kind(&());
        let text = match found {
            Some(_) => format!("somebody has changed the campaign's {kind}; it is as it should be again"),
            None => format!("somebody has deleted the campaign's {kind}; it was made anew"),
        };
        events::warn(pass.context, pass.campaign, "ChildRestored", &text).await;
    }
    Ok(())
}

/// Makes sure that a child is gone that is not wanted any more, and says why. One that is not ours stays.
pub(super) async fn remove_child<K>(
    pass: &ReconcileContext<'_>,
    api: &Api<K>,
    name: &str,
    why: &str,
) -> Result<(), ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = match api.get_opt(name).await {
        Ok(found) => found,
        // A cluster whose classes never asked for it may not give us the right to read it.
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Some(found) = found.filter(|found| ownership(found.meta(), pass.campaign) == Ownership::Ours) {
        delete(api, &found, DeleteParams::default()).await?;
        let text = format!("the campaign's {} is removed: {why}", K::kind(&()));
        events::note(pass.context, pass.campaign, "ChildRemoved", &text).await;
    }
    Ok(())
}

/// The object of this name, if there is one and it is ours to write.
pub(super) async fn claimed<K>(api: &Api<K>, name: &str, campaign: &CouponCampaign) -> Result<Option<K>, ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = api.get_opt(name).await?;
    if let Some(found) = &found {
        claim(found, campaign)?;
    }
    Ok(found)
}
