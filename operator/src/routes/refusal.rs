//! What it means if the API server refuses a route. Pure.

use crate::api::RouteTemplate;

/// Reason: the cluster has no HTTPRoutes.
pub(crate) const GATEWAY_API_MISSING: &str = "GatewayApiMissing";
/// Reason: it may not be written.
const FORBIDDEN: &str = "RouteForbidden";
/// Reason: it cannot be so.
const REFUSED: &str = "RouteRefused";

/// What the one object is called.
pub(crate) const HTTP_ROUTE: &str = "HTTPRoute";
/// What the other one is called.
pub(crate) const INGRESS: &str = "Ingress";

/// What an object is called.
pub(crate) fn kind(template: RouteTemplate<'_>) -> &'static str {
    match template {
        RouteTemplate::HttpRoute(_) => HTTP_ROUTE,
        RouteTemplate::Ingress(_) => INGRESS,
    }
}

/// Reason and words of a refusal that stays until somebody changes something. `None`: nothing is said of the route.
pub(crate) fn of(error: &kube::Error, template: RouteTemplate<'_>) -> Option<(&'static str, String)> {
    let kube::Error::Api(status) = error else { return None };
    let said = || status.message.as_str();
    let kind = kind(template);
    match status.code {
        404 if matches!(template, RouteTemplate::HttpRoute(_)) => {
            let text = "the API server knows no HTTPRoute of gateway.networking.k8s.io/v1: install the Gateway API (its standard channel, 1.0 or \
                        later) and a controller for it, which is noticed within a minute, or take routing.ingress in the CampaignClass";
            Some((GATEWAY_API_MISSING, text.to_owned()))
        }
        403 => {
            let text = format!(
                "the API server forbids the {kind}: {}; where the operator lacks the right, give it to its role as the chart does",
                said()
            );
            Some((FORBIDDEN, text))
        }
        400 | 422 => {
            let text = format!("the API server refuses the {kind}: {}; correct routing in the CampaignClass", said());
            Some((REFUSED, text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{HttpRouteTemplate, IngressTemplate};
    use kube::core::Status;

    /// Wrong: a cluster without the Gateway API, or a role without the right, is told to correct its class.
    #[test]
    fn a_refusal_says_what_is_to_be_done() {
        let http = HttpRouteTemplate { parent_refs: Vec::new(), hostnames: Vec::new() };
        let ingress = IngressTemplate { class_name: "nginx".to_owned(), annotations: [].into(), tls_secret_name: None };
        let (http, ingress) = (RouteTemplate::HttpRoute(&http), RouteTemplate::Ingress(&ingress));
        for (code, template, expected) in [
            (404, http, Some((GATEWAY_API_MISSING, "install the Gateway API"))),
            (404, ingress, None),
            (403, http, Some((FORBIDDEN, "forbids the HTTPRoute: no; where"))),
            (422, ingress, Some((REFUSED, "refuses the Ingress: no; correct routing"))),
            (400, http, Some((REFUSED, "correct routing"))),
            (409, http, None),
            (500, http, None),
        ] {
            let error = kube::Error::Api(Box::new(Status::failure("no", "X").with_code(code)));
            let found = of(&error, template);
            assert_eq!(found.as_ref().map(|found| found.0), expected.map(|expected| expected.0), "{code}");
            let said = found.map(|found| found.1).unwrap_or_default();
            assert!(said.contains(expected.map_or("", |expected| expected.1)), "{said}");
        }
    }
}
