//! The way from outside to a campaign's Service: made where the class asks for one, as long as the Service is there, and removed again. What
//! becomes of it stops nothing else: who sells goes on selling to those who come in another way.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::Ingress;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::children::{NOT_ASKED_FOR, claimed, remove_child};
use crate::api::ConditionType::RouteReady;
use crate::api::RouteTemplate;
use crate::api::conditions::Report;
use crate::error::{ReconcileError, kubernetes_words};
use crate::events;
use crate::reconcile::reconcile_context::ReconcileContext;
use crate::reconcile::route_watch::Found;
use crate::routes::holder::holder;
use crate::routes::place::{Names, Place, URL_TEMPLATE_INVALID};
use crate::routes::{HttpRoute, refusal, taken_in};
use crate::workloads::apply::{Applied, ensure};
use crate::workloads::ownership::NotOurs;
use crate::workloads::{Component, hex_digest, http_route, ingress, object_name};

/// How long a look may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Why one is removed beside that nobody asks for it.
const NO_SERVICE: &str = "there is no Service to which it could lead";
/// The same.
const TAKEN: &str = "another campaign has the address";
/// The reason of an event.
const NOT_READY: &str = "RouteNotReady";

/// What there is to be.
#[derive(Debug)]
enum Wanted {
    /// The class asks for nothing.
    Nothing,
    /// What it asks for makes no address: what there is stays as it is.
    Unfit(String),
    /// There is no Service yet, or not any more.
    Later(Place),
    HttpRoute(Box<HttpRoute>, Place),
    Ingress(Box<Ingress>, Place),
}

impl Wanted {
    fn of(pass: &ReconcileContext<'_>) -> Self {
        let routing = &pass.class.spec.routing;
        let Some(template) = routing.route() else { return Self::Nothing };
        let (campaign, namespace) = (pass.campaign, pass.id.namespace());
        let names = Names { namespace, name: &campaign.name_any(), coupon_id: pass.id.coupon_id() };
        let place = match Place::of(routing, names) {
            Ok(place) => place,
            Err(error) => return Self::Unfit(error.to_string()),
        };
        if !pass.context.shows_service(namespace, &object_name(campaign, Component::Issuer)) {
            return Self::Later(place);
        }
        match template {
            RouteTemplate::HttpRoute(template) => {
                Self::HttpRoute(Box::new(http_route(campaign, template, &place)), place)
            }
            RouteTemplate::Ingress(template) => Self::Ingress(Box::new(ingress(campaign, template, &place)), place),
        }
    }

    fn place(&self) -> Option<&Place> {
        match self {
            Self::Nothing | Self::Unfit(_) => None,
            Self::Later(place) | Self::HttpRoute(_, place) | Self::Ingress(_, place) => Some(place),
        }
    }
}

/// Brings the route to what it should be, and remembers what is to be said of it.
pub(in crate::reconcile) async fn route(pass: &ReconcileContext<'_>) {
    let wanted = Wanted::of(pass);
    let digest = hex_digest(format!("{wanted:?}").as_bytes(), 16);
    if !pass.memory.get().route.is_due(&digest, Instant::now()) {
        return;
    }
    let found = match tokio::time::timeout(DEADLINE, look(pass, &wanted, &digest)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => failed(pass, &error),
        Err(_) => match pass.class.spec.routing.route() {
            Some(_) => {
                let text = format!("the API server did not answer within {} s", DEADLINE.as_secs());
                Found::Said(Report::unknown(RouteReady, "KubernetesError", text))
            }
            None => Found::Stays,
        },
    };
    let refused = match &found {
        Found::Said(report) if report.status == Some(false) => Some(report.message.clone()),
        _ => None,
    };
    doubt(pass, &found);
    pass.memory.update(|memory| memory.route.observe(digest, found, Instant::now()));
    pass.caution(NOT_READY, refused.as_deref()).await;
}

/// Has the class looked at again where the cluster learned of HTTPRoutes since it was, or has forgotten them.
fn doubt(pass: &ReconcileContext<'_>, found: &Found) {
    let Found::Said(report) = found else { return };
    let routing = pass.systems.measured().and_then(|measured| measured.routing.as_ref()?.status);
    let differs = match routing {
        Some(true) => report.reason == refusal::GATEWAY_API_MISSING,
        Some(false) => report.status == Some(true) || report.reason == taken_in::UNANSWERED,
        None => false,
    };
    if differs {
        pass.context.doubt(pass.systems);
    }
}

/// What an error means for the route.
fn failed(pass: &ReconcileContext<'_>, error: &ReconcileError) -> Found {
    let Some(template) = pass.class.spec.routing.route() else {
        tracing::warn!(campaign = %pass.id, %error, "a route that is not wanted any more cannot be removed");
        return Found::Stays;
    };
    Found::Said(match error {
        ReconcileError::Kubernetes(error) => match refusal::of(error, template) {
            Some((reason, text)) => Report::no(RouteReady, reason, text),
            None => Report::unknown(RouteReady, "KubernetesError", kubernetes_words(error)),
        },
        ReconcileError::NotOurs(NotOurs::Foreign { .. }) => Report::no(RouteReady, error.reason(), error.to_string()),
        other => Report::unknown(RouteReady, other.reason(), other.to_string()),
    })
}

/// Looks what is there, and brings it to what should be.
async fn look(pass: &ReconcileContext<'_>, wanted: &Wanted, digest: &str) -> Result<Found, ReconcileError> {
    let held = wanted.place().and_then(|place| taken(pass, place));
    let (found, why) = match (wanted, held) {
        (Wanted::Unfit(text), _) => {
            return Ok(Found::Said(Report::no(RouteReady, URL_TEMPLATE_INVALID, text.clone())));
        }
        (_, Some(taken)) => (Found::Said(taken), TAKEN),
        (Wanted::Nothing, None) => (Found::Nothing, NOT_ASKED_FOR),
        (Wanted::Later(_), None) => (Found::Later, NO_SERVICE),
        (Wanted::HttpRoute(route, _), None) => {
            let found = bring(pass, refusal::HTTP_ROUTE, route.as_ref(), digest).await?;
            let report = found.map(|found| taken_in::http_route(&found));
            (Found::Said(report.unwrap_or_else(just_written)), NOT_ASKED_FOR)
        }
        (Wanted::Ingress(object, _), None) => {
            let found = bring(pass, refusal::INGRESS, object.as_ref(), digest).await?;
            let report = found.map(|found| taken_in::ingress(&found));
            let lacking = lacking_secret(pass, object).await?;
            (Found::Said(lacking.or(report).unwrap_or_else(just_written)), NOT_ASKED_FOR)
        }
    };
    // Last, so that users who come by the old way are not left without any.
    let is_taken = why == TAKEN;
    if is_taken || !matches!(wanted, Wanted::HttpRoute(..)) {
        sweep::<HttpRoute>(pass, refusal::HTTP_ROUTE, why).await?;
    }
    if is_taken || !matches!(wanted, Wanted::Ingress(..)) {
        sweep::<Ingress>(pass, refusal::INGRESS, why).await?;
    }
    Ok(found)
}

fn just_written() -> Report {
    Report::unknown(RouteReady, taken_in::UNANSWERED, "the route was written a moment ago; nobody has answered yet")
}

/// What is said if another campaign is found there.
fn taken(pass: &ReconcileContext<'_>, place: &Place) -> Option<Report> {
    let holder = holder(pass.campaign, place, &pass.context.campaigns.state(), &pass.context.classes.state())?;
    let host = place.hosts.first().map(String::as_str).unwrap_or_default();
    let text = format!(
        "campaign {holder}, which is older, has the address {host}{} as well, and users of one would meet the other: have the platform team put \
         {{namespace}} into routing.urlTemplate, or choose another couponId or name",
        place.prefix
    );
    Some(Report::no(RouteReady, "RouteTaken", text))
}

/// Makes sure that an object is as it should be. `None`: it was written just now, and nobody has answered.
async fn bring<K>(
    pass: &ReconcileContext<'_>,
    kind: &'static str,
    wanted: &K,
    digest: &str,
) -> Result<Option<K>, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    let found = claimed(&api, &wanted.name_any(), pass.campaign).await?;
    let had = pass.memory.update(|memory| {
        memory.route.has(kind, false);
        memory.route.was_as(digest)
    });
    if ensure(&api, wanted, found.as_ref()).await? == Applied::Unchanged {
        return Ok(found);
    }
    if had {
        let text = format!("somebody has changed or deleted the campaign's {kind}; it is as it should be again");
        events::warn(pass.context, pass.campaign, "ChildRestored", &text).await;
    }
    Ok(None)
}

/// What is said if the Secret is not there with which the Ingress is to speak TLS. Nothing of it is read.
async fn lacking_secret(pass: &ReconcileContext<'_>, object: &Ingress) -> Result<Option<Report>, ReconcileError> {
    let spec = object.spec.as_ref();
    let name = spec.and_then(|spec| spec.tls.as_ref()?.first()?.secret_name.clone());
    let Some(name) = name else { return Ok(None) };
    let namespace = pass.id.namespace();
    let secrets: Api<Secret> = Api::namespaced(pass.context.client.clone(), namespace);
    let is_there = secrets.get_metadata_opt(&name).await?.is_some();
    let text = || {
        format!(
            "Secret {namespace}/{name}, routing.ingress.tlsSecretName of the CampaignClass, does not exist: create it in the campaign's namespace, \
             with certificate and key (type kubernetes.io/tls)"
        )
    };
    Ok((!is_there).then(|| Report::no(RouteReady, "TlsSecretMissing", text())))
}

/// Makes sure that there is no object of this kind that is ours.
async fn sweep<K>(pass: &ReconcileContext<'_>, kind: &'static str, why: &str) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    if pass.memory.get().route.may_have(kind) {
        let api: Api<K> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
        remove_child(pass, &api, &object_name(pass.campaign, Component::Issuer), why).await?;
        pass.memory.update(|memory| memory.route.has(kind, true));
    }
    Ok(())
}
