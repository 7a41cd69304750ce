//! The settings of a process: flags or environment, parsed once at start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};
use coupon_core::contract::{
    Acknowledge, Authentication, AuthenticationKind, KeyBy, RateLimits, deadlines, environment, ports,
};
use coupon_core::identity::Identity;
use coupon_runtime::http::{Cors, Origin};
use strum::VariantNames;

use crate::http;

/// Gives coupons to the first who ask.
#[derive(Debug, Parser)]
#[command(name = "coupon-issuer", version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub config: Option<Config>,
}

/// What the program can do besides serving.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document of the HTTP interface.
    Openapi {
        /// How users are authenticated.
        #[arg(long, value_parser = one_of::<AuthenticationKind>(AuthenticationKind::VARIANTS), default_value_t)]
        authentication: AuthenticationKind,
    },
}

/// Configuration of one issuer process.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The campaign to issue for, realm/namespace/couponId.
    #[arg(long, env = environment::CAMPAIGN)]
    pub campaign: Identity,

    /// File that says where Kafka, Redis and the database are.
    #[arg(long, env = environment::CONNECTIONS, default_value = "/etc/coupon/connections.yaml")]
    pub connections: PathBuf,

    /// File with the token that the control port asks for. Read once, at start.
    #[arg(long, env = environment::CONTROL_TOKEN_FILE, default_value = "/etc/coupon/control-token")]
    pub control_token_file: PathBuf,

    /// The cluster that this process is in, as its operator names it: epochs that another cluster's opens are not served.
    #[arg(long, env = environment::CLUSTER)]
    pub cluster: Option<String>,

    /// Address for users. `[::]` takes IPv4 as well.
    #[arg(long, env = environment::LISTEN, default_value_t = ports::on_all_addresses(ports::USERS))]
    pub listen: SocketAddr,

    /// Address for the operator: fence and pressure.
    #[arg(long, env = environment::CONTROL_LISTEN, default_value_t = ports::on_all_addresses(ports::CONTROL))]
    pub control_listen: SocketAddr,

    /// Address for probes and metrics.
    #[arg(long, env = environment::PROBE_LISTEN, default_value_t = ports::on_all_addresses(ports::PROBES))]
    pub probe_listen: SocketAddr,

    /// File to which the addresses that are listened on are written, as JSON, once all are bound: for tests that start it on port 0.
    #[arg(long, env = environment::ADDRESSES_FILE)]
    pub addresses_file: Option<PathBuf>,

    /// When a winner gets a success. Durable: once Kafka has acknowledged the winner, so that no promised coupon is lost. Fast: as soon as
    /// Redis has given the rank, so that a Redis that loses writes can lose promised coupons.
    #[arg(long, env = environment::ACKNOWLEDGE, value_parser = one_of::<Acknowledge>(Acknowledge::VARIANTS), default_value_t)]
    pub acknowledge: Acknowledge,

    /// What the key of a record is. User: the user id, so that winners spread over all partitions. Campaign: the coupon id, so that all winners
    /// are in one partition, in order.
    #[arg(long, env = environment::KEY_BY, value_parser = one_of::<KeyBy>(KeyBy::VARIANTS), default_value_t)]
    pub key_by: KeyBy,

    /// Name of this process for the Kafka brokers.
    #[arg(long, env = environment::POD_NAME, default_value = "coupon-issuer")]
    pub pod_name: String,

    /// Whether to log JSON.
    #[arg(long, env = environment::LOG_JSON, action = ArgAction::Set, value_parser = BoolishValueParser::new(), default_value = "false")]
    pub log_json: bool,

    /// Requests that may wait; one more is refused with 503. Never more than three quarters of users' connections: who is refused needs one, too.
    #[arg(long, env = environment::QUEUE, default_value_t = 10_000, value_parser = queue_bound)]
    pub queue: usize,

    /// Bytes of memory that this process may have: users' connections are as many as fit. Kubernetes' limit, where it sets it.
    #[arg(long, env = environment::MEMORY_LIMIT, default_value_t = 256 * 1024 * 1024)]
    pub memory_limit: u64,

    /// Seconds that a connection may be kept between two requests: more than load balancers in front keep theirs.
    #[arg(long, env = environment::KEEP_ALIVE_SECONDS, default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub keep_alive_seconds: u64,

    /// Origins whose pages may call, as browsers write them, such as https://shop.example; `*` is every origin. Without any no page of another
    /// origin may.
    #[arg(long = "cors-origin", env = environment::CORS_ORIGINS, value_delimiter = ',')]
    pub cors_origins: Vec<Origin>,

    /// Seconds for which a browser may go by what it was told of the pages that may call. Browsers have bounds of their own: 2 hours, or 24.
    #[arg(long, env = environment::CORS_MAX_AGE_SECONDS, default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub cors_max_age_seconds: u64,

    /// How users are authenticated, as JSON. By default nobody is: who asks is believed. No environment variable sets it: an older program would
    /// pass over that.
    #[arg(long, default_value_t)]
    pub authentication: Authentication,

    /// How often may be asked, of each user, of each address and of all together, and what every request must have from the gateway, as JSON. By
    /// default as often as one likes. No environment variable sets it, as with --authentication.
    #[arg(long, default_value_t)]
    pub rate_limits: RateLimits,

    /// Milliseconds to go on serving after SIGTERM, while load balancers learn that this process is not ready any more.
    #[arg(long, env = environment::SHUTDOWN_DELAY_MS, default_value_t = 5_000)]
    pub shutdown_delay_ms: u64,

    /// Milliseconds from the end of that delay to the end of the process. Keep the pod's grace period above the sum.
    #[arg(long, env = environment::DRAIN_TIMEOUT_MS, default_value_t = deadlines::millis(deadlines::DRAIN))]
    pub drain_timeout_ms: u64,
}

impl Config {
    /// How long to go on serving after SIGTERM.
    pub fn shutdown_delay(&self) -> Duration {
        Duration::from_millis(self.shutdown_delay_ms)
    }

    /// How long a connection may be kept between two requests.
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_seconds)
    }

    /// Which pages may call, if any may.
    pub fn cors(&self) -> Option<Cors> {
        let origins = Some(self.cors_origins.clone()).filter(|origins| !origins.is_empty())?;
        Some(Cors::new(origins, Duration::from_secs(self.cors_max_age_seconds), http::CORS_TERMS))
    }

    /// From the end of the delay to the end.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

/// Reads one of these names; help and errors list all of them.
fn one_of<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = strum::ParseError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names.iter().copied()).try_map(|name| name.parse::<T>())
}

fn queue_bound(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1_000_000).contains(&n) => Ok(n),
        _ => Err("give a number from 1 to 1000000".into()),
    }
}

/// A control token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the control token {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A short token could be guessed; an empty one would give everybody access.
    #[error("the control token in {path} has {len} characters; it needs at least {MIN_TOKEN}")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// How many characters were found.
        len: usize,
    },
}

/// Shortest control token, in characters.
pub const MIN_TOKEN: usize = 16;

/// Reads the control token. Space around it does not count.
pub fn read_control_token(path: &Path) -> Result<String, TokenError> {
    let text = std::fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
    let token = text.trim();
    if token.len() < MIN_TOKEN {
        return Err(TokenError::TooShort { path: path.to_owned(), len: token.len() });
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("coupon-issuer").chain(arguments.iter().copied()))
    }

    #[test]
    fn a_campaign_is_all_that_must_be_said() {
        let config = parse(&["--campaign", "prod/shop/spring"]).unwrap().config.unwrap();
        assert_eq!(config.campaign.to_string(), "prod/shop/spring");
        assert_eq!((config.acknowledge, config.key_by, config.queue), (Acknowledge::Durable, KeyBy::User, 10_000));
        assert_eq!(config.listen.port(), 8080);
        assert!(!config.log_json && config.authentication == Authentication::None && config.rate_limits.is_empty());
    }

    #[test]
    fn wrong_values_are_refused_with_what_is_allowed() {
        for (arguments, hint) in [
            (vec!["--campaign", "spring"], "realm/namespace/couponId"),
            (vec!["--campaign", "a/b/c", "--acknowledge", "never"], "Durable"),
            (vec!["--campaign", "a/b/c", "--key-by", "rank"], "Campaign"),
            (vec!["--campaign", "a/b/c", "--queue", "0"], "1 to 1000000"),
            (vec!["--campaign", "a/b/c", "--listen", "8080"], "invalid socket address"),
            (
                vec!["--campaign", "a/b/c", "--cors-origin", "https://a.example,shop.example/"],
                "`shop.example/` is no origin",
            ),
            (vec!["--campaign", "a/b/c", "--authentication", r#"{"mtls":{}}"#], "run a newer image"),
            (vec!["--campaign", "a/b/c", "--rate-limits", r#"{"perCountry":{}}"#], "run a newer image"),
        ] {
            let error = parse(&arguments).unwrap_err().to_string();
            assert!(error.contains(hint), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn pages_of_other_origins_may_call_only_if_they_are_named() {
        let cors = |more: &[&str]| parse(&[&["--campaign", "a/b/c"], more].concat()).unwrap().config.unwrap().cors();
        let named = ["https://a.example", "http://localhost:8000"].map(|origin| origin.parse().unwrap());
        let expected = |seconds| Cors::new(named.clone().into(), Duration::from_secs(seconds), http::CORS_TERMS);
        assert_eq!(cors(&[]), None);
        let origins = ["--cors-origin", "https://a.example,http://localhost:8000"];
        assert_eq!(cors(&origins), Some(expected(600)));
        assert_eq!(cors(&[&origins[..], &["--cors-max-age-seconds", "5"]].concat()), Some(expected(5)));
    }

    #[test]
    fn the_openapi_command_needs_no_campaign() {
        let way = |arguments: &[&str]| {
            parse(arguments).unwrap().command.map(|Command::Openapi { authentication }| authentication)
        };
        assert_eq!(way(&["openapi"]), Some(AuthenticationKind::None));
        assert_eq!(way(&["openapi", "--authentication", "Jwt"]), Some(AuthenticationKind::Jwt));
        assert!(parse(&[]).map(|cli| cli.config.is_none()).unwrap_or(true), "serving needs a campaign");
    }

    #[test]
    fn a_token_must_be_worth_the_name() {
        let folder = std::env::temp_dir().join(format!("coupon-token-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("token");
        assert!(matches!(read_control_token(&path), Err(TokenError::Read { .. })));
        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(read_control_token(&path), Err(TokenError::TooShort { len: 5, .. })));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(read_control_token(&path).unwrap(), "0123456789abcdef");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
