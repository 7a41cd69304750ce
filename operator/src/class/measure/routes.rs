//! Whether the API server would take the routes of a class's campaigns: it is asked as if one were to be made. That the cluster has no
//! HTTPRoutes, or that a template makes no address, shows here, and not minutes before a window opens. So does that it has them by now.

use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pods::probe;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, RouteTemplate};
use crate::class::measure::EACH;
use crate::config::Config;
use crate::error::kubernetes_words;
use crate::routes::place::{Names, Place, URL_TEMPLATE_INVALID, check_placeholders};
use crate::routes::refusal;
use crate::workloads::{http_route, ingress};

/// Asks the API server, which makes nothing. `None`: the class says nothing that could be wrong.
pub(crate) async fn check(client: &Client, class: &CampaignClass, config: &Config) -> Option<Report> {
    use ConditionType::RoutingValid;
    let routing = &class.spec.routing;
    let invalid = |error: String| Report::no(RoutingValid, URL_TEMPLATE_INVALID, error);
    let Some(template) = routing.route() else {
        return check_placeholders(routing).err().map(|error| invalid(error.to_string()));
    };
    let namespace = config.pod_namespace.as_str();
    let unread = |why: String| Some(Report::unknown(RoutingValid, "Unread", why));
    let Ok(campaign) = probe(namespace) else {
        return unread("the operator's own namespace is no name for a campaign".to_owned());
    };
    let place = match Place::of(routing, Names { namespace, name: "probe", coupon_id: "probe" }) {
        Ok(place) => place,
        Err(error) => return Some(invalid(error.to_string())),
    };
    let asked = async {
        match template {
            RouteTemplate::HttpRoute(template) => {
                would_take(client, namespace, &http_route(&campaign, template, &place)).await
            }
            RouteTemplate::Ingress(template) => {
                would_take(client, namespace, &ingress(&campaign, template, &place)).await
            }
        }
    };
    match tokio::time::timeout(EACH, asked).await {
        Ok(Ok(())) => {
            let text = format!("the API server would take an {} for each campaign", refusal::kind(template));
            Some(Report::yes(RoutingValid, "Accepted", text))
        }
        Ok(Err(error)) => match refusal::of(&error, template) {
            Some((reason, text)) => Some(Report::no(RoutingValid, reason, text)),
            None => unread(kubernetes_words(&error)),
        },
        Err(_) => unread(format!("the API server did not answer within {} s", EACH.as_secs())),
    }
}

async fn would_take<K>(client: &Client, namespace: &str, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams { dry_run: true, field_manager: None }, object).await.map(drop)
}
