//! An API server that knows no pods, a campaign whose issuers are all gone, or one.

use http::{Request, Response};
use kube::client::Body;
use kube::{Api, Client};
use operator::issuer_client::pods::PodClient;
use operator::ledger::epoch::Issuers;
use operator::workloads::ControlTokens;

/// Nobody has to be fenced.
pub(crate) fn no_issuers() -> Issuers {
    issuers("")
}

/// One issuer, which may still be at work.
pub(crate) fn one_issuer() -> Issuers {
    issuers(r#"{"metadata":{"name":"issuer-1","uid":"u1"},"spec":{"nodeName":"n1","containers":[]}}"#)
}

fn issuers(pods: &str) -> Issuers {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let list = format!(r#"{{"apiVersion":"v1","kind":"PodList","metadata":{{}},"items":[{pods}]}}"#);
    tokio::spawn(async move {
        while let Some((_, answer)) = handle.next_request().await {
            answer.send_response(Response::new(Body::from(list.as_bytes().to_vec())));
        }
    });
    Issuers {
        pods: Api::namespaced(Client::new(service, "test"), "test"),
        selector: String::new(),
        tokens: ControlTokens::default(),
        http: PodClient::new().unwrap(),
        vouched_gone: Vec::new(),
    }
}
