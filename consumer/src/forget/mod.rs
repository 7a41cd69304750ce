//! `coupon-consumer forget`: puts a person's coupons under a pseudonym, in the database, in Redis and in the dead letters.
//!
//! ```text
//! rights, look (rows, Redis, letters) -> SQL (pseudonyms, then rows; one transaction) -> Redis (one script) -> look again -> letters
//! ```
//!
//! The coupons stay: rank, n and time are as before, so that nothing that counts changes. The database comes first: once it knows a
//! pseudonym, whoever reads the former id from a record, a letter or another Redis goes by it ([`table::Pseudonyms`]). Every step may
//! be done again; a run that broke off is finished by the next one. Rights that are missing, and windows that are open, are found before
//! anything is changed anywhere.

pub mod args;
mod letters;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use campaign::identity::UserId;
use campaign::log::admin::Operation;
use campaign::settings::Connections;
use campaign::stock::{self, Place, StockKeys};
use campaign::table::{self, CampaignRow};
use campaign::{shown, user_id};
use redis::aio::MultiplexedConnection;

use crate::ledger::in_time;
use crate::replay::{Office, ReplayError};
use crate::rights::Missing;
use args::Forget;
use letters::{ById, Mine};
use report::{Done, Report, Trouble};

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often somebody is looked for again who goes on winning coupons meanwhile.
const ROUNDS: usize = 5;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
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
pub async fn forget(wanted: &Forget, connections: Connections, out: &mut impl Write) -> Result<Ending, ForgetError> {
    let offices = offices(wanted, connections).await?;
    let found = match letters_or_missing(&offices, wanted).await? {
        Ok(found) => found,
        Err(missing) => {
            report::refuse(&missing, wanted, out)?;
            return Ok(Ending::SomethingLeft);
        }
    };
    let mut reports = Vec::new();
    for (office, letters) in offices.iter().zip(found) {
        reports.push(look(office, wanted, letters).await?);
    }
    let broken = !wanted.dry_run && act(&offices, &mut reports, wanted).await.is_err();
    report::write(&reports, wanted, out)?;
    Ok(match broken {
        true => Ending::BrokenOff,
        false if reports.iter().any(|report| report.trouble.is_some()) => Ending::SomethingLeft,
        false => Ending::AllDone,
    })
}

async fn offices(wanted: &Forget, connections: Connections) -> Result<Vec<Office>, ReplayError> {
    let here = Office::new(wanted.place.campaign.clone(), connections.clone())?;
    if !wanted.everywhere {
        return Ok(vec![here]);
    }
    let all = in_time(table::campaigns_of(&here.pool, here.campaign.realm())).await?;
    all.into_iter().map(|campaign| Office::new(campaign, connections.clone())).collect()
}

/// The user's dead letters in each campaign, by each of their ids; or what the login may not do of all that this takes.
async fn letters_or_missing(
    offices: &[Office],
    wanted: &Forget,
) -> Result<Result<Vec<ById>, BTreeSet<Missing>>, ReplayError> {
    let (mut missing, mut found) = (BTreeSet::new(), Vec::new());
    // The same for all campaigns of a realm.
    if let Some(office) = offices.first() {
        missing.extend(office.lacks_in_redis(stock::probe::Role::Forget).await?);
        missing.extend(office.lacks_in_database(table::probe::Role::Forget).await?);
    }
    for office in offices {
        let topic = office.campaign.dead_letter_topic();
        if let Some(unreadable) = office.lacks_on_topic(&topic, &[Operation::Read]).await? {
            missing.insert(unreadable);
            continue;
        }
        let letters = letters::find(office, &ids(&wanted.user)).await?;
        // Who has no letters needs no more.
        if letters.values().any(|mine| mine.count > 0) {
            missing.extend(office.lacks_on_topic(&topic, &[Operation::Write, Operation::Delete]).await?);
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
async fn look(office: &Office, wanted: &Forget, letters: ById) -> Result<Report, ReplayError> {
    let row = row(office).await?;
    let mut redis = stock::connect::connect(&office.connections.redis, REDIS_TIMEOUT).await?;
    let keys = StockKeys::of(&office.campaign);
    let mut report = Report::of(&office.campaign);
    for (user, mine) in letters {
        let stored = in_time(table::ranks_of(&office.pool, row.id, &user)).await?;
        let held = stock::places_of(&mut redis, &keys, &user, &further_places(&stored, &mine)).await?;
        let coupons: BTreeSet<u64> = stored.keys().copied().chain(held.iter().map(|place| place.rank)).collect();
        report.coupons += coupons.len() as u64;
        report.letters += mine.count;
    }
    // Nobody is held up who is not there.
    if report.is_empty() || wanted.while_open {
        return Ok(report);
    }
    let state = stock::observe(&mut redis, &keys).await?;
    let end = state.open.as_ref().map(|open| open.terms.end_ms).or(row.opened_end_ms);
    if let Some(end_ms) = end.filter(|end| state.now_ms < *end) {
        report = Report { trouble: Some(Trouble::StillOpen { end_ms }), ..Report::of(&office.campaign) };
    }
    Ok(report)
}

/// Does what was looked at. An error says that it broke off; the reports say where.
async fn act(offices: &[Office], reports: &mut [Report], wanted: &Forget) -> Result<(), ()> {
    let mut broken = false;
    for (office, report) in offices.iter().zip(reports) {
        if report.is_empty() || report.trouble.is_some() {
            continue;
        }
        if broken {
            *report = Report { trouble: Some(Trouble::NotBegun), ..Report::of(&office.campaign) };
            continue;
        }
        *report = Report::of(&office.campaign);
        if let Err((done, error)) = forget_in(office, wanted, report).await {
            report.trouble = Some(Trouble::BrokenOff { done, error: shown::causes(&error) });
            broken = true;
        }
    }
    if broken { Err(()) } else { Ok(()) }
}

async fn row(office: &Office) -> Result<CampaignRow, ReplayError> {
    let row = in_time(table::find(&office.pool, &office.campaign)).await?;
    Ok(row.ok_or_else(|| table::TableError::NoCampaign(office.campaign.to_string()))?)
}

/// An error comes with what has been changed by then.
async fn forget_in(office: &Office, wanted: &Forget, report: &mut Report) -> Result<(), (Done, ReplayError)> {
    let mut done = Done::Nothing;
    let work = async {
        let row = row(office).await?;
        let mut redis = stock::connect::connect(&office.connections.redis, REDIS_TIMEOUT).await?;
        for user in ids(&wanted.user) {
            forget_id(office, &row, &mut redis, &user, report, &mut done).await?;
        }
        Ok(())
    };
    let ended: Result<(), ReplayError> = work.await;
    ended.map_err(|error| (done, error))
}

async fn forget_id(
    office: &Office,
    row: &CampaignRow,
    redis: &mut MultiplexedConnection,
    user: &UserId,
    report: &mut Report,
    done: &mut Done,
) -> Result<(), ReplayError> {
    let keys = StockKeys::of(&office.campaign);
    // Not those of the look: more may have come.
    let mine = letters::find(office, std::slice::from_ref(user)).await?.remove(user).unwrap_or_default();
    report.letters += mine.count;
    let mut pseudonyms = BTreeMap::new();
    let mut coupons = BTreeSet::new();
    for round in 0..=ROUNDS {
        let stored = in_time(table::ranks_of(&office.pool, row.id, user)).await?;
        let further = further_places(&stored, &mine);
        let held = stock::places_of(redis, &keys, user, &further).await?;
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
        let fresh = table::new_pseudonym();
        let ranks: BTreeSet<u64> = coupons.iter().copied().chain(mine.ranks.keys().copied()).collect();
        pseudonyms.extend(in_time(table::forget(&office.pool, row.id, user, &ranks, &fresh)).await?);
        *done = Done::Database;
        report.pseudonyms.extend(pseudonyms.values().cloned());
        let moves: Vec<(Place, &UserId)> =
            held.iter().filter_map(|place| Some((*place, pseudonyms.get(&place.rank)?))).collect();
        stock::rename(redis, &keys, user, &further, &moves).await?;
        *done = Done::DatabaseAndRedis;
    }
    report.coupons += coupons.len() as u64;
    if mine.count > 0 {
        let rewritten = letters::rewrite(office, row.id, user, &mine, &pseudonyms).await?;
        if let Err(why) = rewritten {
            report.trouble = Some(Trouble::LettersStay(why));
        }
    }
    Ok(())
}

/// The n under which Redis may hold coupons, beside those up to the limit in force: of rows, of letters, and of ranks that are kept.
fn further_places(stored: &BTreeMap<u64, u32>, mine: &Mine) -> BTreeSet<u32> {
    stored.iter().chain(&mine.ranks).flat_map(|(rank, n)| [*n, stock::kept_n(*rank)]).collect()
}
