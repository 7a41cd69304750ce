//! Does what was decided: one function per kind of thing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::log::admin::{AdminError, Creation, TopicState};
use campaign::stock::{self, Configured, StockKeys};
use campaign::table::{self, CampaignRow, OpenedWindow, TotalSet};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

pub use super::done::{Done, Scaled};
pub use super::issuer_pods::issuers;
use super::numbers::{Numbers, Wanted};
use super::opening::{self, open_epoch};
use super::plan::{Plan, Step};
use super::removal;
use super::rollout::{self, Order, When};
use super::{Pass, adoption, control_token, handover, observe::Observation, proven};
use crate::api::CouponCampaign;
use crate::children::apply::{self, Applied, SCALE_MANAGER};
use crate::children::ownership::{Ownership, claim, ownership};
use crate::children::{self, Component, ControlTokens, Family};
use crate::error::ReconcileError;
use crate::events;
use crate::topic::{self, TopicStep};

/// How often children that are not watched are looked at.
const CHILDREN_FRESH: Duration = Duration::from_secs(30);

/// Does the ledger steps in order. Stops at the first that fails; the next pass goes on from what is then there. What was `done` by then is
/// the caller's either way: an epoch that was opened is followed up although a later step fails.
pub async fn ledger(pass: &Pass<'_>, plan: &Plan, seen: &Observation, done: &mut Done) -> Result<(), ReconcileError> {
    let mut row = seen.ledger.as_ref().ok().and_then(|ledger| ledger.row.clone());
    // One number for all that this pass changes in the terms.
    let mut number = None;
    for step in &plan.steps {
        tracing::info!(campaign = %pass.id, ?step, "ledger step");
        match (step, row.as_ref()) {
            (Step::Register, _) => {
                let registered =
                    table::register_in(&pass.systems.sql, pass.id, plan.terms.total, Some(pass.cluster.name())).await?;
                // One that somebody else registered meanwhile may have topics that this plan knows nothing of, or be another cluster's.
                let is_ours = registered.custody.owner.as_deref().is_some_and(|owner| pass.cluster.is(owner));
                row = (is_ours && registered.topic_id.is_none()).then_some(registered);
            }
            (Step::Suspend, _) => {
                let keys = StockKeys::of(pass.id);
                pass.context.memory.update(pass.uid, |memory| memory.terms_seen.stop());
                pass.systems.with_redis(async |redis| stock::suspend(redis, &keys).await).await?;
            }
            (Step::CorrectTime, _) => {
                let keys = StockKeys::of(pass.id);
                pass.systems.with_redis(async |redis| stock::correct_time(redis, &keys).await).await?;
                let text = plan.time.doubt.as_deref().unwrap_or("the time of the latest grant is corrected");
                events::warn(pass.context, pass.campaign, "TimeCorrected", text).await;
            }
            (_, None) => break,
            (Step::Claim { forget_window }, Some(row)) => {
                if !table::claim(&pass.systems.sql, row, pass.heir(row), *forget_window).await? {
                    tracing::info!(campaign = %pass.id, "the ledger has changed meanwhile; looking again");
                    break;
                }
                done.adopted = adoption::of_claim(pass.is_new_to_ledger(), row, seen).or(done.adopted);
            }
            (Step::TakeOver { forget_window }, Some(row)) => {
                let known = opening::known_epoch(pass, seen);
                if !table::take_over(&pass.systems.sql, row, pass.heir(row), known, *forget_window).await? {
                    tracing::info!(campaign = %pass.id, "the ledger has changed meanwhile; looking again");
                    break;
                }
                done.adopted = adoption::of_claim(pass.is_new_to_ledger(), row, seen).or(done.adopted);
                pass.context.memory.update(pass.uid, |memory| memory.taken_over = true);
                let before = row.custody.owner.as_deref().unwrap_or_default();
                let text = format!("the ledger is taken over from cluster {before}, by annotation");
                events::note(pass.context, pass.campaign, "LedgerTakenOver", &text).await;
            }
            (Step::FenceOther, Some(row)) => handover::fence_other(pass, row).await?,
            (Step::Rename, Some(row)) => rename(pass, row).await?,
            (Step::Topic(step), Some(row)) => topic(pass, row, step, seen).await?,
            (Step::SetTotal(_) | Step::Configure(_), Some(row)) => {
                if number.is_none() {
                    number = table::allot_terms(&pass.systems.sql, row).await?;
                }
                let taken = match number {
                    Some(number) => change_terms(pass, row, step, number).await?,
                    None => false,
                };
                // What follows in this change must not be there without what was not taken.
                if !taken {
                    tracing::info!(campaign = %pass.id, ?step, "the change was not taken; looking again");
                    break;
                }
            }
            (Step::RecordOpened(terms), Some(row)) => {
                let window = OpenedWindow { start_ms: terms.start_ms, end_ms: terms.end_ms, limit: terms.limit };
                table::set_opened(&pass.systems.sql, row, window, &plan.key_by.to_string()).await?;
            }
            (Step::RemoveKeys, Some(row)) => done.keys_removed = removal::remove_keys(pass, row, plan, seen).await?,
            (Step::OpenEpoch { reason }, Some(row)) => {
                let opened = open_epoch(pass, row, plan, seen).await?;
                // Redis was closed for that, whatever it looks like.
                let taken_over = pass.context.memory.update(pass.uid, |memory| std::mem::take(&mut memory.taken_over));
                done.opened = Some((opened, if taken_over { "LedgerTakenOver" } else { reason }));
            }
        }
    }
    Ok(())
}

/// Gives the row this cluster's present name. Not while an issuer is there: it knows the ledger by the name that it was started with.
async fn rename(pass: &Pass<'_>, row: &CampaignRow) -> Result<(), ReconcileError> {
    if !pass.context.pods_of(pass.campaign, Component::Issuer).is_empty() {
        return Ok(());
    }
    let now = pass.cluster.name();
    if table::rename_owner(&pass.systems.sql, row, now).await? {
        let before = row.custody.owner.as_deref().unwrap_or_default();
        let text = format!(
            "the ledger names its cluster {now} from now on, as clusterId says; until now it was {before}, the UID of this cluster's \
             namespace kube-system"
        );
        events::note(pass.context, pass.campaign, "LedgerRenamed", &text).await;
    }
    Ok(())
}

/// Brings one part of a change of terms to where it belongs. False: rows above the total appeared meanwhile, or somebody else
/// was faster; the next pass sees it.
async fn change_terms(pass: &Pass<'_>, row: &CampaignRow, step: &Step, number: u64) -> Result<bool, ReconcileError> {
    match step {
        Step::SetTotal(total) => {
            let set = table::set_total(&pass.systems.sql, row.id, number, *total).await?;
            Ok(set == TotalSet::Done)
        }
        Step::Configure(terms) => {
            let epoch = row.open_epoch.unwrap_or(row.epoch);
            let (keys, terms) = (StockKeys::of(pass.id), terms.numbered(number));
            let configuring =
                pass.systems.with_redis(async |redis| stock::configure(redis, &keys, epoch, &terms).await);
            let configured = configuring.await?;
            Ok(configured == Configured::Done)
        }
        _ => Ok(false),
    }
}

async fn topic(pass: &Pass<'_>, row: &CampaignRow, step: &TopicStep, seen: &Observation) -> Result<(), ReconcileError> {
    let (kafka, wanted) = (&pass.systems.kafka, &pass.class.spec.kafka);
    let sql = &pass.systems.sql;
    let cluster_id = seen.log.as_ref().map(|log| log.topic.cluster_id.clone()).unwrap_or_default();
    match step {
        TopicStep::Announce => table::set_topic(sql, row.id, "", &cluster_id).await?,
        TopicStep::Create(specs) if !wanted.create_topics => return Err(topic::awaited(wanted, specs)),
        TopicStep::Create(specs) => {
            let created = join_all(specs.iter().map(|spec| pass.systems.topics.create(spec))).await;
            for (spec, created) in specs.iter().zip(created) {
                let new = created.map_err(|error| topic::not_made(error, wanted, specs))? == Creation::Created;
                if !new {
                    tracing::info!(topic = spec.name, "topic was created meanwhile");
                } else if spec.name == pass.id.topic()
                    && let Some(topic_id) = created_id(pass, &spec.name).await?
                {
                    table::set_topic(sql, row.id, &topic_id, &cluster_id).await?;
                }
                if new {
                    tell_made_anew(pass, &spec.name).await;
                }
            }
        }
        TopicStep::Record(topic_id) => table::set_topic(sql, row.id, topic_id, &cluster_id).await?,
        TopicStep::Grow { topic, partitions } => match kafka.grow_partitions(topic, *partitions).await {
            // Brokers that have not heard of it yet showed the old number.
            Err(AdminError::InvalidPartitions { .. }) => tracing::info!(topic, "topic was grown meanwhile"),
            other => other?,
        },
        TopicStep::Configure { topic, set } => {
            kafka.set_config_incremental(topic, set, &[] as &[&str]).await?;
            let set: Vec<String> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let text =
                format!("settings of topic {topic} were not as object and class say, and are set: {}", set.join(" "));
            events::note(pass.context, pass.campaign, "TopicConfigured", &text).await;
        }
    }
    Ok(())
}

/// A topic that was there, and that somebody has deleted: what it held is gone, and nothing else shows it once it is there again.
async fn tell_made_anew(pass: &Pass<'_>, name: &str) {
    let Some(before) = pass.campaign.status.as_ref().and_then(|status| status.topic.as_ref()) else { return };
    let lost = match name {
        _ if name == before.name => {
            "records that other programs have not read are lost to them; winners that were no rows yet are published again, as far as Redis \
             has them"
        }
        _ if name == before.dead_letter_topic => {
            "why its records were no rows is not known any more; winners among them are published again from Redis"
        }
        _ => return,
    };
    let text = format!("topic {name} was deleted by somebody and is made anew: {lost}");
    events::warn(pass.context, pass.campaign, "TopicRecreated", &text).await;
}

/// The id of a topic that was created just now. `None` while the cluster does not show it yet: the next pass records it.
async fn created_id(pass: &Pass<'_>, name: &str) -> Result<Option<String>, AdminError> {
    let mut found = pass.systems.kafka.describe_topics(&[name]).await?;
    Ok(match found.remove(name) {
        Some(Ok(TopicState::Present(topic))) => Some(topic.topic_id),
        _ => None,
    })
}

/// Brings the children to what was decided. Nothing is made before the first pod is wanted. `work`: whether the pods that are there do
/// theirs. What cannot be written keeps nothing else from being written; the first error is answered beside what was done.
pub(super) async fn workloads(
    pass: &Pass<'_>,
    plan: &Plan,
    numbers: &Numbers,
    work: rollout::Work,
) -> (Scaled, Result<(), ReconcileError>) {
    let mut scaled = Scaled::default();
    let result = all_children(pass, plan, numbers, work, &mut scaled).await;
    (scaled, result)
}

async fn all_children(
    pass: &Pass<'_>,
    plan: &Plan,
    numbers: &Numbers,
    work: rollout::Work,
    scaled: &mut Scaled,
) -> Result<(), ReconcileError> {
    let client = &pass.context.client;
    let namespace = pass.id.namespace();
    let found = |component| pass.context.deployment(namespace, &children::object_name(pass.campaign, component));
    let (mut issuer, mut consumer) = (found(Component::Issuer), found(Component::Consumer));
    let wanted = [&numbers.issuer, &numbers.consumer];
    let dormant = wanted.iter().all(|wanted| wanted.replicas == 0);
    let (mut waiting, mut begun) = (Vec::new(), Vec::new());
    let had_begun = pass.context.memory.get(pass.uid).begun;
    if issuer.is_none() && consumer.is_none() && dormant {
        return Ok(());
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    // Whose they are is looked at before the first of them is written: a conflict leaves nothing half made.
    for (component, found) in [(Component::Issuer, &mut issuer), (Component::Consumer, &mut consumer)] {
        // The watch shows what bears our labels; others may have the name, and a new one comes some moments late.
        if found.is_none() {
            *found = deployments.get_opt(&children::object_name(pass.campaign, component)).await?.map(Arc::new);
        }
        if let Some(found) = found {
            claim(found.as_ref(), pass.campaign)?;
        }
    }
    let connections = proven::connections(pass, issuer.is_some() || consumer.is_some()).await?;
    // Where they cannot be read all but the Secret is brought to what it should be: another token would be written over what issuers know.
    let known = control_token::tokens(pass.context, pass.campaign, pass.uid).await;
    let known = match known {
        Ok(Some(known)) => Ok(control_token::wanted(pass, known).await),
        Ok(None) => Ok(ControlTokens::first()),
        Err(error) => Err(ReconcileError::from(error)),
    };
    let (tokens, unread) = match known {
        Ok(tokens) => (tokens, None),
        Err(error) => (ControlTokens::default(), Some(error)),
    };
    let family = Family {
        campaign: pass.campaign,
        id: pass.id,
        cluster: pass.known_as,
        class: pass.class,
        connections: &connections,
        tokens: &tokens,
        key_by: plan.key_by,
        acknowledge: pass.campaign.spec.acknowledge,
        image: &pass.context.config.image,
        image_pull_policy: pass.context.config.image_pull_policy.as_deref(),
    };
    let mut outcome = beside_the_pods(pass, &family, unread).await?;
    let both = [children::issuer_deployment(&family, None), children::consumer_deployment(&family, None)];
    let pods = children::pods_hash(both.iter());
    let used = rollout::used(pass.campaign, &pass.context.memory.get(pass.uid));
    let order = Order::of(pass.campaign, pass.class, used.as_ref(), &pods);
    let mut rolls = false;
    for (component, found, wanted, build) in [
        (
            Component::Issuer,
            issuer,
            wanted[0],
            children::issuer_deployment as fn(&Family<'_>, Option<i32>) -> Deployment,
        ),
        (Component::Consumer, consumer, wanted[1], children::consumer_deployment),
    ] {
        let build = |replicas| build(&family, replicas);
        let when = rollout::when(&order, plan, work, component);
        let replaces = found.as_deref().is_some_and(|found| children::replaces_pods(found, &build(None)));
        let (change, state) = match deployment(&deployments, found.as_deref(), build, wanted, &when).await {
            Ok(applied) => applied,
            Err(error) => {
                outcome = outcome.and(Err(error.into()));
                continue;
            }
        };
        match (state, when) {
            (State::Waits, When::Later(until)) => waiting.push((component, until)),
            (State::AsItShouldBe, _) => pass.tell_additions(component, found.as_deref(), &build(None)).await,
            _ => {}
        }
        let is_new = replaces && state == State::Written;
        rolls |= is_new;
        let is_seen = !replaces && found.as_deref().is_some_and(rollout::is_observed);
        if is_new || (had_begun.contains(&component) && !is_seen) {
            begun.push(component);
        }
        if let Some(change) = change {
            scaled.changes.push(format!("{} {change}: {}{}", component.name(), wanted.reason, figures(wanted)));
        }
    }
    let used = Some(pods).filter(|_| rolls).and_then(|pods| order.once(pods)).or(used);
    pass.context.memory.update(pass.uid, |memory| {
        (memory.waiting, memory.begun, memory.rolled_out) = (waiting, begun, used);
    });
    outcome
}

/// What became of a Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but the number of pods was to be changed.
    AsItShouldBe,
    /// It was written.
    Written,
    /// It should change, and waits: its pods would be replaced.
    Waits,
}

/// The figures behind a number, for an event.
fn figures(wanted: &Wanted) -> String {
    let Some(figures) = &wanted.figures else { return String::new() };
    let known = [
        figures.arrival_per_second.map(|rate| format!("{rate}/s come")),
        figures.done_per_second.map(|rate| format!("{rate}/s are done")),
        figures.per_pod.map(|rate| format!("one pod does {rate}/s")),
    ];
    // What was not measured yet is not said.
    let known: Vec<String> = known.into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

/// Secret, Service and budget. They are not watched, so they are looked at when they change and every half minute. An error means that
/// no Deployment is to be written: something is somebody else's, or pods would start without their Secret. What else could not be
/// written comes as an outcome.
async fn beside_the_pods(
    pass: &Pass<'_>,
    family: &Family<'_>,
    unread: Option<ReconcileError>,
) -> Result<Result<(), ReconcileError>, ReconcileError> {
    let client = &pass.context.client;
    let namespace = pass.id.namespace();
    let secret = children::connections_secret(family).map_err(|e| kube::Error::Service(Box::new(e)))?;
    let service = children::issuer_service(family);
    let budget = children::issuer_budget(family);
    let policy = children::network_policy(family, &pass.context.config.operator_pods());
    let wanted = children::hex_digest(format!("{secret:?}{service:?}{budget:?}{policy:?}").as_bytes(), 32);
    let last = pass.context.memory.get(pass.uid).children.filter(|(last, _)| *last == wanted);
    if last.as_ref().is_some_and(|(_, at)| at.elapsed() < CHILDREN_FRESH) && pass.users_reach_issuers() {
        return Ok(Ok(()));
    }
    let (secrets, services, budgets): (Api<Secret>, Api<Service>, Api<PodDisruptionBudget>) = (
        Api::namespaced(client.clone(), namespace),
        Api::namespaced(client.clone(), namespace),
        Api::namespaced(client.clone(), namespace),
    );
    let found_service = ours(claimed(&services, &service.name_any(), pass.campaign).await)?;
    let found_secret = ours(claimed(&secrets, &secret.name_any(), pass.campaign).await)?;
    let found_budget = ours(claimed(&budgets, &budget.name_any(), pass.campaign).await)?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let found_policy = match &policy {
        Some(policy) => ours(claimed(&policies, &policy.name_any(), pass.campaign).await)?,
        None => Ok(None),
    };
    let had = last.is_some();
    let service = keep(pass, &services, &service, found_service, had).await;
    let secret = match unread {
        None => keep(pass, &secrets, &secret, found_secret, had).await,
        // The Service needs no token: users get lost without it, whatever else is wrong.
        Some(error) => Err(error),
    };
    let policy = match &policy {
        Some(policy) => keep(pass, &policies, policy, found_policy, had).await,
        None => remove(pass, &policies, &children::network_policy_name(&pass.campaign.name_any())).await,
    };
    let budget = keep(pass, &budgets, &budget, found_budget, had).await;
    if secret.is_err() {
        // It may have been written all the same: what it holds is read again before another token is made.
        pass.context.memory.update(pass.uid, |memory| memory.tokens = None);
    }
    secret?;
    let outcome = service.and(budget).and(policy);
    let before = pass.context.memory.get(pass.uid).tokens;
    control_token::tell(pass, before.as_ref(), family.tokens).await;
    pass.context.memory.update(pass.uid, |memory| {
        memory.tokens = Some(family.tokens.clone());
        memory.given.connections = Some(family.connections.clone());
        if outcome.is_ok() {
            memory.children = Some((wanted, Instant::now()));
        }
    });
    Ok(outcome)
}

/// What was found, or why it could not be read; an object of somebody else's is an error, before anything is written.
fn ours<T>(found: Result<T, ReconcileError>) -> Result<Result<T, ReconcileError>, ReconcileError> {
    match found {
        Err(error @ ReconcileError::NotOurs(_)) => Err(error),
        other => Ok(other),
    }
}

/// Makes sure that a child is as it should be; what somebody else has changed (`had`: it was as it should be) is told.
async fn keep<K>(
    pass: &Pass<'_>,
    api: &Api<K>,
    desired: &K,
    found: Result<Option<K>, ReconcileError>,
    had: bool,
) -> Result<(), ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = found?;
    let applied = apply::ensure(api, desired, found.as_ref()).await?;
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

/// Makes sure that a child is gone that is not wanted any more. One that is not ours stays.
async fn remove<K>(pass: &Pass<'_>, api: &Api<K>, name: &str) -> Result<(), ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = match api.get_opt(name).await {
        Ok(found) => found,
        // Who never wanted it may lack the right to look.
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Some(found) = found.filter(|found| ownership(found.meta(), pass.campaign) == Ownership::Ours) {
        apply::delete(api, &found, DeleteParams::default()).await?;
        let text = format!("the campaign's {} is removed: its class does not ask for it any more", K::kind(&()));
        events::note(pass.context, pass.campaign, "ChildRemoved", &text).await;
    }
    Ok(())
}

/// The object of this name, if there is one and it is ours to write.
async fn claimed<K>(api: &Api<K>, name: &str, campaign: &CouponCampaign) -> Result<Option<K>, ReconcileError>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = api.get_opt(name).await?;
    if let Some(found) = &found {
        claim(found, campaign)?;
    }
    Ok(found)
}

/// Makes sure that a Deployment is as it should be and has as many replicas as wanted. Returns what changed about them, and what became
/// of the rest.
async fn deployment(
    api: &Api<Deployment>,
    found: Option<&Deployment>,
    build: impl Fn(Option<i32>) -> Deployment,
    wanted: &Wanted,
    when: &When,
) -> Result<(Option<String>, State), kube::Error> {
    let template = build(None);
    let name = template.name_any();
    let Some(found) = found else {
        let replicas = wanted.replicas;
        if replicas <= 0 {
            return Ok((None, State::AsItShouldBe));
        }
        // The first apply carries replicas, or the Deployment would start with one. Then the scaler owns the field as well,
        // and only then does the main manager let go of it.
        let made = apply::write(api, &build(Some(replicas)), None).await?;
        apply::scale(api, &made, replicas).await?;
        apply::write(api, &template, Some(&made)).await?;
        return Ok((Some(format!("0 -> {replicas}")), State::Written));
    };
    let current = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let target = if wanted.is_left_alone { current } else { wanted.replicas };
    // The scaler first: where it does not own the field yet, the main manager's apply would drop it.
    if !wanted.is_left_alone && (target != current || !owned_by_scaler(found)) {
        apply::scale(api, found, target).await?;
    }
    let state = if *when != When::Now && children::replaces_pods(found, &template) {
        State::Waits
    } else if apply::ensure(api, &template, Some(found)).await? == Applied::Written {
        tracing::info!(deployment = name, "deployment was written");
        State::Written
    } else {
        State::AsItShouldBe
    };
    Ok(((target != current).then(|| format!("{current} -> {target}")), state))
}

/// Whether the scaler owns the number of replicas: else the main manager's next apply would drop the field.
fn owned_by_scaler(deployment: &Deployment) -> bool {
    deployment.metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(SCALE_MANAGER))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ScalingFigures;
    use crate::children::apply::tests::server;
    use crate::children::tests::deployment_of;
    use crate::fixtures;

    /// Wrong: somebody's Deployment that takes the name of one that we have just made is scaled, and written over.
    #[tokio::test]
    async fn a_new_deployment_is_scaled_and_written_as_the_one_that_was_made() {
        let (api, sent) = server();
        let build = |replicas| {
            let mut deployment = deployment_of(&fixtures::class());
            deployment.spec.as_mut().unwrap().replicas = replicas;
            deployment
        };
        let (reason, figures, stopped, is_left_alone, hot) = (String::new(), None, None, false, None);
        let wanted = Wanted { replicas: 2, reason, figures, stopped, is_left_alone, hot };
        let (change, state) = deployment(&api, None, build, &wanted, &When::Now).await.unwrap();
        assert_eq!((change.as_deref(), state), (Some("0 -> 2"), State::Written));
        let sent = sent.lock().unwrap().clone();
        let said = |index: usize| {
            let (_, uri, body): &(_, String, _) = &sent[index];
            let replicas = body["spec"].get("replicas").cloned();
            (uri.contains("force=true"), body["metadata"].get("uid").cloned(), replicas)
        };
        assert_eq!(sent.len(), 3);
        assert_eq!(said(0), (false, None, Some(json!(2))), "by force onto nothing");
        assert_eq!(said(1), (true, Some(json!("0007")), Some(json!(2))));
        assert_eq!(
            said(2),
            (true, Some(json!("0007")), None),
            "lets go of the number, and writes even though nothing else differs"
        );
    }

    #[test]
    fn an_event_says_the_figures_that_are_known() {
        let said = |figures| {
            let (replicas, reason, stopped, is_left_alone, hot) = (1, String::new(), None, false, None);
            self::figures(&Wanted { replicas, reason, figures, stopped, is_left_alone, hot })
        };
        let new = ScalingFigures { per_pod: Some(1500), ..ScalingFigures::default() };
        assert_eq!(said(Some(new.clone())), " (one pod does 1500/s)");
        let all = ScalingFigures { arrival_per_second: Some(9), done_per_second: Some(7), ..new };
        assert_eq!(said(Some(all)), " (9/s come, 7/s are done, one pod does 1500/s)");
        assert_eq!(said(Some(ScalingFigures::default())), "");
    }
}
