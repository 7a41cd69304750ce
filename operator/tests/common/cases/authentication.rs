//! How a class authenticates users: what is taken and what is refused.

use serde_json::{Value, json};

use crate::common::Kind;

use super::case::{Case, Expect, create, spec};

pub(crate) fn class_authentication() -> Vec<Case> {
    use Expect::{Cel, Schema, Taken};
    let case = |name, value: Value, expect| create(Kind::Class, name, spec(json!({ "authentication": value })), expect);
    let header = |name: &str| json!({"type": "Header", "header": {"name": name}});
    let with = |more: Value| {
        let mut jwt = json!({"issuer": "https://login.example", "audiences": ["a"], "keys": {"url": "https://login.example/keys"}});
        for (name, value) in more.as_object().into_iter().flatten() {
            jwt[name] = value.clone();
        }
        json!({"type": "Jwt", "jwt": jwt})
    };
    let keys = |keys: Value| with(json!({ "keys": keys }));
    let url = |url: &str| keys(json!({ "url": url }));
    let of_header = Cel("authentication.header must be set with the type Header");
    let of_jwt = Cel("authentication.jwt must be set with the type Jwt");
    let everybodys = Cel("authentication.header.name: every client sends this header");
    let one_source = Cel("authentication.jwt.keys needs exactly one of url and secretRef");
    let of_server = Cel("authentication.jwt.keys.caSecretRef is about the server of an https url");
    let acknowledged = Cel("authentication.acknowledged says that who reaches issuers is believed");
    let no_user = Cel("authentication.jwt.claim: this claim names no user");
    let acknowledged_tokens = || {
        let mut tokens = with(json!({}));
        tokens["acknowledged"] = true.into();
        tokens
    };
    let at_url = Schema("spec.authentication.jwt.keys.url");
    vec![
        case("nobody is authenticated", json!({}), Taken),
        case("nobody is authenticated, as is known", json!({"acknowledged": true}), Taken),
        case("an unknown way", json!({"type": "Basic"}), Schema("spec.authentication.type")),
        case("a gateway's header", header("X-User-Id"), Taken),
        case("no header", json!({"type": "Header"}), of_header),
        case("a header for nobody", json!({"header": {"name": "X-User-Id"}}), of_header),
        case("a header with an underscore", header("X_User"), Schema("spec.authentication.header.name")),
        case("a header that ends with a dash", header("X-"), Schema("spec.authentication.header.name")),
        case("the header of tokens", header("authorization"), everybodys),
        case("a header of all clients", header("Accept-Language"), everybodys),
        case("a header of all proxies", header("X-Forwarded-For"), everybodys),
        case("a header of some proxies", header("X-Forwarded-User"), Taken),
        case(
            "a header, and acknowledged",
            json!({"type": "Header", "header": {"name": "X-User"}, "acknowledged": true}),
            Taken,
        ),
        case("the address, as some networks have it", header("CF-Connecting-IP"), everybodys),
        case("a header of browsers", header("Sec-Fetch-Site"), everybodys),
        case("a header of caches", header("Via"), everybodys),
        case("tokens", with(json!({})), Taken),
        case("tokens, and acknowledged", acknowledged_tokens(), acknowledged),
        case("a claim that names no user", with(json!({"claim": "exp"})), no_user),
        case("no tokens", json!({"type": "Jwt"}), of_jwt),
        case("tokens for nobody", json!({"jwt": with(json!({}))["jwt"]}), of_jwt),
        case(
            "a shared secret",
            with(json!({"algorithms": ["HS256"]})),
            Schema("spec.authentication.jwt.algorithms[0]"),
        ),
        case("no signature", with(json!({"algorithms": ["none"]})), Schema("spec.authentication.jwt.algorithms[0]")),
        case("no algorithm", with(json!({"algorithms": []})), Schema("spec.authentication.jwt.algorithms")),
        case("no audience", with(json!({"audiences": []})), Schema("spec.authentication.jwt.audiences")),
        case("an empty audience", with(json!({"audiences": [""]})), Schema("spec.authentication.jwt.audiences[0]")),
        case("an issuer with a space", with(json!({"issuer": "a b"})), Schema("spec.authentication.jwt.issuer")),
        case(
            "clocks ten minutes apart",
            with(json!({"leewaySeconds": 600})),
            Schema("spec.authentication.jwt.leewaySeconds"),
        ),
        case("keys nowhere", keys(json!({})), one_source),
        case("keys in two places", keys(json!({"url": "https://a/", "secretRef": {"name": "k"}})), one_source),
        case("keys in a Secret", keys(json!({"secretRef": {"name": "k", "key": "keys"}})), Taken),
        case(
            "an authority for a Secret",
            keys(json!({"secretRef": {"name": "k"}, "caSecretRef": {"name": "ca"}})),
            of_server,
        ),
        case("an authority without TLS", keys(json!({"url": "http://a/", "caSecretRef": {"name": "ca"}})), of_server),
        case("keys of a service", url("http://keycloak.auth.svc:8080/keys"), Taken),
        case("keys of an address", url("https://[2001:db8::1]/keys"), Taken),
        case("keys without a path", url("https://login.example"), Taken),
        case("keys without a scheme", url("login.example/keys"), at_url),
        case("keys with a password", url("https://a:b@login.example/keys"), at_url),
        case("keys at no port", url("https://login.example:70000/keys"), at_url),
        case("keys with a fragment", url("https://login.example/keys#a"), at_url),
        case("keys in a file", url("file:///keys"), at_url),
    ]
}
