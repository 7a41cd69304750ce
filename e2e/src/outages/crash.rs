//! The operator dies at each point of its protocol, in every life until the failpoints ends; then the sale must go on, and end
//! exact.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_core::failpoints::CrashPoint;
use stack::table::Table;

use super::fault_injector::{CRASH_AT, FaultInjector, flush, orphans};
use super::report::{Report, seconds};
use crate::chaos::checker::{Violation, check};
use crate::chaos::load::{Answer, LoadGenerator, time_to_issue_again};
use crate::chaos::report::save_evidence;
use crate::chaos::test_bed::{OpenSale, SETTLE, TestBed, millis};

/// Every point that the operator passes.
pub const POINTS: [CrashPoint; 8] = [
    CrashPoint::AfterAllot,
    CrashPoint::AfterFence,
    CrashPoint::AfterBarrier,
    CrashPoint::AfterRead,
    CrashPoint::AfterChunk,
    CrashPoint::BeforeSwap,
    CrashPoint::AfterSwap,
    CrashPoint::AfterRepublish,
];
/// How long one request may take, and how long clients go on asking.
const REQUEST: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(240);

/// How large a sale is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Coupons.
    pub coupons: u64,
    /// Winners before the operator is needed. Chunks hold 500.
    pub before: usize,
    /// The time over which people arrive, those of `before` and then the others.
    pub stretch: Duration,
}

/// What one crash came to.
#[derive(Debug)]
pub struct Crashed {
    /// Where.
    pub point: CrashPoint,
    /// How often the operator died there and was started again.
    pub deaths: i32,
    /// From the end of the failpoints until a new rank was heard, milliseconds.
    pub again_ms: Option<u64>,
    /// Rows in the end.
    pub rows: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

/// All points, or one.
pub async fn all(bed: &TestBed, points: &[CrashPoint], evidence: &Path) -> Result<Report> {
    let size = Size { coupons: 2_000, before: 1_200, stretch: Duration::from_secs(4) };
    let mut table = Table::new(&["operator died", "deaths", "issuing again", "rows", "violations"]);
    let mut crashed = Vec::new();
    for point in points {
        let found = one(bed, *point, size, &evidence.join(point.to_string())).await?;
        table.row(cells(&found));
        println!("{}", table.lines().pop().unwrap_or_default());
        crashed.push(found);
    }
    println!("\n{}", table.text());
    let mut report = Report::new("operator-crash");
    report.figure("points", crashed.len());
    report.figure("deaths", crashed.iter().map(|each| each.deaths).sum::<i32>());
    let violations: Vec<Violation> = crashed.into_iter().flat_map(|each| each.violations).collect();
    report.promise(&violations);
    Ok(report)
}

fn cells(crashed: &Crashed) -> [String; 5] {
    let Crashed { point, deaths, again_ms, rows, violations } = crashed;
    [point.to_string(), deaths.to_string(), seconds(*again_ms), rows.to_string(), violations.len().to_string()]
}

/// One sale whose operator dies at `point`.
pub async fn one(bed: &TestBed, point: CrashPoint, size: Size, evidence: &Path) -> Result<Crashed> {
    let operator = FaultInjector::operator(&bed.kubernetes);
    let name = format!("{point}-{:x}", jiff::Timestamp::now().as_millisecond());
    let open = bed.open(&name, size.coupons, 1).await?;
    let crashed = sabotaged(bed, &open, &operator, point, size, evidence).await;
    // Also after an error: the stack is used again.
    operator.set(CRASH_AT, None).await.context("the operator could not be mended")?;
    bed.close(open).await?;
    crashed
}

async fn sabotaged(
    bed: &TestBed,
    open: &OpenSale,
    operator: &FaultInjector,
    point: CrashPoint,
    size: Size,
    evidence: &Path,
) -> Result<Crashed> {
    let begin = Instant::now();
    let load = LoadGenerator::new(open.issuer(REQUEST)?, begin);
    let names = |from: usize, to: usize| (from..to).map(|number| format!("user-{number:05}")).collect::<Vec<_>>();
    load.arrive(names(0, size.before), begin, size.stretch, begin + PATIENCE).await;
    // In the middle of the temporary keys, not after the last of them.
    let at = if point == CrashPoint::AfterChunk { format!("{point}:2") } else { point.to_string() };
    operator.set(CRASH_AT, Some(&at)).await?;
    match point {
        CrashPoint::AfterRepublish => orphans(bed, open, 30).await?,
        _ => flush(bed, open).await?,
    }
    // They ask while nobody may grant, and while the operator dies.
    let everybody = usize::try_from(size.coupons)? * 11 / 10;
    let now = Instant::now();
    let rest = load.arrive(names(size.before, everybody), now, size.stretch, now + PATIENCE);
    let mending = async {
        let deaths = operator.died_at(point).await?.max(operator.restarts().await?);
        operator.set(CRASH_AT, None).await?;
        Ok::<_, anyhow::Error>((deaths, load.now_ms()))
    };
    let ((), mended) = tokio::join!(rest, mending);
    let (deaths, mended_ms) = mended?;
    bed.settle(open, &load, size.coupons, SETTLE).await?;
    let (answers, ledger) = (load.answers(), bed.ledger(open).await?);
    let violations = check(size.coupons, &answers, &ledger);
    if !violations.is_empty() {
        save_evidence(&open.sale.name, &answers, &ledger, &bed.namespace, evidence).await?;
    }
    Ok(Crashed { point, deaths, again_ms: again_ms(&answers, mended_ms), rows: ledger.rows.len(), violations })
}

fn again_ms(answers: &[Answer], mended_ms: u64) -> Option<u64> {
    time_to_issue_again(answers, mended_ms).map(millis)
}
