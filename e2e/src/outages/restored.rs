//! The database is put back to a backup from the middle of the sale: rows, the campaign's row and all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::{codes, failed, longest_gap_ms, waits, won_within};
use super::report::{Report, seconds};
use super::scenario::{Scenario, TestCase, play};
use crate::chaos::test_bed::TestBed;
use crate::install::run;
use crate::url::Url;
use crate::wait::until;

/// Users who come in a second.
const PER_SECOND: u64 = 40;
const STRETCH: Duration = Duration::from_secs(90);
/// When the backup is made.
const BACKUP: Duration = Duration::from_secs(15);
/// When it is put back.
const RESTORE: Duration = Duration::from_secs(45);
/// Within this time after that every winner of before is a row again.
const WHOLE: Duration = Duration::from_secs(60);
/// How long it is waited for all the same, to have a figure.
const WAIT: Duration = Duration::from_secs(240);
/// The longest time of one command.
const COMMAND_SECONDS: &str = "30";

/// A sale whose database forgets half a minute of it.
pub async fn database(bed: &TestBed, evidence: &Path) -> Result<Report> {
    let people = STRETCH.as_secs() * PER_SECOND;
    let scenario = Scenario {
        name: "database-restored".to_owned(),
        coupons: people - people / 20,
        users: usize::try_from(people)?,
        stretch: STRETCH,
        issuers: 2,
    };
    let played = play(bed, &scenario, evidence, async |case| {
        let backup = Backup::of(case)?;
        case.at(BACKUP).await;
        backup.make().await?;
        let kept = case.rows().await?;
        case.say(&format!("a backup with at least {} rows is made", kept.min(case.rows().await?)));
        case.at(RESTORE).await;
        let winners = case.bed.sources(case.open).await?.members(&case.open.campaign).await?;
        let before = case.rows().await?;
        backup.put_back().await?;
        let (since, back) = (case.now_ms(), case.rows().await?);
        case.say(&format!("it is put back: {before} rows were there, {back} are; {} people have won", winners.len()));
        ensure!(back < before, "the backup took no row away: nothing is shown");
        until("a row for every winner of before", WAIT, async || {
            let rows = case.bed.sources.rows(&case.open.campaign).await.map_err(|error| format!("{error:#}"))?;
            let missing = winners.iter().filter(|winner| !rows.contains(winner)).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
        })
        .await?;
        let whole_ms = case.now_ms() - since;
        case.say("every winner of before is a row again");
        Ok((since..case.now_ms(), before - back, whole_ms))
    })
    .await?;
    let ((time, taken, whole_ms), answers, mut report) = (played.acted, &played.answers, played.report);
    report.figure("rows_taken_away", taken);
    report.figure("whole_again", seconds(Some(whole_ms)));
    report.figure("won_meanwhile", won_within(&waits(answers), &time));
    report.figure("longest_silence", seconds(Some(longest_gap_ms(answers, &time))));
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    let within = WHOLE.as_secs();
    report.claim(u128::from(whole_ms) <= WHOLE.as_millis(), format!("not whole again within {within} s"));
    Ok(report)
}

/// A dump of the product's database, made and put back with the tools of the server.
struct Backup {
    login: [String; 4],
    database: String,
    file: PathBuf,
}

impl Backup {
    fn of(case: &TestCase<'_>) -> Result<Self> {
        let url = Url::parse(case.bed.connections.database.as_deref().context("the stack has no database")?)?;
        let (host, port) = url.address.rsplit_once(':').context("the database has no port")?;
        let login = [
            format!("--host={host}"),
            format!("--port={port}"),
            format!("--user={}", url.user),
            format!("--password={}", url.password),
        ];
        Ok(Self { login, database: url.path, file: case.bed.connections.state.join("backup.sql") })
    }

    async fn make(&self) -> Result<()> {
        let file = format!("--result-file={}", self.file.display());
        let options =
            ["--single-transaction", "--skip-lock-tables", "--hex-blob", "--no-tablespaces", &file, &self.database];
        self.tool("mariadb-dump", &options, None).await
    }

    async fn put_back(&self) -> Result<()> {
        let dump = tokio::fs::read_to_string(&self.file).await.context("there is no backup")?;
        self.tool("mariadb", &[&self.database], Some(dump)).await
    }

    async fn tool(&self, program: &str, options: &[&str], input: Option<String>) -> Result<()> {
        let mut arguments = vec![COMMAND_SECONDS, program];
        arguments.extend(self.login.iter().map(String::as_str));
        arguments.extend(options);
        run("timeout", &arguments, input.as_deref()).await.map(drop)
    }
}
