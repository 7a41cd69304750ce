//! The database, with one login.

use coupon_core::connections::Database;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::database::probe::{Probe, Role, ServerFacts};

use super::clocks::ClockSample;
use super::fault::Fault;
use super::{CALL, Findings};
use crate::class::pools::Systems;

/// A failed statement, sorted by what is to be changed.
fn sorted(error: DatabaseError, facts: Option<&ServerFacts>, user: &str) -> Fault {
    if error.is_read_only() {
        let setting = facts.and_then(|facts| facts.read_only).unwrap_or("read_only");
        return Fault::DatabaseReadOnly { setting, said: error.to_string() };
    }
    if error.is_missing_right_to_change_tables() {
        return Fault::DatabaseTables { user: user.to_owned(), said: error.to_string() };
    }
    if error.is_missing_right() {
        return Fault::DatabaseRight { user: user.to_owned(), said: vec![error.to_string()] };
    }
    Fault::Database(error)
}

/// What it is, in words that stay the same as long as it does.
fn notes(facts: &ServerFacts) -> Vec<String> {
    let mut all = vec![format!(
        "database {} takes writes with both logins, and its tables are of the right version",
        facts.version
    )];
    if !facts.is_recent() {
        all.push("it is older than MariaDB 10.6 or MySQL 8.0, with which nobody tries this".to_owned());
    }
    if let Some(servers) = facts.galera {
        all.push(format!(
            "it is a Galera cluster of {servers}: let database.host lead to one server at a time, as two that write at once undo each other"
        ));
    }
    if facts.semi_sync {
        all.push("commits wait for a replica".to_owned());
    }
    if !facts.flushes {
        all.push("commits are confirmed before they are on disk: a crash of the server takes rows, which are published again".to_owned());
    }
    all
}

/// With the operator's login: also brings the tables up to date, as the first pass of a campaign would.
pub(super) async fn check(systems: &Systems) -> Findings {
    let settings = &systems.settings.operator.database;
    let mut probe = match Probe::connect(settings, CALL).await {
        Ok(probe) => probe,
        Err(error) => return Findings::of(sorted(error, None, &settings.login.username)),
    };
    let clock = ClockSample::measure(probe.clock()).await.ok();
    let user = &settings.login.username;
    let (faults, notes) = match probe.facts().await {
        Err(error) => (vec![sorted(error, None, user)], Vec::new()),
        Ok(facts) => {
            let tried = async {
                systems.migrate().await?;
                let mut faults = rights(&mut probe, Role::Operator, user).await?;
                let missing = probe.missing_keys().await?;
                faults.extend((!missing.is_empty()).then_some(Fault::DatabaseKeys { missing }));
                Ok(faults)
            };
            let faults = tried.await.unwrap_or_else(|error| vec![sorted(error, Some(&facts), user)]);
            (faults, notes(&facts))
        }
    };
    probe.close().await;
    Findings { faults, notes, clock, ..Findings::default() }
}

/// With the pods' login.
pub(super) async fn check_as_pods(settings: &Database) -> Findings {
    let user = &settings.login.username;
    let mut probe = match Probe::connect(settings, CALL).await {
        Ok(probe) => probe,
        Err(error) => return Findings::of(sorted(error, None, user)),
    };
    let facts = probe.facts().await.ok();
    let tried = async {
        let missing = rights(&mut probe, Role::Workload, user).await?;
        // What may not be inserted has been said.
        if missing.is_empty() {
            probe.insert_and_roll_back().await?;
        }
        Ok(missing)
    };
    let faults = tried.await.unwrap_or_else(|error: DatabaseError| vec![sorted(error, facts.as_ref(), user)]);
    probe.close().await;
    Findings { faults, ..Findings::default() }
}

/// All rights that are missing, as one fault.
async fn rights(probe: &mut Probe, role: Role, user: &str) -> Result<Vec<Fault>, DatabaseError> {
    let missing = probe.missing_rights(role).await?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let said = missing.iter().map(ToString::to_string).collect();
    Ok(vec![Fault::DatabaseRight { user: user.to_owned(), said }])
}
