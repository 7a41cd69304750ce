//! Says what was done.

use std::collections::BTreeSet;
use std::io::{self, Write};

use coupon_core::identity::{CampaignId, UserId};
use serde_json::json;

use super::args::Forget;
use crate::rights::{self, Missing};

/// What was done in one campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The campaign.
    pub campaign: CampaignId,
    /// Coupons that were, or would be, put under pseudonyms.
    pub coupons: u64,
    /// Dead letters of the user.
    pub letters: u64,
    /// The pseudonyms.
    pub pseudonyms: BTreeSet<UserId>,
    /// What is left to do.
    pub trouble: Option<Trouble>,
}

/// Why not all is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Who is forgotten could win again.
    #[error(
        "nothing was done: coupons can be had until {}, and who is forgotten is a new user, who may win again; wait, or say --while-open",
        jiff::Timestamp::from_millisecond(*end_ms).map_or_else(|_| end_ms.to_string(), |end| end.to_string())
    )]
    StillOpen {
        /// End of the window, milliseconds since 1970.
        end_ms: i64,
    },
    /// The user went on winning.
    #[error("the user goes on winning coupons; run it again when they have stopped, or when the window is over")]
    WinsAgain,
    /// Dead letters could not be rewritten.
    #[error("the dead letters still name the user: {0}; correct that and run it again")]
    LettersStay(String),
    /// A system failed.
    #[error("broken off: {error}; {done}; running it again is safe, and finishes it")]
    BrokenOff {
        /// What has been changed by then.
        done: ForgetProgress,
        /// What failed.
        error: String,
    },
    /// It broke off in a campaign before this one.
    #[error("not begun, as it broke off before: nothing was done here")]
    NotBegun,
}

/// How far it came in a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForgetProgress {
    /// Nothing was changed.
    Nothing,
    /// The database knows the pseudonym.
    Database,
    /// Redis too.
    DatabaseAndRedis,
}

impl std::fmt::Display for ForgetProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing was done here",
            Self::Database => {
                "the database has the pseudonym, by which all go who read the former id; Redis and the dead letters still name the user"
            }
            Self::DatabaseAndRedis => {
                "database and Redis have the pseudonym; the dead letters, and what was won meanwhile, may still name the user"
            }
        })
    }
}

impl Trouble {
    fn name(&self) -> &'static str {
        match self {
            Self::StillOpen { .. } => "StillOpen",
            Self::WinsAgain => "WinsAgain",
            Self::LettersStay(_) => "DeadLettersStay",
            Self::BrokenOff { .. } => "BrokenOff",
            Self::NotBegun => "NotBegun",
        }
    }

    /// Whether it says all that there is to say.
    fn is_all(&self) -> bool {
        match self {
            Self::StillOpen { .. } | Self::BrokenOff { .. } | Self::NotBegun => true,
            Self::WinsAgain | Self::LettersStay(_) => false,
        }
    }
}

impl Report {
    /// Nothing was done yet.
    pub(super) fn of(campaign: &CampaignId) -> Self {
        Self { campaign: campaign.clone(), coupons: 0, letters: 0, pseudonyms: BTreeSet::new(), trouble: None }
    }

    /// Whether nothing of the user was found.
    pub(super) fn is_empty(&self) -> bool {
        self.coupons + self.letters == 0
    }
}

/// Says which rights are missing.
pub(super) fn refuse(missing: &BTreeSet<Missing>, wanted: &Forget, out: &mut impl Write) -> io::Result<()> {
    if !wanted.place.json {
        return writeln!(out, "{}", rights::refusal(missing));
    }
    let all: Vec<_> = missing.iter().map(Missing::as_json).collect();
    writeln!(out, "{}", json!({ "dryRun": wanted.dry_run, "campaigns": [], "missingRights": all }))
}

/// Writes what was done, a line for each campaign, or JSON. The user's id is not repeated: output is kept.
pub(super) fn write(reports: &[Report], wanted: &Forget, out: &mut impl Write) -> io::Result<()> {
    if wanted.place.json {
        let all: Vec<_> = reports
            .iter()
            .map(|report| {
                json!({
                    "campaign": report.campaign.to_string(), "coupons": report.coupons, "deadLetters": report.letters,
                    "pseudonyms": report.pseudonyms.iter().map(UserId::as_str).collect::<Vec<_>>(),
                    "trouble": report.trouble.as_ref().map(|why| json!({ "name": why.name(), "text": why.to_string() })),
                })
            })
            .collect();
        return writeln!(out, "{}", json!({ "dryRun": wanted.dry_run, "campaigns": all }));
    }
    for report in reports {
        let Report { campaign, coupons, letters, pseudonyms, trouble } = report;
        let names: Vec<&str> = pseudonyms.iter().map(UserId::as_str).collect();
        let what = match (coupons + letters, wanted.dry_run) {
            _ if trouble.as_ref().is_some_and(Trouble::is_all) => String::new(),
            (0, _) if trouble.is_some() => String::new(),
            (0, _) => "nothing is known of this user".to_owned(),
            (_, true) => format!("would be forgotten: {coupons} coupons, {letters} dead letters"),
            (_, false) => format!("{coupons} coupons, {letters} dead letters are now of {}", names.join(", ")),
        };
        let why = trouble.as_ref().map(ToString::to_string).unwrap_or_default();
        let gap = if what.is_empty() || why.is_empty() { "" } else { "; " };
        writeln!(out, "{campaign}: {what}{gap}{why}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Command};

    fn written(report: Report, more: &[&str]) -> String {
        let all = ["coupon-consumer", "forget", "--campaign", "prod/shop/spring", "--user", "anna"];
        let cli = Cli::try_parse_from(all.iter().chain(more)).unwrap();
        let Some(Command::Forget(wanted)) = cli.command else { panic!("another command") };
        let mut out = Vec::new();
        write(&[report], &wanted, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn it_says_what_was_done_and_what_is_left_without_the_users_id() {
        let empty = || Report::of(&CampaignId::with_default_names("prod", "shop", "spring").unwrap());
        let pseudonyms = || BTreeSet::from([UserId::new("forgotten-1").unwrap()]);
        let done = || Report { coupons: 2, letters: 1, pseudonyms: pseudonyms(), ..empty() };
        for (report, more, expected) in [
            (empty(), vec![], "prod/shop/spring: nothing is known of this user\n"),
            (done(), vec![], "prod/shop/spring: 2 coupons, 1 dead letters are now of forgotten-1\n"),
            (
                Report { pseudonyms: BTreeSet::new(), ..done() },
                vec!["--dry-run"],
                "prod/shop/spring: would be forgotten: 2 coupons, 1 dead letters\n",
            ),
            (
                Report { trouble: Some(Trouble::StillOpen { end_ms: 0 }), ..empty() },
                vec![],
                "prod/shop/spring: nothing was done: coupons can be had until 1970-01-01T00:00:00Z, and who is forgotten is a new user, \
                 who may win again; wait, or say --while-open\n",
            ),
            (
                Report {
                    trouble: Some(Trouble::BrokenOff { done: ForgetProgress::Database, error: "Redis: no".to_owned() }),
                    letters: 1,
                    ..empty()
                },
                vec![],
                "prod/shop/spring: broken off: Redis: no; the database has the pseudonym, by which all go who read the former id; Redis \
                 and the dead letters still name the user; running it again is safe, and finishes it\n",
            ),
        ] {
            assert_eq!(written(report, &more), expected);
        }
        let json: serde_json::Value = serde_json::from_str(&written(done(), &["--json"])).unwrap();
        assert_eq!(json["campaigns"][0]["pseudonyms"][0], "forgotten-1");
        assert!(!json.to_string().contains("anna"));
    }
}
