//! The pictures of the report. Pure.

use stack::plot::{Axis, Bars, Field, Kind as Colour};

use super::catalogue::{ALL, Answering, Kind, Load};
use super::figures::{ANSWERED, CaseOutcome, KAFKA_CPU, P50, P99, P999, REDIS_CPU, SERVER_CPU};
use super::spread::Spread;

/// A picture.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Its file, beside the document.
    pub(crate) file: &'static str,
    /// Below which title of the report it stands.
    pub(crate) section: &'static str,
    /// Above it.
    pub(crate) title: &'static str,
    /// Which cases it has.
    has: fn(Load) -> bool,
    fields: &'static [Part],
}

/// A field of a picture.
#[derive(Debug)]
struct Part {
    unit: &'static str,
    axis: Axis,
    figures: &'static [(Colour, &'static str)],
}

const fn colour(name: &'static str, colour: &'static str) -> Colour {
    Colour { name, colour }
}

// Colours with a contrast of 3 or more to white and to GitHub's dark ground.
const GREEN: &str = "#1f9d63";
const ORANGE: &str = "#d9702b";
const VIOLET: &str = "#8172e0";

/// All pictures.
pub(crate) const PICTURES: [Picture; 2] = [
    Picture {
        file: "bench-answers.svg",
        section: "Answers",
        title: "Answers, and the processor time of each",
        has: |load| matches!(load, Load::Closed | Load::SoldOut | Load::Again),
        fields: &[
            Part { unit: "answers a second", axis: Axis::Linear, figures: &[(colour("", GREEN), ANSWERED)] },
            Part {
                unit: "microseconds of processors for an answer",
                axis: Axis::Stacked,
                figures: &[
                    (colour("server", GREEN), SERVER_CPU),
                    (colour("Redis", ORANGE), REDIS_CPU),
                    (colour("Kafka", VIOLET), KAFKA_CPU),
                ],
            },
        ],
    },
    Picture {
        file: "bench-latency.svg",
        section: "Answers",
        title: "Latency by the rate of arrivals",
        has: |load| matches!(load, Load::Constant(_) | Load::Flash(_)),
        fields: &[Part {
            unit: "milliseconds from the time at which a request was due",
            axis: Axis::Logarithmic(1.0),
            figures: &[(colour("P50", GREEN), P50), (colour("P99", ORANGE), P99), (colour("P99.9", VIOLET), P999)],
        }],
    },
];

impl Picture {
    /// Whether there is anything to be seen on it.
    pub(crate) fn is_of(&self, outcomes: &[CaseOutcome]) -> bool {
        !self.cases(outcomes).is_empty()
    }

    /// As SVG. `footnote`: when and where.
    pub(crate) fn svg(&self, outcomes: &[CaseOutcome], footnote: &str) -> String {
        let cases = self.cases(outcomes);
        let field = |part: &Part| Field {
            unit: part.unit,
            axis: part.axis,
            kinds: part.figures.iter().map(|(kind, _)| *kind).collect(),
            rows: cases
                .iter()
                .map(|case| part.figures.iter().map(|(_, figure)| median(case, figure)).collect())
                .collect(),
        };
        let picture = Bars {
            title: self.title.to_owned(),
            description: format!("{}, case by case", self.title),
            names: cases.iter().map(|case| case.name.to_owned()).collect(),
            fields: self.fields.iter().map(field).collect(),
            footnote: footnote.to_owned(),
        };
        picture.svg()
    }

    /// Those with figures.
    fn cases<'a>(&self, outcomes: &'a [CaseOutcome]) -> Vec<&'a CaseOutcome> {
        let load = |name: &str| ALL.iter().find(|case| case.name == name).map(|case| case.kind);
        let has = |outcome: &&CaseOutcome| match load(outcome.name) {
            Some(Kind::Answering(Answering { load, .. })) => (self.has)(load) && median(outcome, ANSWERED).is_some(),
            _ => false,
        };
        outcomes.iter().filter(has).collect()
    }
}

fn median(outcome: &CaseOutcome, figure: &str) -> Option<f64> {
    Spread::of(outcome.figures(figure)).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Figures, Round};
    use super::super::sections::SECTIONS;
    use super::*;

    #[test]
    fn each_case_that_was_measured_is_on_the_picture_of_its_kind() {
        let round =
            |figures: &[(&'static str, f64)]| Round { figures: figures.iter().copied().collect(), wrong: Vec::new() };
        let bare = CaseOutcome { name: "bare", rounds: vec![round(&[(ANSWERED, 112_957.0), (SERVER_CPU, 10.2)])] };
        let fast =
            CaseOutcome { name: "fast-64", rounds: vec![Round { figures: Figures::new(), wrong: vec!["x".into()] }] };
        let slow =
            CaseOutcome { name: "constant-1k", rounds: vec![round(&[(ANSWERED, 999.0), (P50, 4.0), (P99, 12.0)])] };
        let [answers, latency] =
            PICTURES.map(|picture| picture.svg(&[bare.clone(), fast.clone(), slow.clone()], "here"));
        assert!(answers.contains(">bare<") && answers.contains(">112.96k<") && answers.contains(">10.2<"), "{answers}");
        assert!(!answers.contains(">fast-64<") && !answers.contains(">constant-1k<"), "{answers}");
        assert!(
            latency.contains(">constant-1k<") && latency.contains(">12<") && !latency.contains(">bare<"),
            "{latency}"
        );
        assert!(!PICTURES[1].is_of(&[bare]));
        assert!(PICTURES.iter().all(|picture| SECTIONS.iter().any(|(title, ..)| *title == picture.section)));
    }
}
