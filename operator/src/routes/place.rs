//! Where users find a campaign from outside, by the URL template of its class. Pure.

use crate::api::{RouteTemplate, Routing};

/// Reason: the class's template makes no address.
pub(crate) const URL_TEMPLATE_INVALID: &str = "UrlTemplateInvalid";

/// What is filled into templates.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The campaign's namespace.
    pub namespace: &'a str,
    /// The name of its object.
    pub name: &'a str,
    /// Its coupon id.
    pub coupon_id: &'a str,
}

impl Names<'_> {
    fn fill(self, template: &str) -> String {
        let namespace = template.replace("{namespace}", self.namespace);
        namespace.replace("{name}", self.name).replace("{couponId}", self.coupon_id)
    }
}

/// Where users find a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Names of hosts, the one of the template first.
    pub hosts: Vec<String>,
    /// The path that users ask, as far as it stands for `served`: without a slash at its end, unless it is nothing else.
    pub prefix: String,
    /// The path under which issuers know the campaign.
    pub served: String,
}

/// Why there is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Something else than what is filled in.
    #[error(
        "routing.{field} holds {found}; only {{namespace}}, {{name}} and {{couponId}} are filled in: correct it in the CampaignClass"
    )]
    Placeholder {
        /// Which template.
        field: &'static str,
        /// What is not known.
        found: String,
    },
    /// No template.
    #[error("routing.urlTemplate is missing in the CampaignClass: routes take host and path from it")]
    NoTemplate,
    /// Not the address of a request.
    #[error(
        "`{0}`, of routing.urlTemplate, is not https://host/path/issue in lower case and without query, which routes take host and path from: \
         correct it in the CampaignClass"
    )]
    Url(String),
    /// Not a name that a host may have.
    #[error(
        "`{0}` cannot be the name of a host: correct routing in the CampaignClass, or the campaign's name or couponId"
    )]
    Host(String),
    /// A path that an Ingress would have to change.
    #[error(
        "routing.urlTemplate has the path {found}, issuers know {served}, and an Ingress rewrites no paths: correct it in the CampaignClass, or take \
         routing.httpRoute"
    )]
    Rewrite {
        /// As the template has it.
        found: String,
        /// As it has to be.
        served: String,
    },
}

impl Place {
    /// Where a campaign is, if its class asks for a route.
    ///
    /// # Errors
    /// What is wrong with the templates, for this campaign at least.
    pub fn of(routing: &Routing, names: Names<'_>) -> Result<Self, PlaceError> {
        check_placeholders(routing)?;
        let template = routing.url_template.as_ref().ok_or(PlaceError::NoTemplate)?;
        let url = names.fill(template);
        let (host, prefix) = split(&url).ok_or_else(|| PlaceError::Url(url.clone()))?;
        let more = routing.http_route.iter().flat_map(|route| &route.hostnames);
        let mut hosts = vec![host.to_owned()];
        for host in more.map(|template| names.fill(template)) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        // Only the template's own host has to be one that users can ask.
        let is_host =
            |(at, host): (usize, &String)| is_host(host.strip_prefix("*.").filter(|_| at > 0).unwrap_or(host));
        if let Some((_, wrong)) = hosts.iter().enumerate().find(|each| !is_host(*each)) {
            return Err(PlaceError::Host(wrong.clone()));
        }
        let place = Self { prefix: prefix.to_owned(), served: format!("/api/coupons/{}", names.coupon_id), hosts };
        match routing.route() {
            Some(RouteTemplate::Ingress(_)) if place.is_rewritten() => {
                Err(PlaceError::Rewrite { found: place.prefix, served: place.served })
            }
            _ => Ok(place),
        }
    }

    /// Whether issuers know the campaign under another path.
    pub(crate) fn is_rewritten(&self) -> bool {
        self.prefix != self.served
    }

    /// Whether a request could be meant for either.
    pub(crate) fn is_that_of(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.hosts.iter().any(|host| other.hosts.contains(host))
    }
}

/// Looks for what nobody fills in.
///
/// # Errors
/// There is some.
pub(crate) fn check_placeholders(routing: &Routing) -> Result<(), PlaceError> {
    let url = routing.url_template.iter().map(|template| ("urlTemplate", template));
    let hosts = routing.http_route.iter().flat_map(|route| &route.hostnames);
    for (field, template) in url.chain(hosts.map(|template| ("httpRoute.hostnames", template))) {
        let nothing = Names { namespace: "", name: "", coupon_id: "" };
        let rest = nothing.fill(template);
        if let Some(at) = rest.find(['{', '}']) {
            let found = rest[at..].split_inclusive('}').next().unwrap_or_default();
            return Err(PlaceError::Placeholder { field, found: format!("`{found}`") });
        }
    }
    Ok(())
}

/// Host and path of the address of a request for a coupon, without `/issue` at its end.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let host = match authority.split_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host,
        Some(_) => return None,
        None => authority,
    };
    let prefix = path.strip_suffix("/issue")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let is_element = |element: &str| !matches!(element, "" | "." | "..") && element.bytes().all(is_plain);
    match prefix.strip_prefix('/') {
        None => prefix.is_empty().then_some((host, "/")),
        Some(elements) => elements.split('/').all(is_element).then_some((host, prefix)),
    }
}

/// Whether this is a name that the Gateway API and Ingresses take: RFC 1123, and no address.
fn is_host(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && !is_address
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NAMES: Names<'_> = Names { namespace: "shop", name: "spring", coupon_id: "spring-2027" };

    fn routing(template: &str, route: &Value) -> Routing {
        let mut routing = json!({"urlTemplate": template});
        for (name, value) in route.as_object().unwrap() {
            routing[name] = value.clone();
        }
        serde_json::from_value(routing).unwrap()
    }

    fn by_gateway() -> Value {
        json!({"httpRoute": {"parentRefs": [{"name": "public"}]}})
    }

    /// Wrong: users ask at the address that status says, and nobody leads them to the campaign.
    #[test]
    fn host_and_path_come_from_the_template() {
        for (template, host, prefix) in [
            ("https://c.example/api/coupons/{couponId}/issue", "c.example", "/api/coupons/spring-2027"),
            ("https://c.example/{namespace}/{couponId}/issue", "c.example", "/shop/spring-2027"),
            ("http://{name}.{namespace}.c.example:8080/a/issue", "spring.shop.c.example", "/a"),
            ("https://{couponId}.c.example/issue", "spring-2027.c.example", "/"),
            ("https://c.example/issue/{name}/issue", "c.example", "/issue/spring"),
        ] {
            let place = Place::of(&routing(template, &by_gateway()), NAMES).unwrap();
            assert_eq!(
                (place.hosts.as_slice(), place.prefix.as_str()),
                ([host.to_owned()].as_slice(), prefix),
                "{template}"
            );
            assert_eq!(place.served, "/api/coupons/spring-2027", "{template}");
            assert_eq!(place.is_rewritten(), prefix != place.served, "{template}");
        }
    }

    #[test]
    fn more_hosts_are_filled_in_as_well() {
        let route = json!({"httpRoute": {
            "parentRefs": [{"name": "public"}], "hostnames": ["{namespace}.example", "c.example", "*.c.example"],
        }});
        let place = Place::of(&routing("https://c.example/{name}/issue", &route), NAMES).unwrap();
        assert_eq!(place.hosts, ["c.example", "shop.example", "*.c.example"]);
    }

    /// Wrong: a class that was applied before there were rules for it makes routes that lead to nowhere, and nobody says why.
    #[test]
    fn templates_that_make_no_address_are_refused_in_words() {
        let ingress = || json!({"ingress": {"className": "nginx"}});
        let long = format!("https://{}.example/{{name}}/issue", "x".repeat(64));
        for (template, route, expected) in [
            ("https://c.example/{realm}/issue", by_gateway(), "`{realm}`"),
            ("https://c.example/{name/issue", by_gateway(), "`{name/issue`"),
            ("https://c.example/name}/issue", by_gateway(), "`}`"),
            ("https://c.example/{realm}", json!({}), "`{realm}`"),
            ("https://c.example/{name}", by_gateway(), "is not https://host/path/issue"),
            ("https://c.example", by_gateway(), "is not https://host/path/issue"),
            ("https://c.example/{name}/issue?a=b", by_gateway(), "is not https://host/path/issue"),
            ("https://c.example//{name}/issue", by_gateway(), "is not https://host/path/issue"),
            ("https://c.example/../{name}/issue", by_gateway(), "is not https://host/path/issue"),
            ("https://c.example:0/{name}/issue", by_gateway(), "is not https://host/path/issue"),
            ("https://a:b@c.example/{name}/issue", by_gateway(), "is not https://host/path/issue"),
            ("ftp://c.example/{name}/issue", by_gateway(), "is not https://host/path/issue"),
            ("https://10.0.0.1/{name}/issue", by_gateway(), "`10.0.0.1` cannot be the name of a host"),
            ("https://a..b/{name}/issue", by_gateway(), "`a..b` cannot be the name of a host"),
            ("https://*.b/{name}/issue", by_gateway(), "`*.b` cannot be the name of a host"),
            ("https://C.example/{name}/issue", by_gateway(), "`C.example` cannot be the name of a host"),
            (long.as_str(), by_gateway(), "cannot be the name of a host"),
            ("https://c.example/{couponId}/issue", ingress(), "an Ingress rewrites no paths"),
            ("https://c.example/api/coupons/{name}/issue", ingress(), "issuers know /api/coupons/spring-2027"),
        ] {
            let error = Place::of(&routing(template, &route), NAMES).unwrap_err().to_string();
            assert!(error.contains(expected), "{template}: {error}");
        }
        let without: Routing = serde_json::from_value(by_gateway()).unwrap();
        assert_eq!(Place::of(&without, NAMES), Err(PlaceError::NoTemplate));
        let fits = routing("https://c.example/api/coupons/{couponId}/issue", &ingress());
        assert!(Place::of(&fits, NAMES).is_ok());
    }

    #[test]
    fn two_places_are_one_if_a_request_could_be_meant_for_either() {
        let place = |hosts: &[&str], prefix: &str| Place {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            prefix: prefix.to_owned(),
            served: String::new(),
        };
        let one = place(&["a.example", "b.example"], "/x");
        for (what, other, expected) in [
            ("the same", one.clone(), true),
            ("one host of several", place(&["b.example"], "/x"), true),
            ("another host", place(&["c.example"], "/x"), false),
            ("another path", place(&["a.example"], "/x/y"), false),
        ] {
            assert_eq!(one.is_that_of(&other), expected, "{what}");
        }
    }
}
