//! One look at one system, and what Redis does not let the pods run.

use super::fault::{Fault, Finding, Who};
use super::findings::Findings;
use super::system::EACH;
use super::system::System;
use ::coupon_core::connections;
use ::coupon_ledger::redis::probe::Role;
use futures::FutureExt;
use futures::future::BoxFuture;

/// What Redis does not let this login of the pods run. `None` also where nothing is heard of it, which shows elsewhere.
pub(crate) async fn pods_lack(login: &connections::Redis, realm: &str) -> Option<Finding> {
    let seen = bounded(System::Redis, super::redis::check(login, realm, Role::Issuer).boxed()).await;
    let fault = seen.faults.into_iter().find(|fault| matches!(fault, Fault::RedisRight { .. }))?;
    Some(Finding { system: System::Redis, who: vec![Who::Pods], fault, hint: None })
}

pub(crate) async fn bounded(system: System, look: BoxFuture<'_, Findings>) -> Findings {
    let given_up = || Findings::of(Fault::Silent { system, seconds: EACH.as_secs() });
    tokio::time::timeout(EACH, look).await.unwrap_or_else(|_| given_up())
}
