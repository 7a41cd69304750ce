//! `coupon-consumer forget`: puts a person's coupons under a pseudonym, in the database, in Redis and in the dead letters.
//!
//! ```text
//! rights, look (rows, Redis, letters) -> SQL (pseudonyms, then rows; one transaction) -> Redis (one script) -> look again -> letters
//! ```
//!
//! The coupons stay: rank, n and time are as before, so that nothing that counts changes. The database comes first: once it knows a
//! pseudonym, every reader that meets the former id in a record, a letter or another Redis uses the pseudonym ([`database::Pseudonyms`]). Every step may
//! be done again; a run that broke off is finished by the next one. Rights that are missing, and windows that are open, are found before
//! anything is changed anywhere.

pub mod args;
mod dead_letters;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use coupon_core::connections::Connections;
use coupon_core::identity::UserId;
use coupon_core::shown;
use coupon_core::user_id;
use coupon_kafka_admin::Operation;
use coupon_ledger::database::{self, CampaignRow};
use coupon_ledger::redis::{self, Place, RedisKeys};
use coupon_sink::rows::within_deadline;

use crate::replay::{ReplayError, ReplayService};
use crate::rights::Missing;
use args::Forget;
use dead_letters::{ById, UserDeadLetters};
use report::{ForgetProgress, Report, Trouble};

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often somebody is looked for again who goes on winning coupons meanwhile.
const ROUNDS: usize = 5;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetOutcome {
    /// Nothing names the user any more, or would.
    AllDone,
    /// Something is left, for people to judge.
    SomethingLeft,
    /// A system failed in the middle.
    BrokenOff,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// A system failed at the look.
    #[error("nothing was done: {0}")]
    Look(#[from] ReplayError),
    /// The result cannot be written.
    #[error("writing the result: {0}")]
    Output(#[from] std::io::Error),
}

/// Forgets a user, and writes what was done in each campaign. Looks at everything first: what forbids it is said before anything is
/// changed anywhere, by a dry run as well.
///
/// # Errors
/// [`ForgetError::Look`]: a system failed before anything was changed.
pub async fn forget(
    wanted: &Forget,
    connections: Connections,
    out: &mut impl Write,
) -> Result<ForgetOutcome, ForgetError> {
    let services = services(wanted, connections).await?;
    let found = match letters_or_missing(&services, wanted).await? {
        Ok(found) => found,
        Err(missing) => {
            report::refuse(&missing, wanted, out)?;
            return Ok(ForgetOutcome::SomethingLeft);
        }
    };
    let mut reports = Vec::new();
    for (service, letters) in services.iter().zip(found) {
        reports.push(preview(service, wanted, letters).await?);
    }
    let broken = !wanted.dry_run && execute(&services, &mut reports, wanted).await.is_err();
    report::write(&reports, wanted, out)?;
    Ok(match broken {
        true => ForgetOutcome::BrokenOff,
        false if reports.iter().any(|report| report.trouble.is_some()) => ForgetOutcome::SomethingLeft,
        false => ForgetOutcome::AllDone,
    })
}

async fn services(wanted: &Forget, connections: Connections) -> Result<Vec<ReplayService>, ReplayError> {
    let here = ReplayService::new(wanted.place.campaign.clone(), connections.clone())?;
    if !wanted.everywhere {
        return Ok(vec![here]);
    }
    let all = within_deadline(database::campaigns_of(&here.pool, here.campaign.realm())).await?;
    all.into_iter().map(|campaign| ReplayService::new(campaign, connections.clone())).collect()
}

/// The user's dead letters in each campaign, by each of their ids; or what the login may not do of all that this takes.
async fn letters_or_missing(
    services: &[ReplayService],
    wanted: &Forget,
) -> Result<Result<Vec<ById>, BTreeSet<Missing>>, ReplayError> {
    let (mut missing, mut found) = (BTreeSet::new(), Vec::new());
    // The same for all campaigns of a realm.
    if let Some(service) = services.first() {
        missing.extend(service.lacks_in_redis(redis::probe::Role::Forget).await?);
        missing.extend(service.lacks_in_database(database::probe::Role::Forget).await?);
    }
    for service in services {
        let topic = service.campaign.dead_letter_topic();
        if let Some(unreadable) = service.lacks_on_topic(&topic, &[Operation::Read]).await? {
            missing.insert(unreadable);
            continue;
        }
        let letters = dead_letters::find(service, &ids(&wanted.user)).await?;
        // Who has no letters needs no more.
        if letters.values().any(|mine| mine.count > 0) {
            missing.extend(service.lacks_on_topic(&topic, &[Operation::Write, Operation::Delete]).await?);
        }
        found.push(letters);
    }
    Ok(if missing.is_empty() { Ok(found) } else { Err(missing) })
}

/// As it was sent, and as it is taken: both may be stored.
fn ids(text: &str) -> Vec<UserId> {
    let texts = BTreeSet::from([text.to_owned(), user_id::normalised(text)]);
    texts.into_iter().filter_map(|text| UserId::new(text).ok()).collect()
}

/// What would be done, and whether it may be. `letters`: the user's, by each of their ids. Changes nothing.
async fn preview(service: &ReplayService, wanted: &Forget, letters: ById) -> Result<Report, ReplayError> {
    let row = row(service).await?;
    let mut redis = redis::connect::connect(&service.connections.redis, REDIS_TIMEOUT).await?;
    let keys = RedisKeys::of(&service.campaign);
    let mut report = Report::of(&service.campaign);
    for (user, mine) in letters {
        let stored = within_deadline(database::ranks_of(&service.pool, row.id, &user)).await?;
        let held = redis::places_of(&mut redis, &keys, &user, &further_places(&stored, &mine)).await?;
        let coupons: BTreeSet<u64> = stored.keys().copied().chain(held.iter().map(|place| place.rank)).collect();
        report.coupons += coupons.len() as u64;
        report.letters += mine.count;
    }
    // Nobody is held up who is not there.
    if report.is_empty() || wanted.while_open {
        return Ok(report);
    }
    let state = redis::observe(&mut redis, &keys).await?;
    let end = state.open.as_ref().map(|open| open.terms.end_ms).or(row.opened_end_ms);
    if let Some(end_ms) = end.filter(|end| state.now_ms < *end) {
        report = Report { trouble: Some(Trouble::StillOpen { end_ms }), ..Report::of(&service.campaign) };
    }
    Ok(report)
}

/// Does what was looked at. An error says that it broke off; the reports say where.
async fn execute(services: &[ReplayService], reports: &mut [Report], wanted: &Forget) -> Result<(), ()> {
    let mut broken = false;
    for (service, report) in services.iter().zip(reports) {
        if report.is_empty() || report.trouble.is_some() {
            continue;
        }
        if broken {
            *report = Report { trouble: Some(Trouble::NotBegun), ..Report::of(&service.campaign) };
            continue;
        }
        *report = Report::of(&service.campaign);
        if let Err((done, error)) = forget_in(service, wanted, report).await {
            report.trouble = Some(Trouble::BrokenOff { done, error: shown::causes(&error) });
            broken = true;
        }
    }
    if broken { Err(()) } else { Ok(()) }
}

async fn row(service: &ReplayService) -> Result<CampaignRow, ReplayError> {
    let row = within_deadline(database::find(&service.pool, &service.campaign)).await?;
    Ok(row.ok_or_else(|| database::DatabaseError::NoCampaign(service.campaign.to_string()))?)
}

/// An error comes with what has been changed by then.
async fn forget_in(
    service: &ReplayService,
    wanted: &Forget,
    report: &mut Report,
) -> Result<(), (ForgetProgress, ReplayError)> {
    let mut done = ForgetProgress::Nothing;
    let work = async {
        let row = row(service).await?;
        let mut redis = redis::connect::connect(&service.connections.redis, REDIS_TIMEOUT).await?;
        for user in ids(&wanted.user) {
            forget_id(service, &row, &mut redis, &user, report, &mut done).await?;
        }
        Ok(())
    };
    let ended: Result<(), ReplayError> = work.await;
    ended.map_err(|error| (done, error))
}

async fn forget_id(
    service: &ReplayService,
    row: &CampaignRow,
    redis: &mut MultiplexedConnection,
    user: &UserId,
    report: &mut Report,
    done: &mut ForgetProgress,
) -> Result<(), ReplayError> {
    let keys = RedisKeys::of(&service.campaign);
    // Not those of the look: more may have come.
    let mine = dead_letters::find(service, std::slice::from_ref(user)).await?.remove(user).unwrap_or_default();
    report.letters += mine.count;
    let mut pseudonyms = BTreeMap::new();
    let mut coupons = BTreeSet::new();
    for round in 0..=ROUNDS {
        let stored = within_deadline(database::ranks_of(&service.pool, row.id, user)).await?;
        let further = further_places(&stored, &mine);
        let held = redis::places_of(redis, &keys, user, &further).await?;
        coupons.extend(stored.keys().copied().chain(held.iter().map(|place| place.rank)));
        let open = mine.ranks.keys().any(|rank| !pseudonyms.contains_key(rank));
        if stored.is_empty() && held.is_empty() && !open {
            break;
        }
        if round == ROUNDS {
            report.trouble = Some(Trouble::WinsAgain);
            break;
        }
        // Each round has one of its own: what is found now was won after the round before, as an n-th coupon once more.
        let fresh = database::new_pseudonym();
        let ranks: BTreeSet<u64> = coupons.iter().copied().chain(mine.ranks.keys().copied()).collect();
        pseudonyms.extend(within_deadline(database::forget(&service.pool, row.id, user, &ranks, &fresh)).await?);
        *done = ForgetProgress::Database;
        report.pseudonyms.extend(pseudonyms.values().cloned());
        let moves: Vec<(Place, &UserId)> =
            held.iter().filter_map(|place| Some((*place, pseudonyms.get(&place.rank)?))).collect();
        redis::rename(redis, &keys, user, &further, &moves).await?;
        *done = ForgetProgress::DatabaseAndRedis;
    }
    report.coupons += coupons.len() as u64;
    if mine.count > 0 {
        let rewritten = dead_letters::rewrite(service, row.id, user, &mine, &pseudonyms).await?;
        if let Err(why) = rewritten {
            report.trouble = Some(Trouble::LettersStay(why));
        }
    }
    Ok(())
}

/// The n under which Redis may hold coupons, beside those up to the limit in force: of rows, of letters, and of ranks that are kept.
fn further_places(stored: &BTreeMap<u64, u32>, mine: &UserDeadLetters) -> BTreeSet<u32> {
    stored.iter().chain(&mine.ranks).flat_map(|(rank, n)| [*n, redis::kept_n(*rank)]).collect()
}
