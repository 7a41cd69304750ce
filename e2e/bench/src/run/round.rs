//! One round of one case, whatever it is.

use std::time::Duration;

use anyhow::{Result, bail};

use super::catalogue::{Case, Kind};
use super::figures::{
    ANSWERED, ERRORS, GOODPUT, LAST_ROW, P50, P99, PUT_OFF_P99, REBUILD, RECOVERED, ROWS, Round, SELL_OUT, SERVER_CPU,
};
use super::spread::shown;
use super::stage::Stage;
use super::{answering, overload, rebuild, sale, storing};

/// How long any round may take. What it waits for has nearer deadlines of its own.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Runs it. What fails is a round that does not count.
pub(crate) async fn run(stage: &Stage, case: &Case, number: u32) -> Round {
    // A campaign of its own: nothing is left of the one before.
    let name = format!("{}-r{number}", case.name);
    let round = match tokio::time::timeout(LONGEST, measure(stage, case.kind, &name)).await {
        Ok(round) => round,
        Err(_) => too_long(),
    };
    round.unwrap_or_else(|error| Round { wrong: vec![format!("{error:#}")], ..Round::default() })
}

async fn measure(stage: &Stage, kind: Kind, name: &str) -> Result<Round> {
    match kind {
        Kind::Answering(case) => answering::run(stage, &case, name).await,
        Kind::Consumer => storing::consumer(stage, name).await,
        Kind::ManyRows => storing::many(stage, name).await,
        Kind::RowByRow => storing::one_by_one(stage, name).await,
        Kind::Sale => sale::run(stage, name).await,
        Kind::Rebuild => rebuild::run(stage, name).await,
        Kind::Overload(bottleneck) => overload::run(stage, bottleneck, name).await,
    }
}

fn too_long() -> Result<Round> {
    bail!("not within {} s", LONGEST.as_secs())
}

/// A line about it, while the others go on.
pub(crate) fn line(case: &Case, round: &Round) -> String {
    const SHOWN: [(&str, &str, &str); 12] = [
        (ANSWERED, "", " answers/s"),
        (P50, "P50 ", " ms"),
        (P99, "P99 ", " ms"),
        (SERVER_CPU, "server ", " us each"),
        (ERRORS, "", " errors"),
        (ROWS, "", " rows/s"),
        (SELL_OUT, "sold out after ", " s"),
        (LAST_ROW, "last row ", " s later"),
        (REBUILD, "rebuilt in ", " s"),
        (GOODPUT, "goodput ", " of the best"),
        (PUT_OFF_P99, "refused within ", " ms"),
        (RECOVERED, "recovered after ", " s"),
    ];
    let figure = |(name, before, behind): &(&str, &str, &str)| {
        let figure = round.figures.get(name).filter(|figure| **figure != 0.0 || *name != ERRORS)?;
        Some(format!("{before}{}{behind}", shown(*figure)))
    };
    let mut parts: Vec<String> = SHOWN.iter().filter_map(figure).collect();
    parts.extend(round.wrong.iter().map(|why| format!("DOES NOT COUNT: {why}")));
    format!("{:<18}  {}", case.name, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::ALL;
    use super::super::figures::Figures;
    use super::*;

    #[test]
    fn a_line_says_what_matters() {
        let figures = Figures::from([(ANSWERED, 23_456.0), (P99, 12.3), (ERRORS, 0.0)]);
        let mut round = Round { figures, wrong: Vec::new() };
        assert_eq!(line(&ALL[0], &round), "bare                23,456 answers/s, P99 12.3 ms");
        round.figures.insert(ERRORS, 3.0);
        round.wrong.push("a rank was told twice".to_owned());
        assert!(line(&ALL[0], &round).ends_with("P99 12.3 ms, 3 errors, DOES NOT COUNT: a rank was told twice"));
    }
}
