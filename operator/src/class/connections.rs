//! How the operator and the pods connect to the systems of a class.

use coupon_core::connections::{self, CaPem};
use kube::Client;

use super::error::ClassError;
use super::secrets::Secrets;
use crate::api::{self, CampaignClass};

/// The two sets of connections of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassConnections {
    /// For the operator itself.
    pub operator: connections::Connections,
    /// For issuer and consumer pods.
    pub workload: connections::Connections,
}

/// Reads the Secrets of a class and puts its connections together.
pub async fn connections(
    client: &Client,
    class: &CampaignClass,
    own_namespace: &str,
) -> Result<ClassConnections, ClassError> {
    let secrets = Secrets::new(client, class, own_namespace);
    let kafka_ca = secrets.ca(class.spec.kafka.security.ca_secret_ref.as_ref()).await?;
    let redis_ca = secrets.ca(class.spec.redis.ca_secret_ref.as_ref()).await?;
    let database_ca = secrets.ca(class.spec.database.ca_secret_ref.as_ref()).await?;
    let kafka_names = class.spec.kafka.names.checked()?;
    let mut both = Vec::with_capacity(2);
    for reference in [&class.spec.credentials.operator, &class.spec.credentials.workload] {
        let logins = secrets.logins(&reference.secret_name).await?;
        both.push(connections::Connections {
            kafka: kafka(&class.spec.kafka, logins.kafka, kafka_ca.clone()),
            redis: redis(&class.spec.redis, logins.redis, logins.sentinel, redis_ca.clone())?,
            database: connections::Database {
                host: class.spec.database.host.clone(),
                port: class.spec.database.port,
                name: class.spec.database.name.clone(),
                login: logins.database,
                tls: class.spec.database.tls,
                ca_pem: database_ca.clone(),
            },
            kafka_names: kafka_names.clone(),
        });
    }
    let workload = both.remove(1);
    Ok(ClassConnections { operator: both.remove(0), workload })
}

fn kafka(spec: &api::Kafka, login: connections::Login, ca_pem: Option<CaPem>) -> connections::Kafka {
    connections::Kafka {
        bootstrap_servers: spec.bootstrap_servers.clone(),
        protocol: spec.security.protocol,
        mechanism: spec.security.mechanism,
        login,
        ca_pem,
    }
}

fn redis(
    spec: &api::Redis,
    login: connections::Login,
    sentinels: connections::Login,
    ca_pem: Option<CaPem>,
) -> Result<connections::Redis, ClassError> {
    if let Some(sentinel) = &spec.sentinel {
        let server = connections::RedisServer::Sentinel {
            master_name: sentinel.master_name.clone(),
            nodes: sentinel.nodes.clone(),
            login: sentinels,
        };
        return Ok(connections::Redis { server, login, tls: sentinel.tls, database: 0, ca_pem });
    }
    let url = spec.url.clone().unwrap_or_default();
    let bad = || ClassError::RedisUrl(url.clone());
    let (tls, rest) = match url.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        _ => return Err(bad()),
    };
    let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| bad())? };
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { address.to_owned() } else { format!("{address}:6379") };
    Ok(connections::Redis { server: connections::RedisServer::Address(address), login, tls, database, ca_pem })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::{ConditionType, secret_keys};

    #[test]
    fn redis_urls() {
        let read = |url: &str| {
            let spec = api::Redis { url: Some(url.to_owned()), sentinel: None, ca_secret_ref: None };
            redis(&spec, connections::Login::default(), connections::Login::default(), None)
        };
        for (url, address, tls, database) in [
            ("redis://r:6380", "r:6380", false, 0),
            ("redis://r", "r:6379", false, 0),
            ("rediss://r:6379/2", "r:6379", true, 2),
            ("redis://r/", "r:6379", false, 0),
        ] {
            let found = read(url).unwrap();
            assert_eq!(found.server, connections::RedisServer::Address(address.to_owned()), "{url}");
            assert_eq!((found.tls, found.database), (tls, database), "{url}");
        }
        assert!(read("http://r").is_err());
    }

    /// Wrong: Sentinels that ask for a login of their own get none, or that of the servers.
    #[tokio::test]
    async fn sentinels_have_a_login_of_their_own() {
        let mut class = crate::fixtures::class();
        let sentinel = api::Sentinel { master_name: "m".to_owned(), nodes: vec!["s:26379".to_owned()], tls: true };
        class.spec.redis = api::Redis { url: None, sentinel: Some(sentinel), ca_secret_ref: None };
        let guard = [("sentinel-username", "watch"), ("sentinel-password", "guard")];
        for (more, expected) in [(&guard[..], ("watch", "guard")), (&guard[1..], ("", "guard")), (&[], ("", ""))] {
            let all = [&[("database-username", "op"), ("redis-password", "servers")], more].concat();
            let read = connections(&with_secret(&all), &class, "coupon-system").await.unwrap();
            for redis in [read.operator.redis, read.workload.redis] {
                let connections::RedisServer::Sentinel { login, .. } = &redis.server else { panic!("{redis:?}") };
                assert_eq!((login.username.as_str(), login.password.as_str()), expected);
                assert_eq!((redis.login.password.as_str(), redis.tls), ("servers", true));
            }
        }
    }

    /// An API server that has one Secret, under every name.
    fn with_secret(data: &[(&str, &str)]) -> Client {
        with_bytes(&data.iter().map(|(key, value)| (*key, value.as_bytes().to_vec())).collect::<Vec<_>>())
    }

    pub(in crate::class) fn with_bytes(data: &[(&str, Vec<u8>)]) -> Client {
        use http::{Request, Response};
        use kube::client::Body;
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let data: BTreeMap<String, k8s_openapi::ByteString> =
            data.iter().map(|(key, value)| ((*key).to_owned(), k8s_openapi::ByteString(value.clone()))).collect();
        let secret = serde_json::json!({"metadata": {"name": "login"}, "data": data});
        tokio::spawn(async move {
            while let Some((_, answer)) = handle.next_request().await {
                answer.send_response(Response::new(Body::from(serde_json::to_vec(&secret).unwrap())));
            }
        });
        Client::new(service, "coupon-system")
    }

    /// Wrong: what is in a Secret and cannot be right is tried, and the servers say something else about it.
    #[tokio::test]
    async fn what_a_secret_holds_and_cannot_be_right_is_named() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let both = format!("{pem}-----BEGIN EC PRIVATE KEY-----\nc2VzYW1l\n-----END EC PRIVATE KEY-----\n");
        let one_line = pem.replace('\n', " ");
        let login = ("database-username", "op");
        for (data, with_ca, reason, says) in [
            (vec![login], false, None, ""),
            (vec![login, ("ca.crt", pem)], true, None, ""),
            (vec![login, ("ca.crt", "MII")], true, Some("SecretCertificateInvalid"), "key `ca.crt` of Secret `ns/ca`"),
            (vec![login, ("ca.crt", "")], true, Some("SecretCertificateInvalid"), "-----BEGIN CERTIFICATE-----"),
            (vec![login, ("ca.crt", &both)], true, Some("SecretCertificateInvalid"), "holds a private key"),
            (vec![login, ("ca.crt", &one_line)], true, Some("SecretCertificateInvalid"), "a PEM that cannot be read"),
            (vec![login], true, Some("SecretKeyMissing"), "`ca.crt`"),
            (vec![login, ("redis-password", "x\n")], false, Some("SecretWhitespace"), "key `redis-password`"),
            (vec![], false, Some("SecretKeyMissing"), "`database-username`"),
        ] {
            for system in ["kafka", "redis", "database"] {
                let mut class = crate::fixtures::class();
                class.spec.credentials.namespace = Some("ns".to_owned());
                let ca = with_ca.then(|| api::CaSecretRef { name: "ca".to_owned(), key: "ca.crt".to_owned() });
                match system {
                    "kafka" => class.spec.kafka.security.ca_secret_ref = ca,
                    "redis" => class.spec.redis.ca_secret_ref = ca,
                    _ => class.spec.database.ca_secret_ref = ca,
                }
                let read = connections(&with_secret(&data), &class, "coupon-system").await;
                assert_eq!(read.as_ref().err().map(ClassError::reason), reason, "{system}, {data:?}");
                if let Err(error) = read {
                    assert!(error.to_string().contains(says), "{error}");
                    assert!(error.is_waited_for() && error.condition() == ConditionType::CredentialsReady, "{error}");
                }
            }
        }
    }

    /// Wrong: a Secret in which a keystore lies beside the certificate, as tools write it, is refused for a key that nobody asked for.
    #[tokio::test]
    async fn what_else_a_secret_holds_changes_nothing() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let named =
            vec![("database-username", b"op".to_vec()), ("redis-password", b"r".to_vec()), ("ca.crt", pem.into())];
        let mut class = crate::fixtures::class();
        class.spec.kafka.security.ca_secret_ref =
            Some(api::CaSecretRef { name: "ca".to_owned(), key: "ca.crt".to_owned() });
        let read = async |data: &[(&str, Vec<u8>)]| connections(&with_bytes(data), &class, "coupon-system").await;
        let alone = read(&named).await.unwrap();
        assert!(alone.operator.kafka.ca_pem.is_some() && alone.workload.redis.login.password == "r");
        let keystore = vec![0xfe, 0xed, 0xfe, 0xed, 0x00, 0xff];
        let beside = [named.clone(), vec![("ca.p12", keystore.clone()), ("keystore.jks", keystore.clone())]].concat();
        assert_eq!(read(&beside).await.unwrap(), alone);
        // One that is asked for is refused by its name.
        for key in ["ca.crt", "redis-password", "database-username"] {
            let wrong: Vec<(&str, Vec<u8>)> = named
                .iter()
                .map(|(each, value)| (*each, if *each == key { keystore.clone() } else { value.clone() }))
                .collect();
            let error = read(&wrong).await.unwrap_err();
            assert_eq!(error.reason(), "SecretKeyMissing", "{key}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    /// Wrong: what a Secret holds stands in a condition, an event or a log, where more people read than may read the Secret.
    #[tokio::test]
    async fn nothing_of_a_secret_is_repeated_whatever_is_wrong_with_it() {
        use secret_keys as keys;
        let logins = [
            keys::KAFKA_USERNAME,
            keys::KAFKA_PASSWORD,
            keys::REDIS_USERNAME,
            keys::REDIS_PASSWORD,
            keys::SENTINEL_USERNAME,
            keys::SENTINEL_PASSWORD,
            keys::DATABASE_USERNAME,
            keys::DATABASE_PASSWORD,
        ];
        let begin = "-----BEGIN CERTIFICATE-----";
        let good = format!("{begin}\nc2VzYW1l\n-----END CERTIFICATE-----\n");
        let mut refused = 0;
        let values = [
            b"sesame\n".to_vec(),
            b" sesame".to_vec(),
            b"sesame\xff".to_vec(),
            format!("{begin} sesame -----END CERTIFICATE-----").into_bytes(),
            format!("{begin}\nopen sesame!\n-----END CERTIFICATE-----\n").into_bytes(),
            b"-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----\n".to_vec(),
        ];
        for (wrong, value) in
            logins.into_iter().chain(["ca.crt"]).flat_map(|key| values.iter().map(move |value| (key, value)))
        {
            let right = |key: &str| if key == "ca.crt" { good.as_bytes() } else { b"sesame" }.to_vec();
            let of = |key: &'static str| (key, if key == wrong { value.clone() } else { right(key) });
            let data: Vec<(&str, Vec<u8>)> = logins.into_iter().chain(["ca.crt"]).map(of).collect();
            let mut class = crate::fixtures::class();
            class.spec.redis.ca_secret_ref = Some(api::CaSecretRef { name: "ca".to_owned(), key: "ca.crt".to_owned() });
            // A password may look like anything.
            if let Err(error) = connections(&with_bytes(&data), &class, "coupon-system").await {
                let text = format!("{error} {error:?}");
                assert!(text.contains(wrong) && !text.contains("sesame") && !text.contains("c2Vz"), "{wrong}: {text}");
                refused += 1;
            }
        }
        // White space around it, or no text, for each; and for certificates whatever else is none.
        assert_eq!(refused, logins.len() * 5 + values.len());
    }

    /// Wrong: the API server cannot see that one campaign's dead letters would be another's winners, and nobody else looks; or the names that
    /// a class gives do not reach the pods.
    #[tokio::test]
    async fn names_of_a_class_reach_both_logins_unless_they_could_do_harm() {
        let with = async |dead_letter_topic: &str| {
            let mut class = crate::fixtures::class();
            class.spec.kafka.names.dead_letter_topic = dead_letter_topic.to_owned();
            connections(&with_secret(&[("database-username", "op")]), &class, "coupon-system").await
        };
        let read = with("{topic}.dlq").await.unwrap();
        for each in [read.operator, read.workload] {
            let campaign = each.campaign("prod/shop/spring".parse().unwrap());
            assert_eq!(campaign.dead_letter_topic(), "prod.shop.spring.coupon-events.dlq");
        }
        let error = with("{realm}.{namespace}.{couponId}.coupon-events-dlq").await.map(drop);
        assert!(error.is_ok(), "it cannot be a topic's name: {error:?}");
        let error = with("{realm}.{couponId}.{namespace}.coupon-events").await.unwrap_err();
        assert_eq!((error.reason(), error.is_waited_for()), ("KafkaNamesInvalid", false));
        let text = error.to_string();
        assert!(text.contains("topic and deadLetterTopic can be the same") && text.contains("delete it"), "{text}");
    }
}
