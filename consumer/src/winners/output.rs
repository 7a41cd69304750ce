//! Where a list goes, and how it is written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use coupon_core::event::CouponIssued;
use serde_json::json;

/// Standard output, of which every failure to write is seen. That of the standard library passes over a descriptor that is closed, or open
/// for reading only.
///
/// # Errors
/// It was closed when the program was started.
pub fn stdout() -> io::Result<File> {
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if was_closed(&mut out) {
        return Err(io::Error::other(
            "stdout was closed when the program was started (or is /dev/null, opened for reading as well): give it a file or a pipe",
        ));
    }
    Ok(out)
}

/// Before `main` Rust opens `/dev/null` for reading and writing in place of a descriptor that is closed. Whoever wants the exit code alone
/// gives `>/dev/null`, which a shell opens for writing only.
fn was_closed(out: &mut File) -> bool {
    let (Ok(own), Ok(null)) = (out.metadata(), std::fs::metadata("/dev/null")) else { return false };
    own.file_type().is_char_device() && own.rdev() == null.rdev() && matches!(out.read(&mut [0]), Ok(0))
}

/// The list while it is written.
pub(super) enum List<'a, W: Write> {
    Csv(Box<csv::Writer<&'a mut W>>),
    JsonLines(&'a mut W),
}

impl<'a, W: Write> List<'a, W> {
    /// Begins it.
    pub(super) fn new(out: &'a mut W, json: bool) -> io::Result<Self> {
        if json {
            return Ok(Self::JsonLines(out));
        }
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["rank", "userId", "n", "issuedAt"])?;
        Ok(Self::Csv(Box::new(csv)))
    }

    /// Writes the next winner. Times have three digits of a second, always.
    pub(super) fn add(&mut self, winner: &CouponIssued) -> io::Result<()> {
        let CouponIssued { rank, user_id, n, occurred_at, .. } = winner;
        let issued_at = format!("{occurred_at:.3}");
        match self {
            Self::Csv(csv) => {
                csv.write_record([&rank.to_string(), user_id.as_str(), &n.to_string(), &issued_at])?;
            }
            Self::JsonLines(out) => {
                let line = json!({ "rank": rank, "userId": user_id.as_str(), "n": n, "issuedAt": issued_at });
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// Ends it: all of it was taken.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut csv) => csv.flush(),
            Self::JsonLines(out) => out.flush(),
        }
    }
}
