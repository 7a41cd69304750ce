//! A coordinator that moves while its former broker lives: librdkafka's own mock brokers show what a cluster of one cannot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unsafe_code, reason = "rdkafka does not bind the mock brokers' errors one by one")]

use std::time::{Duration, Instant};

use coupon_kafka_admin::{AdminError, KafkaAdmin};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCoordinator;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;

const GROUP: &str = "prod.shop.spring.coupon-consumer";
const TOPIC: &str = "prod.shop.spring.coupon-events";
/// As often as the operator asks: often enough that what librdkafka believes never grows old.
const EVERY: Duration = Duration::from_millis(500);

async fn committed(admin: &KafkaAdmin) -> Result<(), AdminError> {
    admin.committed_offsets(GROUP, TOPIC, 2).await.map(drop)
}

/// So often in a row the offsets must be readable, to be so for good.
const IN_A_ROW: u32 = 6;
/// Until then this may take, on a busy machine, too. A client that is kept does not see it for as long as one cares to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the offsets are readable for good.
async fn readable(admin: &KafkaAdmin) -> Result<(), String> {
    let (begun, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < IN_A_ROW {
        in_a_row += 1;
        if let Err(error) = committed(admin).await {
            println!("{:?}: {error}", begun.elapsed());
            in_a_row = 0;
            if begun.elapsed() > PATIENCE {
                return Err(format!("not within {} s: {error}", PATIENCE.as_secs()));
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// `OffsetFetch` and `NOT_COORDINATOR` of Kafka's protocol.
const OFFSET_FETCH: i16 = 9;
const NOT_COORDINATOR: i32 = 16;
/// More than anybody asks in [`PATIENCE`]: librdkafka asks again after 100 ms.
const REFUSALS: usize = 3_000;

/// Mock brokers, of which any may say that it is not the coordinator; by themselves they answer whoever asks.
struct Brokers(BaseProducer);

impl Brokers {
    fn new() -> Self {
        let brokers = Self(ClientConfig::new().set("test.mock.num.brokers", "3").create().unwrap());
        brokers.0.client().mock_cluster().unwrap().create_topic(TOPIC, 2, 3).unwrap();
        brokers
    }

    fn bootstrap(&self) -> String {
        self.0.client().mock_cluster().unwrap().bootstrap_servers()
    }

    fn coordinator(&self, broker: i32) {
        let cluster = self.0.client().mock_cluster().unwrap();
        cluster.coordinator(MockCoordinator::Group(GROUP.to_owned()), broker).unwrap();
    }

    /// The next answers of this broker to whoever asks it for offsets.
    fn says_no(&self, broker: i32, times: usize) {
        // SAFETY: the producer, and with it its brokers, lives as long as `self`.
        let cluster = unsafe { sys::rd_kafka_handle_mock_cluster(self.0.client().native_ptr()) };
        for _ in 0..times {
            // SAFETY: the cluster is valid, and the two variable arguments are those that one error takes: code and delay.
            let pushed = unsafe {
                sys::rd_kafka_mock_broker_push_request_error_rtts(cluster, broker, OFFSET_FETCH, 1, NOT_COORDINATOR, 0)
            };
            assert_eq!(pushed, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
}

/// Would fail if the client that first found the coordinator were kept.
#[tokio::test]
async fn a_group_whose_coordinator_moved_can_be_read_again() {
    let brokers = Brokers::new();
    brokers.coordinator(1);
    let admin = KafkaAdmin::new(ClientConfig::new().set("bootstrap.servers", brokers.bootstrap())).unwrap();
    let admin = admin.within(Duration::from_secs(5));
    committed(&admin).await.unwrap();
    let before = admin.requests();

    // As in a rolling restart with a preferred election after it: the broker before lives, and says no.
    for (from, to) in [(1, 2), (2, 3)] {
        brokers.coordinator(to);
        brokers.says_no(from, REFUSALS);
        readable(&admin).await.unwrap_or_else(|error| panic!("from {from} to {to}: {error}"));
    }
    assert!(admin.requests() > before, "requests are counted over all clients");
}
