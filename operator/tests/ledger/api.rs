//! An API server that knows no pods: a campaign whose issuers are all gone.

use http::{Request, Response};
use kube::client::Body;
use kube::{Api, Client};
use operator::children::ControlTokens;
use operator::epoch::Issuers;
use operator::pods::PodClient;

/// Nobody has to be fenced.
pub fn no_issuers() -> Issuers {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        let none = r#"{"apiVersion":"v1","kind":"PodList","metadata":{},"items":[]}"#;
        while let Some((_, answer)) = handle.next_request().await {
            answer.send_response(Response::new(Body::from(none.as_bytes().to_vec())));
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
