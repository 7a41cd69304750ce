//! How the pods of campaigns run, and when they are replaced: parts of a class that are about pods only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As which user pods run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display)]
pub enum RunAs {
    /// As user and group 65532, which is the image's.
    #[default]
    Fixed,
    /// As the platform says: the pods name no user, group or fsGroup. OpenShift gives each namespace a range of its own and refuses
    /// pods that name another user. Elsewhere it is the image's user.
    Assigned,
}

/// When pods are replaced by newer ones.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// What happens when pods should change (another image, other settings or logins) while coupons can be had. `Wait`: pods that work
    /// stay until the window is over, the coupons are gone, or the campaign is suspended; pods that do not work are replaced at once.
    /// `Now`: they are replaced one after another, at once. The annotation `coupon-operator.io/rollout` of a campaign goes before it: `wait`,
    /// or `now`, which works for one rollout.
    pub during_window: DuringWindow,
}

/// What happens when pods should change while coupons can be had.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display)]
pub enum DuringWindow {
    /// Pods that work stay.
    #[default]
    Wait,
    /// They are replaced one after another.
    Now,
}
