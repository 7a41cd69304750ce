//! Why a campaign has no usable class.

use std::time::Duration;

use coupon_core::connections;
use coupon_core::contract::rate_limits::{MAX_HEADER_VALUE, MAX_HEADER_VALUES, MIN_HEADER_SECRET};
use coupon_core::names::NamesError;

use super::key_set::KeySetFault;
use super::limits::{self, Exceeded};
use crate::api::ConditionType;
use crate::error::{Retry, kubernetes_words};

/// Why a campaign has no usable class.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// No such class.
    #[error("CampaignClass `{0}` does not exist; ask the platform team for the right name")]
    NotFound(String),
    /// The class in which a campaign has its ledger is gone.
    #[error(
        "CampaignClass `{0}`, in which this campaign has its ledger, does not exist any more; apply it again as it was, with the same realm and servers; a campaign that is being deleted is let go without it by the annotation coupon-operator.io/release: \"true\""
    )]
    Gone(String),
    /// The class is being deleted.
    #[error(
        "CampaignClass `{0}` is being deleted and takes no new campaigns; take another class, or wait until it is applied again"
    )]
    Leaving(String),
    /// No name given, and no default.
    #[error(
        "no className is set and no CampaignClass is the default; set spec.className, or have the platform team annotate \
         one class with coupon-operator.io/is-default-class: \"true\""
    )]
    NoDefault,
    /// Several defaults.
    #[error(
        "several CampaignClasses are the default ({0}); leave the annotation on one of them, or set spec.className"
    )]
    SeveralDefaults(String),
    /// The class does not let this namespace take part.
    #[error(
        "namespace `{namespace}` may not use CampaignClass `{class}`; have the platform team label the namespace ({selector})"
    )]
    NamespaceNotSelected {
        /// The campaign's namespace.
        namespace: String,
        /// The class.
        class: String,
        /// What its selector asks for.
        selector: String,
    },
    /// The campaign asks for more than the class allows.
    #[error(
        "more than CampaignClass `{class}` allows: {}; lower it, or ask the platform team for a higher limit",
        limits::sentence(.exceeded)
    )]
    LimitExceeded {
        /// All that is too much.
        exceeded: Vec<Exceeded>,
        /// The class.
        class: String,
    },
    /// A Secret is not there.
    #[error("Secret `{namespace}/{name}`, named in CampaignClass `{class}`, does not exist; create it")]
    SecretMissing {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The class.
        class: String,
    },
    /// A Secret lacks a key, or its value is no text.
    #[error("Secret `{namespace}/{name}` has no usable key `{key}`; add it")]
    SecretKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A user or a password begins or ends with white space.
    #[error(
        "key `{key}` of Secret `{namespace}/{name}` begins or ends with white space, most likely a line break that came in with it \
         (`echo -n`, or `kubectl create secret --from-literal`, adds none); take it out"
    )]
    SecretWhitespace {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// What should be an authority's certificates is none, or more than that.
    #[error("key `{key}` of Secret `{namespace}/{name}` {fault}")]
    SecretCertificate {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: connections::CaPemError,
    },
    /// What should be the keys of tokens cannot be taken for them.
    #[error("key `{key}` of Secret `{namespace}/{name}` {fault}")]
    SecretKeySet {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: KeySetFault,
    },
    /// What should be values of a gateway's header can be none.
    #[error(
        "key `{key}` of Secret `{namespace}/{name}` holds no values of a header: one to {MAX_HEADER_VALUES} lines, each of {MIN_HEADER_SECRET} to {MAX_HEADER_VALUE} visible ASCII characters; correct it"
    )]
    SecretHeaderValues {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// Limits of which nobody can say what they mean.
    #[error(
        "rateLimits of CampaignClass `{0}` cannot be used: every number must be above 0, trustedProxies must be networks such as 10.0.0.0/8 and not all addresses, and requiredHeader needs values or valueSecretRef, not both"
    )]
    RateLimitsUnusable(String),
    /// It is said by half how users are authenticated.
    #[error(
        "authentication of CampaignClass `{0}` lacks what its type needs: set authentication.header or authentication.jwt, with keys by url or secretRef"
    )]
    AuthenticationIncomplete(String),
    /// The Redis URL cannot be read.
    #[error("redis.url `{0}` is not redis://host:port or rediss://host:port; correct it in the CampaignClass")]
    RedisUrl(String),
    /// Names of topics and groups that could do harm.
    #[error(
        "kafka.names of the CampaignClass cannot be used: {0}; the names of a class cannot change, so delete it, and apply it with others"
    )]
    KafkaNames(#[from] NamesError),
    /// The campaign's topics have other names than its class gives them.
    #[error(
        "the campaign's topics are {recorded}, but by kafka.names and realm of CampaignClass `{class}` they would be {wanted}, and nothing is touched: \
         winners may be in the old ones; delete this CampaignClass, and apply it again with the names and the realm that it had"
    )]
    KafkaNamesDiffer {
        /// The class.
        class: String,
        /// As status says.
        recorded: String,
        /// As the class says.
        wanted: String,
    },
    /// The campaign's ledger is in another realm than its class says.
    #[error(
        "the campaign's ledger is in realm `{recorded}`, but CampaignClass `{class}` says realm `{wanted}`, in which it has none, and nothing is \
         touched: pods that run go on in realm `{recorded}`, and nobody repairs, scales or ends them; delete this CampaignClass, and apply \
         it again with realm `{recorded}`"
    )]
    RealmDiffers {
        /// The class.
        class: String,
        /// As status says.
        recorded: String,
        /// As the class says.
        wanted: String,
    },
    /// An older campaign of the namespace has the same coupon id.
    #[error("campaign `{0}` of this namespace, which is older, has the same couponId; choose another couponId")]
    CouponIdTaken(String),
    /// The API could not be asked.
    #[error("{}", kubernetes_words(.0))]
    Api(#[from] kube::Error),
}

impl ClassError {
    pub(crate) fn condition(&self) -> ConditionType {
        match self {
            Self::SecretMissing { .. }
            | Self::SecretKey { .. }
            | Self::SecretWhitespace { .. }
            | Self::SecretCertificate { .. }
            | Self::SecretKeySet { .. }
            | Self::SecretHeaderValues { .. } => ConditionType::CredentialsReady,
            Self::CouponIdTaken(_) => ConditionType::ResourceConflict,
            _ => ConditionType::ClassResolved,
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::Gone(_) => "ClassNotFound",
            Self::Leaving(_) => "ClassBeingDeleted",
            Self::NoDefault => "NoDefaultClass",
            Self::SeveralDefaults(_) => "SeveralDefaultClasses",
            Self::NamespaceNotSelected { .. } => "NamespaceNotSelected",
            Self::LimitExceeded { .. } => limits::LIMIT_EXCEEDED,
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKey { .. } => "SecretKeyMissing",
            Self::SecretWhitespace { .. } => "SecretWhitespace",
            Self::SecretCertificate { .. } => "SecretCertificateInvalid",
            Self::SecretKeySet { .. } => "SecretKeySetInvalid",
            Self::SecretHeaderValues { .. } => "SecretHeaderValuesInvalid",
            Self::AuthenticationIncomplete(_) => "AuthenticationIncomplete",
            Self::RateLimitsUnusable(_) => "RateLimitsUnusable",
            Self::RedisUrl(_) => "RedisUrlInvalid",
            Self::KafkaNames(_) => "KafkaNamesInvalid",
            Self::KafkaNamesDiffer { .. } => "KafkaNamesDiffer",
            Self::RealmDiffers { .. } => "RealmDiffers",
            Self::CouponIdTaken(_) => "CouponIdTaken",
            Self::Api(_) => "KubernetesError",
        }
    }

    /// Whether it ends without a change of the campaign or of its class: a class or a Secret that is applied together with the campaign
    /// comes some moments later.
    pub(crate) fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Gone(_)
                | Self::Leaving(_)
                | Self::NoDefault
                | Self::SecretMissing { .. }
                | Self::SecretKey { .. }
                | Self::SecretWhitespace { .. }
                | Self::SecretCertificate { .. }
                | Self::SecretKeySet { .. }
                | Self::SecretHeaderValues { .. }
                | Self::Api(_)
        )
    }

    pub(crate) fn retry(&self) -> Retry {
        match self {
            // Secrets are not watched: their memory would follow every Secret of the cluster.
            Self::SecretMissing { .. }
            | Self::SecretKey { .. }
            | Self::SecretWhitespace { .. }
            | Self::SecretCertificate { .. }
            | Self::SecretKeySet { .. }
            | Self::SecretHeaderValues { .. } => Retry::After(Duration::from_secs(5)),
            Self::Api(_) => Retry::Backoff,
            // Others may be deleted, or end, which is no event of ours.
            Self::CouponIdTaken(_) | Self::LimitExceeded { .. } => Retry::After(Duration::from_secs(5)),
            // A class that is made again is the first generation again, as the wrong one was: what was read of that counts for some seconds.
            Self::KafkaNamesDiffer { .. } | Self::RealmDiffers { .. } => Retry::After(Duration::from_secs(5)),
            _ => Retry::OnChange,
        }
    }
}
