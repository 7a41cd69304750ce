//! `coupon-consumer forget`: puts a person's coupons under a pseudonym, in the database, in Redis and in the dead letters.
//!
//! ```text
//! look (rows, Redis, letters) -> SQL (pseudonyms, then rows; one transaction) -> Redis (one script) -> look again -> letters
//! ```
//!
//! The coupons stay: rank, n and time are as before, so that nothing that counts changes. The database comes first: once it knows a
//! pseudonym, whoever reads the former id from a record, a letter or another Redis goes by it ([`table::Pseudonyms`]). Every step may
//! be done again; a run that broke off is finished by the next one.

pub mod args;
mod letters;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use campaign::identity::UserId;
use campaign::settings::Connections;
use campaign::stock::{self, Place, StockKeys};
use campaign::table::{self, CampaignRow};
use campaign::user_id;
use redis::aio::MultiplexedConnection;

use crate::ledger::in_time;
use crate::replay::{Office, ReplayError};
use args::Forget;
use letters::Mine;
use report::{Report, Trouble};

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often somebody is looked for again who goes on winning coupons meanwhile.
const ROUNDS: usize = 5;

/// Forgets a user, and writes what was done in each campaign. False when something is left to do.
///
/// # Errors
/// [`ReplayError`] when a system fails; running it again is harmless.
pub async fn forget(wanted: &Forget, connections: Connections, out: &mut impl Write) -> Result<bool, ReplayError> {
    let here = Office::new(wanted.place.campaign.clone(), connections.clone())?;
    let mut offices = Vec::new();
    if wanted.everywhere {
        for campaign in in_time(table::campaigns_of(&here.pool, here.campaign.realm())).await? {
            offices.push(Office::new(campaign, connections.clone())?);
        }
    } else {
        offices.push(here);
    }
    let mut reports = Vec::new();
    for office in &offices {
        reports.push(forget_in(office, wanted).await?);
    }
    report::write(&reports, wanted, out)?;
    Ok(reports.iter().all(|report| report.trouble.is_none()))
}

/// As it was sent, and as it is taken: both may be stored.
fn ids(text: &str) -> Vec<UserId> {
    let texts = BTreeSet::from([text.to_owned(), user_id::normalised(text)]);
    texts.into_iter().filter_map(|text| UserId::new(text).ok()).collect()
}

async fn forget_in(office: &Office, wanted: &Forget) -> Result<Report, ReplayError> {
    let row = in_time(table::find(&office.pool, &office.campaign)).await?;
    let row = row.ok_or_else(|| table::TableError::NoCampaign(office.campaign.to_string()))?;
    let mut redis = stock::connect::connect(&office.connections.redis, REDIS_TIMEOUT).await?;
    let mut report = Report::of(&office.campaign);
    if !wanted.while_open && !wanted.dry_run {
        let state = stock::observe(&mut redis, &StockKeys::of(&office.campaign)).await?;
        let end = state.open.as_ref().map(|open| open.terms.end_ms).or(row.opened_end_ms);
        if let Some(end_ms) = end.filter(|end| state.now_ms < *end) {
            report.trouble = Some(Trouble::StillOpen { end_ms });
            return Ok(report);
        }
    }
    for user in ids(&wanted.user) {
        forget_id(office, &row, &mut redis, &user, wanted.dry_run, &mut report).await?;
    }
    Ok(report)
}

async fn forget_id(
    office: &Office,
    row: &CampaignRow,
    redis: &mut MultiplexedConnection,
    user: &UserId,
    dry_run: bool,
    report: &mut Report,
) -> Result<(), ReplayError> {
    let keys = StockKeys::of(&office.campaign);
    let mine = letters::find(office, user).await?;
    report.letters += mine.count;
    let mut pseudonyms = BTreeMap::new();
    let mut coupons = BTreeSet::new();
    for round in 0..=ROUNDS {
        let stored = in_time(table::ranks_of(&office.pool, row.id, user)).await?;
        let further = further_places(&stored, &mine);
        let held = stock::places_of(redis, &keys, user, &further).await?;
        coupons.extend(stored.keys().copied().chain(held.iter().map(|place| place.rank)));
        let open = mine.ranks.keys().any(|rank| !pseudonyms.contains_key(rank));
        if dry_run || (stored.is_empty() && held.is_empty() && !open) {
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
        let moves: Vec<(Place, &UserId)> =
            held.iter().filter_map(|place| Some((*place, pseudonyms.get(&place.rank)?))).collect();
        stock::rename(redis, &keys, user, &further, &moves).await?;
    }
    report.coupons += coupons.len() as u64;
    report.pseudonyms.extend(pseudonyms.values().cloned());
    if !dry_run && mine.count > 0 {
        let rewritten = letters::rewrite(office, user, &mine, &pseudonyms).await?;
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
