//! The token with which the operator speaks to issuers, and its rotation.
//!
//! An issuer reads the token once, at its start, from the Secret beside it. So while pods are replaced two tokens are in use, and a fence has
//! to reach all of them: the Secret keeps the one before until every issuer was heard to take the new one, and no other comes meanwhile.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::ReconcileContext;
use crate::api::CouponCampaign;
use crate::context::Context;
use crate::events;
use crate::ledger::epoch::control_url;
use crate::workloads::{self, Component, ControlTokens};

/// Annotation of a campaign that asks for another control token. Any value that it has not had before does.
pub(super) const ROTATE_ANNOTATION: &str = "coupon-operator.io/rotate-control-token";

/// How long an issuer may take to say whether it takes a token.
const ANSWER: Duration = Duration::from_secs(1);

/// The tokens, from the Secret that holds them. `None` before there are any.
pub(super) async fn tokens(
    context: &Context,
    campaign: &CouponCampaign,
    uid: &str,
) -> Result<Option<ControlTokens>, kube::Error> {
    if let Some(tokens) = context.memory.get(uid).tokens {
        return Ok(Some(tokens));
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &campaign.namespace().unwrap_or_default());
    let name = workloads::secret_name(&campaign.name_any());
    let found = secrets.get_opt(&name).await?.and_then(|secret| ControlTokens::of(&secret));
    if let Some(tokens) = &found {
        context.memory.update(uid, |memory| memory.tokens = Some(tokens.clone()));
    }
    Ok(found)
}

/// The tokens that there should be, where there are `known` ones.
pub(super) async fn wanted(pass: &ReconcileContext<'_>, known: ControlTokens) -> ControlTokens {
    let asked = pass.campaign.annotations().get(ROTATE_ANNOTATION).map(|value| value.trim().to_owned());
    let asked = asked.filter(|asked| known.rotated_for.as_ref() != Some(asked));
    if known.previous.is_none() && asked.is_none() {
        return known;
    }
    let is_settled = known.previous.is_none() || all_take(pass, &known.current).await;
    next(known, asked, is_settled)
}

/// What follows. `asked`: a rotation that has not been. `is_settled`: every issuer takes the present token.
fn next(known: ControlTokens, asked: Option<String>, is_settled: bool) -> ControlTokens {
    match (is_settled, asked) {
        (false, _) => known,
        (true, None) => ControlTokens { previous: None, ..known },
        (true, asked @ Some(_)) => {
            ControlTokens { current: workloads::new_token(), previous: Some(known.current), rotated_for: asked }
        }
    }
}

/// Whether every issuer takes this token: one that cannot be asked may not.
async fn all_take(pass: &ReconcileContext<'_>, token: &str) -> bool {
    let takes = async |pod: &Pod| {
        let Some(ip) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else { return false };
        let request = pass.context.http.get(control_url(ip, "pressure")).bearer_auth(token).timeout(ANSWER);
        request.send().await.is_ok_and(|response| response.status().is_success())
    };
    // Those that the watch shows first: while one of them does not, the API server need not be asked for all.
    let known = pass.context.pods_of(pass.campaign, Component::Issuer);
    if !join_all(known.iter().map(|pod| takes(pod))).await.into_iter().all(|takes| takes) {
        return false;
    }
    let pods: Api<Pod> = Api::namespaced(pass.context.client.clone(), pass.id.namespace());
    let selector = workloads::selector_text(pass.campaign, Component::Issuer);
    match pods.list(&ListParams::default().labels(&selector)).await {
        Ok(all) => join_all(all.items.iter().map(takes)).await.into_iter().all(|takes| takes),
        Err(error) => {
            tracing::warn!(campaign = %pass.id, %error, "issuers could not be listed; the control token before is kept");
            false
        }
    }
}

/// Says that the token is another one.
pub(super) async fn note_rotation(pass: &ReconcileContext<'_>, before: Option<&ControlTokens>, now: &ControlTokens) {
    if before.is_some_and(|before| before.current != now.current) {
        let text = "the control token is another one; issuers take it as they are replaced, and until then the one before is kept";
        events::note(pass.context, pass.campaign, "ControlTokenRotated", text).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a token is forgotten that a running issuer was started with, and no fence reaches it; or an annotation that stays rotates
    /// without an end.
    #[test]
    fn a_token_is_kept_until_no_issuer_needs_it() {
        let tokens = |current: &str, previous: Option<&str>, rotated_for: Option<&str>| ControlTokens {
            current: current.to_owned(),
            previous: previous.map(str::to_owned),
            rotated_for: rotated_for.map(str::to_owned),
        };
        let asked = |value: &str| Some(value.to_owned());
        let first = tokens("one", None, None);
        let second = next(first.clone(), asked("may"), true);
        assert_eq!((second.previous.as_deref(), second.rotated_for.as_deref()), (Some("one"), Some("may")));
        assert!(second.current != "one" && second.current.len() == 64);
        assert_eq!(next(second.clone(), None, false), second, "somebody still has the one before");
        assert_eq!(next(second.clone(), asked("june"), false), second, "two are enough");
        let settled = next(second.clone(), None, true);
        assert_eq!((settled.previous, settled.current), (None, second.current.clone()));
        let third = next(second.clone(), asked("june"), true);
        assert_eq!(third.previous.as_deref(), Some(second.current.as_str()));
    }
}
