//! The Deployments of issuer and consumer.

use std::collections::BTreeMap;

use coupon_core::contract::{
    Authentication, AuthenticationKind, authentication, deadlines, environment, ports, rate_limits,
};
use coupon_core::yaml;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceFieldSelector, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{ChildContext, Component, hex_digest, selector};
use crate::api::RunAs;
use crate::class;

/// Where every pod says whether it is alive and ready.
pub(crate) const PROBE_PORT: i32 = ports::PROBES as i32;
/// Where the Secret is mounted.
const CONFIG_DIR: &str = "/etc/coupon";
/// From SIGTERM, or the end of an issuer's delay, until a pod is killed.
const GRACE_SECONDS: u16 = deadlines::GRACE.as_secs() as u16;
/// User id of the image's unprivileged user.
const USER: i64 = 65532;
/// The pod template's fingerprint of the connections: pods are replaced when it changes.
const CONNECTIONS_ANNOTATION: &str = "coupon-operator.io/connections-hash";
/// The pod template's fingerprint of the control token, which issuers read at their start: pods are replaced when it changes.
const TOKEN_ANNOTATION: &str = "coupon-operator.io/control-token-hash";
/// On the Deployment: a fingerprint of the pod template. Pods are replaced when it changes.
const TEMPLATE_ANNOTATION: &str = "coupon-operator.io/template-hash";
/// A rollout that got no further for so long is stuck: pulling an image and starting take seconds to minutes.
const STUCK_AFTER_SECONDS: i32 = 180;

/// Whether bringing `found` to `wanted` replaces pods by others that they should be now. What somebody else has changed meanwhile is
/// none of that: it is put back.
pub fn replaces_pods(found: &Deployment, wanted: &Deployment) -> bool {
    let said = |deployment: &Deployment| deployment.annotations().get(TEMPLATE_ANNOTATION).cloned();
    match (said(found), said(wanted)) {
        (Some(found), Some(wanted)) => found != wanted,
        // One that does not say it was not made by this version.
        _ => true,
    }
}

/// A fingerprint of the pods that these Deployments make.
pub fn pods_hash<'a>(deployments: impl Iterator<Item = &'a Deployment>) -> String {
    let each = deployments.filter_map(|deployment| deployment.annotations().get(TEMPLATE_ANNOTATION).cloned());
    each.collect::<Vec<_>>().join("-")
}

/// The pods that answer users. `replicas` only in the first apply: a manager of its own owns it afterwards.
pub fn issuer_deployment(family: &ChildContext<'_>, replicas: Option<i32>) -> Deployment {
    let own = &family.class.spec.pods.issuer;
    let delay = own.shutdown_delay_seconds;
    let mut environment = vec![
        (environment::SHUTDOWN_DELAY_MS, (u32::from(delay) * 1000).to_string()),
        (environment::KEEP_ALIVE_SECONDS, own.keep_alive_seconds.to_string()),
        (environment::CONTROL_TOKEN_FILE, format!("{CONFIG_DIR}/{}", super::TOKEN_KEY)),
        (environment::LISTEN, ports::on_all_addresses(ports::USERS).to_string()),
        (environment::CONTROL_LISTEN, ports::on_all_addresses(ports::CONTROL).to_string()),
        (environment::ACKNOWLEDGE, family.acknowledge.to_string()),
        (environment::KEY_BY, family.key_by.to_string()),
        (environment::CLUSTER, family.cluster.to_owned()),
    ];
    if let Some(cors) = &family.class.spec.routing.cors {
        environment.push((environment::CORS_ORIGINS, cors.allowed_origins.join(",")));
        environment.push((environment::CORS_MAX_AGE_SECONDS, cors.max_age_seconds.to_string()));
    }
    let ports = vec![("http", ports::USERS.into()), ("control", ports::CONTROL.into()), ("probes", PROBE_PORT)];
    let resources = own.resources.clone().unwrap_or_else(|| default_resources("250m", "64Mi", "256Mi"));
    let settings = Settings { environment, arguments: issuer_arguments(family), ports, resources };
    deployment(family, Component::Issuer, replicas, settings, GRACE_SECONDS + delay)
}

/// The pods that store winners. `replicas` as in [`issuer_deployment`].
pub fn consumer_deployment(family: &ChildContext<'_>, replicas: Option<i32>) -> Deployment {
    let ports = vec![("probes", PROBE_PORT)];
    let own = family.class.spec.pods.consumer.resources.clone();
    let resources = own.unwrap_or_else(|| default_resources("100m", "64Mi", "256Mi"));
    let settings = Settings { environment: Vec::new(), arguments: Vec::new(), ports, resources };
    deployment(family, Component::Consumer, replicas, settings, GRACE_SECONDS)
}

/// What an issuer must not start without.
fn issuer_arguments(family: &ChildContext<'_>) -> Vec<String> {
    let mut arguments = authentication_arguments(family);
    arguments.extend(rate_limit_arguments(family));
    arguments
}

/// How often users may ask: among its arguments for the same reason as how it knows who asks, and nothing where nothing is limited.
fn rate_limit_arguments(family: &ChildContext<'_>) -> Vec<String> {
    match class::rate_limits::for_issuers(&family.class.spec.rate_limits, CONFIG_DIR) {
        Some(limits) if limits.is_empty() => Vec::new(),
        Some(limits) => vec![rate_limits::ARGUMENT.to_owned(), limits.to_string()],
        // Nobody comes here with such a class; and if, an issuer ends with a sentence.
        None => vec![rate_limits::ARGUMENT.to_owned(), String::new()],
    }
}

/// How an issuer knows who asks. Among its arguments, as an image that does not know one of those does not start: what it does not find in its
/// environment it would pass over, and believe everybody. Nothing where nobody is authenticated, so that images of before take it.
fn authentication_arguments(family: &ChildContext<'_>) -> Vec<String> {
    match class::authentication::for_issuers(&family.class.spec.authentication, CONFIG_DIR) {
        Some(Authentication::None) => Vec::new(),
        Some(setting) => vec![authentication::ARGUMENT.to_owned(), setting.to_string()],
        // Nobody comes here with such a class; and if, an issuer ends with a sentence.
        None => vec![authentication::ARGUMENT.to_owned(), String::new()],
    }
}

/// How the issuers of a Deployment know who asks; `None` if it asks for none, or it is not known.
pub(crate) fn authentication_of(issuers: &Deployment) -> Option<AuthenticationKind> {
    let spec = issuers.spec.as_ref().filter(|spec| spec.replicas != Some(0))?;
    let container = spec.template.spec.as_ref()?.containers.first()?;
    let mut arguments = container.args.iter().flatten().skip_while(|argument| *argument != authentication::ARGUMENT);
    match (arguments.next(), arguments.next()) {
        (None, _) => Some(AuthenticationKind::None),
        (Some(_), setting) => Some(setting?.parse::<Authentication>().ok()?.kind()),
    }
}

/// What the container of a component is given.
struct Settings {
    environment: Vec<(&'static str, String)>,
    arguments: Vec<String>,
    ports: Vec<(&'static str, i32)>,
    resources: ResourceRequirements,
}

fn default_resources(cpu: &str, memory: &str, memory_limit: &str) -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.to_owned());
    ResourceRequirements {
        requests: Some(BTreeMap::from([("cpu".to_owned(), quantity(cpu)), ("memory".to_owned(), quantity(memory))])),
        limits: Some(BTreeMap::from([("memory".to_owned(), quantity(memory_limit))])),
        claims: None,
    }
}

fn deployment(
    family: &ChildContext<'_>,
    component: Component,
    replicas: Option<i32>,
    settings: Settings,
    grace_seconds: u16,
) -> Deployment {
    let pods = &family.class.spec.pods;
    let mut labels = pods.labels.clone();
    labels.extend(family.labels(Some(component)));
    let mut annotations = pods.annotations.clone();
    annotations.insert(CONNECTIONS_ANNOTATION.to_owned(), fingerprint(family));
    if component == Component::Issuer {
        annotations.insert(TOKEN_ANNOTATION.to_owned(), hex_digest(family.tokens.current.as_bytes(), 8));
    }
    let (user, secret_mode) = match pods.run_as {
        RunAs::Fixed => (Some(USER), 0o440),
        // Without a group of their own the files are root's, and whoever runs is nobody's business but the platform's.
        RunAs::Assigned => (None, 0o444),
    };
    let matched = LabelSelector { match_labels: Some(selector(family.campaign, component)), match_expressions: None };
    let mut built = Deployment {
        metadata: family.metadata(family.name(component), Some(component)),
        spec: Some(DeploymentSpec {
            replicas,
            selector: matched.clone(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                // A pod goes when its successor is ready: one that does not come up takes nothing away. A consumer is ready before it
                // holds partitions, and takes over those of the one that goes.
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(STUCK_AFTER_SECONDS),
            revision_history_limit: Some(2),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    termination_grace_period_seconds: Some(grace_seconds.into()),
                    security_context: Some(PodSecurityContext {
                        run_as_non_root: Some(true),
                        run_as_user: user,
                        run_as_group: user,
                        fs_group: user,
                        seccomp_profile: Some(SeccompProfile {
                            type_: "RuntimeDefault".to_owned(),
                            localhost_profile: None,
                        }),
                        ..PodSecurityContext::default()
                    }),
                    image_pull_secrets: none_if_empty(
                        family
                            .class
                            .spec
                            .images
                            .pull_secrets
                            .iter()
                            .map(|name| LocalObjectReference { name: name.clone() }),
                    ),
                    node_selector: (!pods.node_selector.is_empty()).then(|| pods.node_selector.clone()),
                    tolerations: none_if_empty(pods.tolerations.iter().cloned()),
                    priority_class_name: pods.priority_class_name.clone(),
                    topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                        max_skew: 1,
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        when_unsatisfiable: "ScheduleAnyway".to_owned(),
                        label_selector: Some(matched),
                        ..TopologySpreadConstraint::default()
                    }]),
                    containers: vec![container(family, component, settings)],
                    volumes: Some(vec![
                        Volume {
                            name: "connections".to_owned(),
                            secret: Some(SecretVolumeSource {
                                secret_name: Some(family.secret_name()),
                                default_mode: Some(secret_mode),
                                ..SecretVolumeSource::default()
                            }),
                            ..Volume::default()
                        },
                        Volume {
                            name: "tmp".to_owned(),
                            empty_dir: Some(EmptyDirVolumeSource::default()),
                            ..Volume::default()
                        },
                    ]),
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let template = built.spec.as_ref().and_then(|spec| serde_json::to_vec(&spec.template).ok()).unwrap_or_default();
    let annotations = built.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_ANNOTATION.to_owned(), hex_digest(&template, 8));
    built
}

fn container(family: &ChildContext<'_>, component: Component, settings: Settings) -> Container {
    let Settings { environment, arguments, ports, resources } = settings;
    let images = &family.class.spec.images;
    let own_policy = family.image_pull_policy.map(str::to_owned);
    let mut env = vec![EnvVar {
        name: environment::POD_NAME.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }];
    let common = [
        (environment::CAMPAIGN, family.id.to_string()),
        (environment::CONNECTIONS, format!("{CONFIG_DIR}/connections.yaml")),
        (environment::PROBE_LISTEN, ports::on_all_addresses(ports::PROBES).to_string()),
        (environment::LOG_JSON, "true".to_owned()),
    ];
    if component == Component::Issuer {
        // The node's memory where there is no limit.
        env.push(EnvVar {
            name: environment::MEMORY_LIMIT.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                resource_field_ref: Some(ResourceFieldSelector {
                    resource: "limits.memory".to_owned(),
                    ..ResourceFieldSelector::default()
                }),
                ..EnvVarSource::default()
            }),
        });
    }
    env.extend(common.into_iter().chain(environment).map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    }));
    let probe = |path: &str, period, failures| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("probes".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    };
    Container {
        name: component.name().to_owned(),
        image: Some(images.image.clone().unwrap_or_else(|| family.image.to_owned())),
        image_pull_policy: images.pull_policy.map(|policy| policy.to_string()).or(own_policy),
        command: Some(vec![format!("coupon-{}", component.name())]),
        args: (!arguments.is_empty()).then_some(arguments),
        env: Some(env),
        ports: Some(
            ports
                .iter()
                .map(|(name, port)| ContainerPort {
                    name: Some((*name).to_owned()),
                    container_port: *port,
                    protocol: Some("TCP".to_owned()),
                    ..ContainerPort::default()
                })
                .collect(),
        ),
        resources: Some(resources),
        // Their last words are then the cause that status shows.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        // Ready soon after the process is: a sale waits for it. Alive is asked more patiently.
        readiness_probe: Some(probe("/readyz", 1, 2)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            VolumeMount {
                name: "connections".to_owned(),
                mount_path: CONFIG_DIR.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
            VolumeMount { name: "tmp".to_owned(), mount_path: "/tmp".to_owned(), ..VolumeMount::default() },
        ]),
        ..Container::default()
    }
}

fn none_if_empty<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let all: Vec<T> = items.collect();
    (!all.is_empty()).then_some(all)
}

/// Changes when the pods must be replaced to connect elsewhere or with other credentials.
fn fingerprint(family: &ChildContext<'_>) -> String {
    let text = yaml::to_string(family.connections).unwrap_or_default();
    hex_digest(text.as_bytes(), 8)
}
