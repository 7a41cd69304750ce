//! What a stack consists of.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// What a stack can consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// One node.
    Kubernetes,
    /// One or three brokers.
    Kafka,
    /// Alone, or with a replica and Sentinels.
    Redis,
    /// One server.
    Mariadb,
}

/// How Redis runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisMode {
    /// One server.
    #[default]
    Single,
    /// A primary, a replica and three Sentinels.
    Sentinel,
}

/// What a stack can have in another way than the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addition {
    /// Kafka, Redis, Sentinels and MariaDB with TLS and logins, and with the rights that README lists.
    Secured,
    /// Prometheus and Alertmanager with the project's alerts and routes, and a receiver in the place of Slack and PagerDuty.
    Monitoring,
    /// Envoy and nginx on the search path of what runs inside. Who has something to put one before starts it.
    Gateway,
    /// The same, and Contour, which has an Envoy do what HTTPRoutes and Ingresses say.
    Contour,
    /// Chromium and its driver on the search path of what runs inside.
    Browser,
}

/// What a stack consists of.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
pub struct Options {
    /// How many Kafka brokers: 1, or 3 (no more than one may be lost).
    #[arg(long, default_value_t = 1, value_parser = parse_brokers)]
    pub brokers: u16,
    /// How Redis runs.
    #[arg(long, value_enum, default_value_t)]
    pub redis: RedisMode,
    /// Leave these out.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub without: Vec<Component>,
    /// Add these.
    #[arg(long = "with", value_enum, value_delimiter = ',')]
    #[serde(default)]
    pub with: Vec<Addition>,
}

fn parse_brokers(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("use 1 or 3".to_owned()),
    }
}

impl Options {
    /// Whether the stack has this component.
    #[must_use]
    pub fn has(&self, component: Component) -> bool {
        !self.without.contains(&component)
    }

    /// Whether its servers are secured.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.with.contains(&Addition::Secured)
    }

    /// Whether it watches its pods.
    #[must_use]
    pub fn is_monitored(&self) -> bool {
        self.with.contains(&Addition::Monitoring)
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<()> {
        let blind = self.is_monitored() && !self.has(Component::Kubernetes);
        ensure!(!blind, "`--with monitoring` watches pods: it cannot go without kubernetes");
        Ok(())
    }

    /// Whether there are gateways to start.
    #[must_use]
    pub(crate) fn has_gateways(&self) -> bool {
        self.with.contains(&Addition::Gateway) || self.has_contour()
    }

    /// Whether there is a controller of HTTPRoutes and Ingresses to start.
    #[must_use]
    pub(crate) fn has_contour(&self) -> bool {
        self.with.contains(&Addition::Contour)
    }

    pub(crate) fn load(layout: &Layout) -> Result<Self> {
        let file = layout.options_file();
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} holds no options", file.display()))
    }

    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        Ok(fs::write(layout.options_file(), serde_json::to_vec_pretty(self)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_being_stored() {
        let without = vec![Component::Kubernetes];
        let options = Options {
            brokers: 3,
            redis: RedisMode::Sentinel,
            without,
            with: vec![Addition::Secured, Addition::Gateway],
        };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert!(!options.has(Component::Kubernetes) && options.has(Component::Kafka));
        assert!(options.is_secured() && options.has_gateways() && !options.has_contour());
    }

    /// Wrong: a controller starts that has no gateway to tell what it reads.
    #[test]
    fn contour_brings_its_gateway_along() {
        let options =
            Options { brokers: 1, redis: RedisMode::Single, without: Vec::new(), with: vec![Addition::Contour] };
        assert!(options.has_contour() && options.has_gateways());
    }

    #[test]
    fn nobody_watches_pods_that_cannot_be() {
        let mut options = Options {
            brokers: 1,
            redis: RedisMode::Single,
            without: vec![Component::Kubernetes],
            with: vec![Addition::Monitoring],
        };
        assert!(options.check().is_err());
        options.without = vec![Component::Kafka];
        options.check().unwrap();
    }
}
