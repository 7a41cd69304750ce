//! What an answer of an issuer costs, from the request to the response: to winners, whose record Kafka has acknowledged, and to losers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{KafkaAdmin, TopicSpec, TopicState};
use coupon_ledger::database::{self, EpochCommit};
use coupon_ledger::kafka::client_config;
use issuer::config::Cli;
use issuer::service::Service;
use smoke::bounds::Measured;
use smoke::counting::Counting;

use super::servers::{Servers, open_redis, user};

/// Users who ask at the same time.
const AT_ONCE: usize = 64;
/// How often they do, at first unmeasured.
const WARM_UP: usize = 16;
const ROUNDS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// Kept connections of users, who allocate nothing while they ask.
struct Users {
    connections: Vec<TcpStream>,
}

impl Users {
    fn connect(address: SocketAddr) -> Self {
        let connection = |_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        Self { connections: (0..AT_ONCE).map(connection).collect() }
    }

    /// All ask, and wait until all are answered with this status.
    fn ask(&mut self, requests: &[Vec<u8>], status: &[u8]) {
        let mut buffer = [0; 4096];
        for (stream, request) in self.connections.iter_mut().zip(requests) {
            stream.write_all(request).unwrap();
        }
        for stream in &mut self.connections {
            let mut length = 0;
            while !is_whole(&buffer[..length]) {
                let read = stream.read(&mut buffer[length..]).unwrap();
                assert!(read > 0, "the issuer hung up");
                length += read;
            }
            assert_eq!(&buffer[9..12], status, "{}", String::from_utf8_lossy(&buffer[..length]));
        }
    }
}

/// Whether head and body are there.
fn is_whole(bytes: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let at = bytes.windows(LENGTH.len()).position(|name| name == LENGTH).expect("the answer says how long it is");
    let digits = bytes[at + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |all, digit| all * 10 + usize::from(digit - b'0'));
    bytes.len() >= head + 4 + length
}

/// Requests of all users of some rounds, who ask once each.
fn requests(campaign: &CampaignId, rounds: std::ops::Range<usize>) -> Vec<Vec<Vec<u8>>> {
    let request = |number: usize| {
        let body = format!(r#"{{"userId":"{}"}}"#, user(number as u64));
        let head = format!("POST /api/coupons/{}/issue HTTP/1.1\r\nhost: smoke", campaign.coupon_id());
        format!("{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    rounds.map(|round| (0..AT_ONCE).map(|place| request(round * AT_ONCE + place)).collect()).collect()
}

/// As the operator prepares a campaign.
async fn open(servers: &Servers, campaign: &CampaignId, total: u64) {
    let connections = servers.connections();
    let pool = database::connect(&connections.database, 1);
    let row = database::register(&pool, campaign, total).await.unwrap().id;
    let admin = KafkaAdmin::new(&client_config(&connections.kafka, "smoke", &[])).unwrap();
    let spec = TopicSpec { name: campaign.topic(), partitions: 3, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&spec).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let topics = admin.describe_topics(&[&spec.name]).await.unwrap();
        if matches!(topics.get(&spec.name), Some(Ok(TopicState::Present(topic))) if topic.has_leaders()) {
            break;
        }
        assert!(Instant::now() < deadline, "the topic has leaders");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let epoch = database::allot_epoch(&pool, row, 0).await.unwrap();
    open_redis(&mut servers.redis().await, campaign, total).await;
    assert_eq!(database::open_epoch(&pool, row, epoch).await.unwrap(), EpochCommit::Done);
}

/// An issuer of this campaign in this process.
async fn start(servers: &Servers, campaign: &CampaignId) -> Service {
    let (name, free) = (campaign.to_string(), "127.0.0.1:0");
    let words =
        ["coupon-issuer", "--campaign", &name, "--listen", free, "--control-listen", free, "--probe-listen", free];
    let config = Cli::try_parse_from(words).unwrap().config.unwrap();
    let service = Service::start(&config, &servers.connections(), "a-token-of-the-tests-0123456789".to_owned()).await;
    let service = service.unwrap();
    let (http, deadline) = (reqwest::Client::new(), Instant::now() + PATIENCE);
    let ready = format!("http://{}/readyz", service.addresses.probe);
    while !http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(Instant::now() < deadline, "the issuer is ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service
}

/// Allocations of the whole process for each answer, while nothing else happens in it.
async fn asked(users: Users, rounds: Vec<Vec<Vec<u8>>>, status: &'static [u8]) -> (Users, f64) {
    let asked = tokio::task::spawn_blocking(move || {
        let (mut users, counting) = (users, Counting::begin());
        for requests in &rounds {
            users.ask(requests, status);
        }
        let each = counting.allocations() / (rounds.len() * AT_ONCE) as f64;
        (users, each)
    });
    asked.await.unwrap()
}

pub(crate) async fn measure(servers: &Servers) -> Vec<Measured> {
    let campaign = servers.campaign("answers");
    let coupons = (WARM_UP + ROUNDS) * AT_ONCE;
    open(servers, &campaign, coupons as u64).await;
    let issuer = start(servers, &campaign).await;
    let users = Users::connect(issuer.addresses.public);
    let (users, _) = asked(users, requests(&campaign, 0..WARM_UP), b"200").await;
    let (users, of_a_winner) = asked(users, requests(&campaign, WARM_UP..WARM_UP + ROUNDS), b"200").await;
    let next = WARM_UP + ROUNDS;
    let (users, _) = asked(users, requests(&campaign, next..next + WARM_UP), b"400").await;
    let next = next + WARM_UP;
    let (_, of_a_loser) = asked(users, requests(&campaign, next..next + ROUNDS), b"400").await;
    issuer.shut_down().await.unwrap();
    vec![
        Measured { name: "allocations_per_winner_answered", value: of_a_winner },
        Measured { name: "allocations_per_loser_answered", value: of_a_loser },
    ]
}
