//! One round: a sale from `kubectl apply` to the verdict.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep_until;

use super::checker::check;
use super::fault::{Fault, Plan};
use super::inject::Injector;
use super::ledger::Ledger;
use super::load::{LoadGenerator, time_to_issue_again};
use super::outcome::{RoundOutcome, Struck};
use super::test_bed::{OpenSale, SETTLE, TestBed, millis};
use super::{REALM, report};
use crate::database;

/// How long one request of a client may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long clients go on asking after the rush and every fault are over.
const PATIENCE: Duration = Duration::from_secs(60);

impl TestBed {
    /// One sale. A failing round leaves its evidence in `evidence`; one without a verdict leaves the stack whole, and no sale.
    pub async fn round(&self, plan: Plan, evidence: &Path) -> Result<RoundOutcome> {
        let began = Instant::now();
        self.fresh_operator().await?;
        let name = format!("r{}-{:x}", plan.seed, jiff::Timestamp::now().as_millisecond());
        let open = self.open(&name, plan.coupons, plan.issuers).await?;
        let load = LoadGenerator::new(open.issuer(REQUEST)?, Instant::now());
        let verdict = self.sell(&open, plan, &load, began, evidence).await;
        if verdict.is_err() {
            let (answers, unread) = (load.answers(), Ledger::default());
            let kept = report::save_evidence(&name, &answers, &unread, &self.namespace, evidence).await;
            let repaired = if self.topology.shared { Ok(()) } else { self.injector(&open).repair().await };
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
        load: &LoadGenerator,
        began: Instant,
        evidence: &Path,
    ) -> Result<RoundOutcome> {
        let (name, injector) = (open.sale.name.clone(), self.injector(open));
        let begin = load.begin();
        let give_up = begin + plan.stretch + last_repair(&plan) + PATIENCE;
        let faults = async {
            let struck = futures::future::join_all(plan.faults.iter().map(|f| strike(&injector, f, load, begin))).await;
            if self.topology.shared {
                self.links.heal();
            } else {
                injector.repair().await.context("the stack could not be repaired")?;
            }
            Ok::<_, anyhow::Error>(struck)
        };
        let (struck, ()) = tokio::join!(faults, load.rush(plan.users, plan.stretch, give_up));
        let mut struck = struck?;
        let over = Instant::now();
        let late = self.settle(open, load, plan.coupons, SETTLE).await?;
        let settled_ms = millis(over.elapsed());
        if self.forge {
            database::remove_first(&self.sources.pool, REALM, &self.namespace, &name).await?;
        }
        let (answers, ledger) = (load.answers(), self.ledger(open).await?);
        for each in &mut struck {
            each.again_ms = each.at_ms.and_then(|at| time_to_issue_again(&answers, at)).map(millis);
        }
        let violations = check(plan.coupons, &answers, &ledger);
        let outcome = RoundOutcome {
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
            report::save_round(&outcome, &self.namespace, evidence).await?;
        }
        Ok(outcome)
    }
}

fn last_repair(plan: &Plan) -> Duration {
    plan.faults.iter().map(|fault| fault.at + fault.lasts).max().unwrap_or_default()
}

async fn strike(injector: &Injector<'_>, fault: &Fault, load: &LoadGenerator, begin: Instant) -> Struck {
    sleep_until((begin + fault.at).into()).await;
    let at = Arc::new(Mutex::new(None));
    let (mark, clock) = (Arc::clone(&at), load.clone());
    let struck = move || *mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.now_ms());
    let note = match injector.carry_out(fault, struck).await {
        Ok(note) => note,
        Err(error) => Some(format!("{error:#}")),
    };
    let at_ms = *at.lock().unwrap_or_else(PoisonError::into_inner);
    Struck { fault: fault.clone(), at_ms, note, again_ms: None }
}
