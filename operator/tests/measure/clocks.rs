//! A Redis whose clock is wrong. A real one cannot be told another time, so this one is a few answers.

use std::time::{SystemTime, UNIX_EPOCH};

use campaign::settings::RedisServer;
use operator::measure::clocks::Time;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{class, connections, look};

const INFO: &str = "redis_version:7.2.0\r\nredis_mode:standalone\r\nrun_id:ab\r\nmaster_replid:cd\r\nrole:master\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\n";

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn serve(stream: TcpStream, offset_ms: i64) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
        let mut words = Vec::new();
        for _ in 0..head.trim().trim_start_matches('*').parse::<usize>().unwrap() {
            let mut length = String::new();
            stream.read_line(&mut length).await?;
            let mut word = vec![0; length.trim().trim_start_matches('$').parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut word).await?;
            words.push(String::from_utf8_lossy(&word[..word.len() - 2]).to_uppercase());
        }
        let ms = now_ms() + offset_ms;
        let answer = match words[0].as_str() {
            "INFO" => format!("${}\r\n{INFO}\r\n", INFO.len()),
            "TIME" => {
                let (seconds, micros) = ((ms / 1000).to_string(), (ms % 1000 * 1000).to_string());
                format!("*2\r\n${}\r\n{seconds}\r\n${}\r\n{micros}\r\n", seconds.len(), micros.len())
            }
            "EVALSHA" => format!("*2\r\n${}\r\n{ms}\r\n*0\r\n", ms.to_string().len()),
            _ => "+OK\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Its address.
async fn redis_with_a_clock(offset_ms: i64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, offset_ms));
        }
    });
    address
}

/// Wrong: Redis' clock is two hours off, the sale ends or does not begin, and everything says Ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_has_witnesses() {
    const HOUR: i64 = 3_600_000;
    for (offset_ms, reason, says, believed) in [
        (0, "WithinASecond", "", true),
        (3_500, "ClocksApart", "Redis is", true),
        (2 * HOUR, "ClocksFarApart", "Redis is 2 h ahead of the operator", false),
        (-2 * HOUR, "ClocksFarApart", "Redis is 2 h behind the operator", false),
    ] {
        let mut settings = connections();
        let address = redis_with_a_clock(offset_ms).await;
        for each in [&mut settings.operator, &mut settings.workload] {
            each.redis.server = RedisServer::Address(address.clone());
            each.redis.login = Default::default();
        }
        let measured = look(&settings, &class("clocks")).await;
        let report = measured.clocks.report();
        assert_eq!(report.reason, reason, "{offset_ms} ms: {}", report.message);
        assert!(report.message.contains(says), "{}", report.message);
        // And what a pass makes of it, with the database as the third.
        let heard = measured.clocks.witnesses(now_ms(), std::time::Instant::now());
        assert!(heard.database_ms.is_some());
        let time = Time::judge(Some(now_ms() + offset_ms), &heard);
        assert_eq!(time.doubt.is_none(), believed, "{time:?}");
        assert!((time.now_ms - now_ms()).abs() < 5_000, "{time:?}");
    }
}
