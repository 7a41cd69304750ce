//! How records lie in Kafka's log. A producer of ours sends one batch of one partition with each produce request, and the log keeps it
//! as it came: batches are requests.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The head of a batch as all brokers write it since 0.11: how far it goes, its version, and last its number of records.
const HEAD: usize = 61;
const LENGTH: std::ops::Range<usize> = 8..12;
const MAGIC: usize = 16;
const RECORDS: std::ops::Range<usize> = 57..61;
/// Bytes before those that the length counts.
const BEFORE: u64 = 12;

/// Batches and records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Batches {
    /// How many batches.
    pub(crate) batches: u64,
    /// How many records.
    pub(crate) records: u64,
}

impl Batches {
    /// Records of each batch that came since `before`.
    pub(crate) fn records_each_since(&self, before: Self) -> Option<f64> {
        let batches = self.batches.saturating_sub(before.batches);
        let each = self.records.saturating_sub(before.records) as f64 / batches as f64;
        // Of no batches there is none.
        each.is_finite().then_some(each)
    }
}

/// Counts what is in the log of a topic, in the broker's folder of data.
///
/// # Errors
/// The log cannot be read, or is written in another way.
pub(crate) fn count(data: &Path, topic: &str) -> Result<Batches> {
    let mut all = Batches::default();
    for entry in std::fs::read_dir(data).with_context(|| format!("cannot read {}", data.display()))? {
        let folder = entry?;
        let name = folder.file_name().to_string_lossy().into_owned();
        let partition = name.strip_prefix(topic).and_then(|rest| rest.strip_prefix('-'));
        if partition.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        for entry in std::fs::read_dir(folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let file = File::open(&path)?;
                add(file, &mut all).with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
    }
    Ok(all)
}

fn add(mut log: impl Read + Seek, all: &mut Batches) -> Result<()> {
    let (mut head, mut at) = ([0; HEAD], 0_u64);
    loop {
        log.seek(SeekFrom::Start(at))?;
        match log.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let number = |range: std::ops::Range<usize>| {
            let bytes: [u8; 4] = head[range].try_into()?;
            Ok::<_, anyhow::Error>(u32::from_be_bytes(bytes))
        };
        let (length, records) = (number(LENGTH)?, number(RECORDS)?);
        if length == 0 {
            // Room that the broker has set aside.
            return Ok(());
        }
        ensure!(head[MAGIC] == 2, "a batch is of version {}", head[MAGIC]);
        all.batches += 1;
        all.records += u64::from(records);
        at += BEFORE + u64::from(length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn batch(records: u32, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEAD + body];
        let length = u32::try_from(bytes.len()).unwrap() - 12;
        bytes[LENGTH].copy_from_slice(&length.to_be_bytes());
        bytes[MAGIC] = 2;
        bytes[RECORDS].copy_from_slice(&records.to_be_bytes());
        bytes
    }

    #[test]
    fn batches_and_their_records_are_counted() {
        let mut all = Batches::default();
        let log = [batch(3, 100), batch(47, 5000), batch(1, 0)].concat();
        add(Cursor::new(log), &mut all).unwrap();
        assert_eq!(all, Batches { batches: 3, records: 51 });
        add(Cursor::new([&batch(9, 10)[..], &[0; 200]].concat()), &mut all).unwrap();
        assert_eq!(all, Batches { batches: 4, records: 60 });
        // One that is just being written.
        add(Cursor::new(&batch(9, 10)[..40]), &mut all).unwrap();
        assert_eq!(all.records_each_since(Batches { batches: 3, records: 51 }), Some(9.0));
        assert_eq!(all.records_each_since(all), None);
        assert!(add(Cursor::new([1_u8; 100]), &mut all).is_err());
    }

    #[test]
    fn only_the_partitions_of_the_topic_count() {
        let data = std::env::temp_dir().join(format!("coupon-bench-log-{}", std::process::id()));
        for (folder, records) in [("a.b-0", 2), ("a.b-1", 3), ("a.b.DLT-0", 9), ("a.b-c-0", 9)] {
            std::fs::create_dir_all(data.join(folder)).unwrap();
            std::fs::write(data.join(folder).join("00000000000000000000.log"), batch(records, 8)).unwrap();
            std::fs::write(data.join(folder).join("00000000000000000000.index"), "x").unwrap();
        }
        assert_eq!(count(&data, "a.b").unwrap(), Batches { batches: 2, records: 5 });
        std::fs::remove_dir_all(&data).unwrap();
    }
}
