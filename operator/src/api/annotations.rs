//! What people write on objects to have something done.

/// Annotation of a campaign that confirms by hand that issuer pods are gone whose node cannot say so: their UIDs, separated by
/// commas. Whoever sets it vouches that these processes are dead.
pub const ISSUER_GONE_ANNOTATION: &str = "coupon-operator.io/issuer-gone";

/// Annotation of a campaign whose winners are lost for good: so many of them are given up, and their ranks given to others.
pub const ACCEPT_LOST_ANNOTATION: &str = "coupon-operator.io/accept-lost-winners";

/// Annotation of a campaign that takes its ledger over from another cluster. It names that cluster and how often the ledger has changed
/// hands, so that one that stays in a manifest works once.
pub const TAKE_OVER_ANNOTATION: &str = "coupon-operator.io/take-over-ledger";

/// Annotation of a campaign that confirms by hand that no issuer of this cluster runs any more. Whoever sets it vouches for that.
pub const CLUSTER_GONE_ANNOTATION: &str = "coupon-operator.io/cluster-gone";

/// Annotation of a campaign that goes before its class in when pods are replaced: `wait`, or `now`, which works once: for the first rollout after it
/// was set. To use it again it is taken away and set anew, or set to another value that begins with `now-`; one that stays in a manifest does nothing
/// more.
pub const ROLLOUT_ANNOTATION: &str = "coupon-operator.io/rollout";

/// With this annotation set to `true` the object goes at once, whatever is left behind.
pub const RELEASE_ANNOTATION: &str = "coupon-operator.io/release";
