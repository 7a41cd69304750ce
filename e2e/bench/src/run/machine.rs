//! Where and with what was measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::stage::Stage;

const UNKNOWN: &str = "unknown";

/// Where and with what was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// When it began.
    pub(crate) date: String,
    /// Processors that this process may use.
    pub(crate) cores: usize,
    /// What they call themselves.
    pub(crate) processor: String,
    /// Linux.
    pub(crate) kernel: String,
    /// The commit of the sources, if this is a clone.
    pub(crate) commit: String,
    /// Redis.
    pub(crate) redis: String,
    /// Kafka.
    pub(crate) kafka: String,
    /// MariaDB.
    pub(crate) mariadb: String,
    /// The Kafka client.
    pub(crate) librdkafka: String,
}

impl Machine {
    /// Asks the machine and the servers.
    ///
    /// # Errors
    /// A server does not answer.
    pub(crate) async fn read(stage: &Stage) -> Result<Self> {
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut stage.redis().await?).await?;
        let redis = info.lines().find_map(|line| line.trim_end().strip_prefix("redis_version:"));
        let (mariadb,): (String,) = sqlx::query_as("SELECT VERSION()").fetch_one(&stage.systems.sql).await?;
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor(&processors).unwrap_or(UNKNOWN).to_owned(),
            kernel: kernel.trim().to_owned(),
            commit: commit().unwrap_or_else(|| UNKNOWN.to_owned()),
            redis: redis.unwrap_or(UNKNOWN).to_owned(),
            kafka: kafka(stage.pids()?.kafka).unwrap_or_else(|| UNKNOWN.to_owned()),
            mariadb,
            librdkafka: rdkafka::util::get_rdkafka_version().1,
        })
    }
}

fn processor(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}

/// A broker's version is in the names of the libraries that its process was started with.
fn kafka(pid: u32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut found = std::fs::read_dir(libraries(&line)?).ok()?;
    found.find_map(|entry| version(&entry.ok()?.file_name().to_string_lossy()).map(str::to_owned))
}

/// The folder of a command line's class path, which ends with `/*`.
fn libraries(line: &[u8]) -> Option<PathBuf> {
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.find(|word| word == "-cp")?;
    let path = words.next()?;
    Some(Path::new(path.strip_suffix("/*")?).to_owned())
}

fn version(library: &str) -> Option<&str> {
    library
        .strip_prefix("kafka-clients-")?
        .strip_suffix(".jar")
        .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_s_version_is_that_of_its_libraries() {
        assert_eq!(libraries(b"java\0-Xmx512m\0-cp\0/opt/kafka/libs/*\0kafka.Kafka\0"), Some("/opt/kafka/libs".into()));
        assert_eq!(libraries(b"java\0kafka.Kafka\0"), None);
        assert_eq!(version("kafka-clients-4.1.0.jar"), Some("4.1.0"));
        assert_eq!((version("kafka-clients-test.jar"), version("kafka-server-4.1.0.jar")), (None, None));
    }

    #[test]
    fn a_processor_says_what_it_is() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), Some("Some CPU @ 2 GHz"));
    }
}
