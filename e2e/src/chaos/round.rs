//! One round: a sale from `kubectl apply` to the verdict.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep_until;

use super::arena::{Arena, OpenSale, SETTLE, millis};
use super::checker::{Violation, check};
use super::crowd::{Answer, Crowd, time_to_issue_again};
use super::fault::{Fault, Plan};
use super::inject::Injector;
use super::ledger::Ledger;
use super::{REALM, report};
use crate::database;

/// How long one request of a client may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long clients go on asking after the rush and every fault are over.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a fault did.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// The fault as planned.
    pub fault: Fault,
    /// When it struck, in milliseconds after the first user.
    pub at_ms: Option<u64>,
    /// What was different from the plan.
    pub note: Option<String>,
    /// From there to the next new rank, in milliseconds; none if nobody got one any more.
    pub again_ms: Option<u64>,
}

/// What a round came to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// The campaign's name.
    pub campaign: String,
    /// What happened.
    pub struck: Vec<Struck>,
    /// Every answer, in the order in which it was heard.
    #[serde(skip)]
    pub answers: Vec<Answer>,
    /// What was stored.
    #[serde(skip)]
    pub ledger: Ledger,
    /// Users that came after the rush, as coupons were left.
    pub late: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// From the end of rush and faults until everything was stored, in milliseconds.
    pub settled_ms: u64,
    /// From `kubectl apply` to the verdict, in milliseconds.
    pub took_ms: u64,
}

impl Arena {
    /// One sale. A failing round leaves its evidence in `evidence`; one without a verdict leaves the stack whole, and no sale.
    pub async fn round(&self, plan: Plan, evidence: &Path) -> Result<Outcome> {
        let began = Instant::now();
        self.fresh_operator().await?;
        let name = format!("r{}-{:x}", plan.seed, jiff::Timestamp::now().as_millisecond());
        let open = self.open(&name, plan.coupons, plan.issuers).await?;
        let crowd = Crowd::new(open.door(REQUEST)?, Instant::now());
        let verdict = self.sell(&open, plan, &crowd, began, evidence).await;
        if verdict.is_err() {
            let (answers, unread) = (crowd.answers(), Ledger::default());
            let kept = report::keep(&name, &answers, &unread, &self.namespace, evidence).await;
            let repaired = if self.stage.shared { Ok(()) } else { self.injector(&open).repair().await };
            for error in [kept, repaired].into_iter().filter_map(Result::err) {
                println!("     after a round without a verdict: {error:#}");
            }
        }
        let closed = self.close(open).await;
        let outcome = verdict?;
        closed?;
        Ok(outcome)
    }

    async fn sell(
        &self,
        open: &OpenSale,
        plan: Plan,
        crowd: &Crowd,
        began: Instant,
        evidence: &Path,
    ) -> Result<Outcome> {
        let (name, injector) = (open.sale.name.clone(), self.injector(open));
        let begin = crowd.begin();
        let give_up = begin + plan.stretch + last_repair(&plan) + PATIENCE;
        let faults = async {
            let struck =
                futures::future::join_all(plan.faults.iter().map(|f| strike(&injector, f, crowd, begin))).await;
            if self.stage.shared {
                self.links.heal();
            } else {
                injector.repair().await.context("the stack could not be repaired")?;
            }
            Ok::<_, anyhow::Error>(struck)
        };
        let (struck, ()) = tokio::join!(faults, crowd.rush(plan.users, plan.stretch, give_up));
        let mut struck = struck?;
        let over = Instant::now();
        let late = self.settle(open, crowd, plan.coupons, SETTLE).await?;
        let settled_ms = millis(over.elapsed());
        if self.forge {
            database::remove_first(&self.sources.pool, REALM, &self.namespace, &name).await?;
        }
        let (answers, ledger) = (crowd.answers(), self.ledger(open).await?);
        for each in &mut struck {
            each.again_ms = each.at_ms.and_then(|at| time_to_issue_again(&answers, at)).map(millis);
        }
        let violations = check(plan.coupons, &answers, &ledger);
        let outcome = Outcome {
            campaign: name,
            struck,
            late,
            violations,
            settled_ms,
            took_ms: millis(began.elapsed()),
            answers,
            ledger,
            plan,
        };
        if self.keep_all || !outcome.violations.is_empty() {
            report::keep_round(&outcome, &self.namespace, evidence).await?;
        }
        Ok(outcome)
    }
}

fn last_repair(plan: &Plan) -> Duration {
    plan.faults.iter().map(|fault| fault.at + fault.lasts).max().unwrap_or_default()
}

async fn strike(injector: &Injector<'_>, fault: &Fault, crowd: &Crowd, begin: Instant) -> Struck {
    sleep_until((begin + fault.at).into()).await;
    let at = Arc::new(Mutex::new(None));
    let (mark, clock) = (Arc::clone(&at), crowd.clone());
    let struck = move || *mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.now_ms());
    let note = match injector.carry_out(fault, struck).await {
        Ok(note) => note,
        Err(error) => Some(format!("{error:#}")),
    };
    let at_ms = *at.lock().unwrap_or_else(PoisonError::into_inner);
    Struck { fault: fault.clone(), at_ms, note, again_ms: None }
}
