//! A Redis that is a few answers: a real one cannot be told another time, version or role.

use std::time::{SystemTime, UNIX_EPOCH};

use coupon_core::connections::RedisServer;
use operator::class::ClassConnections;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::connections;

/// What one that is as it should be says.
pub(crate) const INFO: &str = "redis_version:7.2.0\r\nredis_mode:standalone\r\nrun_id:ab\r\nmaster_replid:cd\r\nrole:master\r\n\
                        maxmemory_policy:noeviction\r\naof_enabled:1\r\n";

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// What it says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Says {
    pub(crate) info: String,
    pub(crate) cluster: String,
    pub(crate) offset_ms: i64,
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

impl Says {
    pub(crate) fn info(info: &str) -> Self {
        Self { info: info.to_owned(), ..Self::default() }
    }

    /// The stack's servers, but for this Redis.
    pub(crate) async fn serve(self) -> ClassConnections {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().answer(stream));
            }
        });
        let mut settings = connections();
        for each in [&mut settings.operator, &mut settings.workload] {
            each.redis.server = RedisServer::Address(address.clone());
            each.redis.login = Default::default();
        }
        settings
    }

    async fn answer(self, stream: TcpStream) -> std::io::Result<()> {
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
            let ms = now_ms() + self.offset_ms;
            let answer = match words[0].as_str() {
                "INFO" => bulk(&self.info),
                "CLUSTER" => bulk(&self.cluster),
                "TIME" => format!("*2\r\n{}{}", bulk(&(ms / 1000).to_string()), bulk(&(ms % 1000 * 1000).to_string())),
                "EVALSHA" => format!("*2\r\n{}*0\r\n", bulk(&ms.to_string())),
                _ => "+OK\r\n".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
