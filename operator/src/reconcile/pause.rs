//! What somebody on call says about the numbers of pods, by an annotation of the campaign. Pure.

use crate::api::CouponCampaign;

/// The annotation: `in` (no pod is taken away), `out` (none is added), `all` or `true` (neither).
pub const PAUSE_ANNOTATION: &str = "coupon-operator.io/pause-scaling";

/// What is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause<'a> {
    /// No pod is taken away.
    In,
    /// None is added.
    Out,
    /// Neither.
    All,
    /// What was meant is not known, and may have been any of them: neither.
    NotUnderstood(&'a str),
}

impl<'a> Pause<'a> {
    /// As the campaign says; `None`: nothing is paused.
    pub(super) fn of(campaign: &'a CouponCampaign) -> Option<Self> {
        let text = campaign.metadata.annotations.as_ref()?.get(PAUSE_ANNOTATION)?;
        Some(match text.as_str() {
            "in" => Self::In,
            "out" => Self::Out,
            "all" | "true" => Self::All,
            other => Self::NotUnderstood(other),
        })
    }

    /// Whether a change from `current` to `wanted` pods is not to be made. From nothing pods are always brought up: a sale begins, even
    /// if the numbers were paused before it had any.
    pub(super) fn stops(self, current: i32, wanted: i32) -> bool {
        let (more, fewer) = (wanted > current && current > 0, wanted < current);
        match self {
            Self::In => fewer,
            Self::Out => more,
            Self::All | Self::NotUnderstood(_) => more || fewer,
        }
    }

    /// A stable word for programs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::In | Self::Out | Self::All => "Paused",
            Self::NotUnderstood(_) => "PauseNotUnderstood",
        }
    }

    /// In words.
    pub(super) fn text(self) -> String {
        let held = match self {
            Self::In => "in: no pod is taken away",
            Self::Out => "out: no pod is added",
            Self::All => "all: the numbers of pods stay",
            Self::NotUnderstood(other) => {
                return format!(
                    "annotation {PAUSE_ANNOTATION} is {other:?}: write in, out or all, or remove it; until then the numbers of \
                     pods stay"
                );
            }
        };
        format!("annotation {PAUSE_ANNOTATION} says {held}, until it is removed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Wrong: what was meant to hold a sale's pods keeps it from ever having any.
    #[test]
    fn what_a_pause_stops() {
        for (text, up, down, from_nothing, reason) in [
            ("in", false, true, false, "Paused"),
            ("out", true, false, false, "Paused"),
            ("all", true, true, false, "Paused"),
            ("true", true, true, false, "Paused"),
            ("false", true, true, false, "PauseNotUnderstood"),
            ("In", true, true, false, "PauseNotUnderstood"),
            ("", true, true, false, "PauseNotUnderstood"),
        ] {
            let mut campaign = fixtures::campaign();
            campaign.metadata.annotations.get_or_insert_default().insert(PAUSE_ANNOTATION.to_owned(), text.to_owned());
            let pause = Pause::of(&campaign).unwrap();
            let stops = (pause.stops(2, 3), pause.stops(2, 1), pause.stops(0, 2));
            assert_eq!((stops, pause.reason()), ((up, down, from_nothing), reason), "{text}");
            assert!(!pause.stops(2, 2), "{text}: there is nothing to stop");
        }
        assert_eq!(Pause::of(&fixtures::campaign()), None);
    }
}
