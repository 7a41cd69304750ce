//! Says what was found and done: conditions and status. Pure.

use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, TopicState};
use campaign::stock::Terms;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::numbers::{self, Numbers, Wanted};
use super::observe::{LedgerView, Observation};
use super::plan::{Plan, Work};
use super::workloads;
use crate::api::conditions::{self, Report};
use crate::api::{
    CampaignClass, ConditionType, CouponCampaign, CouponCampaignStatus, Phase, ScalingFigures, TermsStatus,
    TopicStatus, WindowStatus, WorkloadStatus,
};
use crate::children::ownership::NotOurs;
use crate::error::{ReconcileError, advice, stock_advice, stock_reason, table_advice, table_reason};
use crate::log_view::LogView;
use crate::measure::{Measured, System};
use crate::repair::scan::Looked;
use crate::stop::Stop;
use crate::topic;

/// What was counted longer ago than this, in milliseconds, is not known any more.
const COUNTED_LATELY_MS: i64 = 600_000;

/// What a pass knows when it reports.
pub struct Facts<'a> {
    /// The campaign.
    pub campaign: &'a CouponCampaign,
    /// Its class.
    pub class: &'a CampaignClass,
    /// Its identity.
    pub id: &'a CampaignId,
    /// What was read.
    pub seen: &'a Observation,
    /// What was decided.
    pub plan: &'a Plan,
    /// How many pods there should be.
    pub numbers: &'a Numbers,
    /// What stopped the pass, if anything did.
    pub failure: Option<&'a ReconcileError>,
    /// The issuers' Deployment.
    pub issuer: Option<&'a Deployment>,
    /// The consumers' Deployment.
    pub consumer: Option<&'a Deployment>,
    /// Rows that the ledger had when this object first met it.
    pub adopted: Option<u64>,
    /// What the looks for missing winners found.
    pub looked: &'a Looked,
    /// The offsets have been unreadable for long.
    pub offsets_unread: bool,
    /// Consumers have stored nothing for long though records wait: which, and since when.
    pub consumers_still: Option<&'a str>,
    /// What the last look at the class found.
    pub measured: Option<&'a Measured>,
    /// Why no issuer serves, if none does.
    pub nobody_serves: Option<&'a str>,
    /// What became of stopping issuing without Redis, if that was tried.
    pub stop: Option<Stop>,
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The status that the campaign should have. `now` is used for conditions whose status changes.
pub fn status(facts: &Facts<'_>, now: Timestamp) -> CouponCampaignStatus {
    let Facts { campaign, class, id, seen, plan, .. } = facts;
    let before = campaign.status.clone().unwrap_or_default();
    let generation = campaign.metadata.generation.unwrap_or(0);
    let ledger = seen.ledger.as_ref().ok();
    let row = ledger.and_then(|ledger| ledger.row.as_ref());
    let log = seen.log.as_ref().ok();
    let issued = seen.stock.as_ref().ok().map(|stock| stock.issued);
    let stored = ledger.filter(|ledger| ledger.row.is_some()).map(|ledger| ledger.stored);
    let unconfirmed = match Work::of(ledger, log, issued) {
        Work::Gap(gap) => Some(gap),
        Work::None => Some(0),
        // Winners on their way cannot be told from missing ones, but for those that the last look found.
        Work::Lag(_) => Some(facts.looked.missing).filter(|missing| *missing > 0),
        Work::Unknown => None,
    };
    let issuer = workload(&facts.numbers.issuer, facts.issuer, before.issuer.as_ref());
    let consumer = workload(&facts.numbers.consumer, facts.consumer, before.consumer.as_ref());
    let mut next = CouponCampaignStatus {
        phase: Some(plan.phase),
        observed_generation: Some(generation),
        class_name: Some(class.name_any()),
        coupon_id: Some(id.coupon_id().to_owned()),
        terms: plan.in_force.and_then(terms_status).or(before.terms),
        issued: issued.map(count).or(before.issued),
        persisted: stored.map(count).or(before.persisted),
        once_persisted: match ledger {
            Some(ledger) => (ledger.row.is_some() && ledger.had > ledger.stored).then(|| count(ledger.had)),
            None => before.once_persisted,
        },
        lag: log.and_then(|log| log.lag).map(count).or(before.lag),
        dead_letters: log.and_then(|log| log.dead_letters).map(count).or(before.dead_letters),
        unconfirmed: unconfirmed.map(count).or(before.unconfirmed),
        // Whoever may not go on with a ledger has had no epoch of it.
        epoch: row
            .filter(|_| !plan.is_closed_out)
            .map(|row| count(row.epoch))
            .filter(|epoch| *epoch > 0)
            .or(before.epoch),
        topic: log.and_then(|_| topic_status(facts)).or(before.topic),
        issuer: Some(issuer),
        consumer: Some(consumer),
        url: Some(url(campaign, class, id)),
        next_transition: plan.next_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).map(Time),
        conditions: before.conditions,
    };
    let reports = reports(facts, &next);
    conditions::merge(&mut next.conditions, &reports, generation, now);
    next
}

fn terms_status(terms: Terms) -> Option<TermsStatus> {
    let time = |ms| Timestamp::from_millisecond(ms).ok();
    Some(TermsStatus {
        total_quantity: count(terms.total),
        window: WindowStatus { start: time(terms.start_ms)?, end: time(terms.end_ms)? },
        per_user_limit: terms.limit.into(),
        suspended: terms.suspended,
    })
}

/// The status of a campaign that has no usable class: what was known stays.
pub fn status_without_class(
    campaign: &CouponCampaign,
    failure: &ReconcileError,
    now: Timestamp,
) -> CouponCampaignStatus {
    let mut next = campaign.status.clone().unwrap_or_default();
    let generation = campaign.metadata.generation.unwrap_or(0);
    next.phase.get_or_insert(Phase::Pending);
    next.observed_generation = Some(generation);
    let first = match failure.condition() {
        ConditionType::ResourceConflict => Report::yes,
        _ => Report::no,
    };
    let mut reports = vec![
        first(failure.condition(), failure.reason(), failure.to_string()),
        Report::no(ConditionType::Ready, failure.reason(), failure.to_string()),
        // What comes by itself, or with the next object that is applied, is waited for.
        match failure.is_waited_for() {
            true => Report::yes(ConditionType::Reconciling, failure.reason(), failure.to_string()),
            false => Report::yes(ConditionType::Stalled, failure.reason(), failure.to_string()),
        },
    ];
    // The Stalled report says it all when the failure is about no other condition.
    if matches!(failure.condition(), ConditionType::Stalled | ConditionType::Reconciling) {
        reports.remove(0);
    }
    conditions::merge(&mut next.conditions, &reports, generation, now);
    next
}

fn workload(wanted: &Wanted, found: Option<&Deployment>, before: Option<&WorkloadStatus>) -> WorkloadStatus {
    let ready = found.and_then(|d| d.status.as_ref()).and_then(|status| status.ready_replicas).unwrap_or(0);
    // What was learned is kept through times in which the number follows nothing: the next window is planned with it.
    let learned = before.and_then(|before| before.figures.clone()).map(|figures| ScalingFigures {
        arrival_per_second: None,
        done_per_second: None,
        ..figures
    });
    let figures = wanted.figures.clone().or(learned);
    WorkloadStatus { wanted: wanted.replicas, ready, reason: wanted.reason.clone(), figures }
}

fn url(campaign: &CouponCampaign, class: &CampaignClass, id: &CampaignId) -> String {
    let (namespace, name) = (id.namespace(), campaign.name_any());
    class
        .spec
        .routing
        .url(namespace, &name, id.coupon_id())
        .unwrap_or_else(|| format!("http://{name}-issuer.{namespace}.svc/api/coupons/{}/issue", id.coupon_id()))
}

/// What keeps Kafka from being read, or parts of it for long.
fn kafka_failure(facts: &Facts<'_>) -> Option<(&'static str, String)> {
    match &facts.seen.log {
        Err(error) => Some((error.reason(), error.to_string())),
        Ok(log) if facts.offsets_unread => log.unread.as_ref().map(|error| ("OffsetsUnreadable", unread_text(error))),
        Ok(_) => None,
    }
}

/// Offsets that cannot be read, in words.
pub(super) fn unread_text(error: &AdminError) -> String {
    format!(
        "the offsets of the topic or of its consumer group cannot be read, so what waits to be stored is not known: {error}"
    )
}

fn topic_status(facts: &Facts<'_>) -> Option<TopicStatus> {
    let log = facts.seen.log.as_ref().ok()?;
    let TopicState::Present(topic) = &log.topic.events else { return None };
    let min_in_sync = log.topic.events_config.get("min.insync.replicas").and_then(|entry| entry.value.as_ref());
    Some(TopicStatus {
        name: facts.id.topic(),
        dead_letter_topic: facts.id.dead_letter_topic(),
        topic_id: Some(topic.topic_id.clone()),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topic::copies(topic),
        min_in_sync_replicas: min_in_sync.and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// One report per part, then those over all of them.
fn reports(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Vec<Report> {
    use ConditionType as C;
    let Facts { campaign, class, seen, plan, .. } = facts;
    let mut all = vec![
        Report::yes(C::ClassResolved, "ClassResolved", format!("CampaignClass {}", class.name_any())),
        Report::yes(C::CredentialsReady, "SecretsRead", "the Secrets named in the class hold what is needed"),
        part(
            C::DatabaseReady,
            seen.ledger.as_ref().err().map(|e| (table_reason(e), table_advice(e))),
            "the database answers",
        ),
        part(C::RedisReady, seen.stock.as_ref().err().map(|e| (stock_reason(e), stock_advice(e))), "Redis answers"),
        part(C::KafkaReady, kafka_failure(facts), "Kafka answers"),
        topic_report(facts),
        stock_report(facts),
        workloads::report(facts, next),
        numbers::report(facts.numbers, &plan.terms),
        consistency_report(facts),
    ];
    if let Some(failure) = facts.failure {
        let report = Report::no(failure.condition(), failure.reason(), advice(failure));
        all.retain(|each| each.condition != report.condition);
        all.push(report);
    }
    // What the class was measured to lack says more than what a campaign trips over, and is true of campaigns that have not yet.
    for system in [System::Kafka, System::Redis, System::Database] {
        if let Some((reason, text)) = facts.measured.and_then(|measured| measured.trouble(system)) {
            all.retain(|each| each.condition != system.condition());
            all.push(Report::no(system.condition(), reason, text));
        }
    }
    if let Some(doubt) = &plan.time.doubt {
        all.push(Report::no(C::ClocksAgree, clock_reason(plan), doubt));
    }
    let before = campaign.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if let Some(rows) = facts.adopted {
        let text =
            format!("the campaign continues a ledger that had {rows} coupons issued when this object was created");
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", text));
    } else if let Some(adopted) = conditions::find(before, C::LedgerAdopted) {
        all.push(Report::yes(C::LedgerAdopted, "LedgerNotEmpty", adopted.message.clone()));
    }
    let open = match plan.phase {
        Phase::Open => pending_suspension(facts, open_report(facts, next)),
        Phase::SoldOut => pending_suspension(facts, Report::no(C::Open, "SoldOut", "every coupon is issued")),
        Phase::Suspended => suspended_report(facts),
        Phase::Scheduled => Report::no(C::Open, "NotStarted", "the window has not begun"),
        Phase::Repairing => Report::no(C::Open, "Repairing", "Redis is being brought back to what the ledger says"),
        Phase::Draining | Phase::Completed => Report::no(C::Open, "Ended", "the window is over"),
        Phase::Pending => Report::no(C::Open, "Pending", "the campaign is not prepared yet"),
    };
    all.push(open);
    let foreign = facts.failure.map(conflict).unwrap_or_default();
    let refusals: Vec<&Report> = plan.refusals.iter().chain(&foreign).collect();
    let stalled = refusals.iter().find(|report| report.condition == C::Stalled);
    let mut refused: Vec<C> = Vec::new();
    for report in refusals.iter().copied() {
        if !refused.contains(&report.condition) {
            refused.push(report.condition);
            all.retain(|each| each.condition != report.condition);
            all.push(report.clone());
        }
    }
    let broken = all.iter().find(|report| is_part(report.condition) && report.status != Some(true)).cloned();
    match (stalled, broken) {
        (Some(stalled), _) => all.push(Report::no(C::Ready, stalled.reason, stalled.message.clone())),
        (None, Some(broken)) => {
            all.push(Report::no(C::Ready, broken.reason, broken.message.clone()));
            all.push(Report::yes(C::Reconciling, broken.reason, broken.message));
        }
        (None, None) => all.push(Report::yes(C::Ready, "AsItShouldBe", "all is as it should be at this time")),
    }
    all
}

/// What an object of somebody else's means, which stands where one of ours belongs: nothing goes on until one of both has
/// another name.
fn conflict(failure: &ReconcileError) -> Vec<Report> {
    let ReconcileError::NotOurs(NotOurs::Foreign { .. }) = failure else { return Vec::new() };
    let (reason, text) = (failure.reason(), advice(failure));
    vec![
        Report::yes(ConditionType::ResourceConflict, reason, text.clone()),
        Report::yes(ConditionType::Stalled, reason, text),
    ]
}

/// Whether a condition is one of the parts that `Ready` sums up.
fn is_part(condition: ConditionType) -> bool {
    use ConditionType as C;
    matches!(
        condition,
        C::ClassResolved
            | C::CredentialsReady
            | C::DatabaseReady
            | C::RedisReady
            | C::KafkaReady
            | C::TopicReady
            | C::StockReady
            | C::WorkloadsReady
            | C::ClocksAgree
    )
}

fn part(condition: ConditionType, failure: Option<(&'static str, String)>, well: &str) -> Report {
    match failure {
        Some((reason, message)) => Report::no(condition, reason, message),
        None => Report::yes(condition, "Available", well),
    }
}

fn topic_report(facts: &Facts<'_>) -> Report {
    use ConditionType::TopicReady;
    let Ok(log) = &facts.seen.log else {
        return Report::unknown(TopicReady, "KafkaUnreadable", "Kafka could not be asked about the topic");
    };
    let (TopicState::Present(topic), TopicState::Present(_)) = (&log.topic.events, &log.topic.dead_letters) else {
        return Report::no(TopicReady, "TopicMissing", "the topic or its dead-letter topic is not there yet");
    };
    if !topic.has_leaders() {
        return Report::no(TopicReady, "NoLeader", "some partition has no leader");
    }
    let asked = i32::from(facts.class.spec.kafka.replication_factor);
    let copies = topic::copies(topic);
    if copies < asked {
        let text = format!(
            "the topic has {copies} copies of each record, the class asks for {asked} and allows fewer; one broken broker can \
             stop or lose what it holds"
        );
        return Report::yes(TopicReady, "ReplicationLowered", text);
    }
    Report::yes(TopicReady, "TopicAsSpecified", "the topic and its dead-letter topic are as the spec says")
}

fn stock_report(facts: &Facts<'_>) -> Report {
    use ConditionType::StockReady;
    let (Ok(stock), Ok(ledger)) = (&facts.seen.stock, &facts.seen.ledger) else {
        return Report::unknown(StockReady, "Unreadable", "Redis and the database could not be compared");
    };
    match ledger.row.as_ref().and_then(|row| row.open_epoch) {
        Some(epoch) if stock.serves(epoch) => {
            Report::yes(StockReady, "StockFilled", format!("Redis holds the ledger of epoch {epoch}"))
        }
        Some(_) => Report::no(StockReady, "HistoryChanged", "Redis is not the one that the ledger was written into"),
        None => Report::no(StockReady, "NoOpenEpoch", "Redis is not filled yet"),
    }
}

fn clock_reason(plan: &Plan) -> &'static str {
    if plan.time.frozen { "ClocksDisagree" } else { "RedisClockWrong" }
}

/// Of a campaign whose window is open, as its users see it.
fn open_report(facts: &Facts<'_>, next: &CouponCampaignStatus) -> Report {
    use ConditionType::Open;
    let window = facts.plan.terms.start_ms..facts.plan.terms.end_ms;
    if let (Some(doubt), Some(redis_ms)) = (&facts.plan.time.doubt, facts.plan.time.redis_ms)
        && !window.contains(&redis_ms)
    {
        let text = format!("the window is open, but not by Redis' clock, so users are told otherwise: {doubt}");
        return Report::no(Open, clock_reason(facts.plan), text);
    }
    if let Some(cause) = facts.nobody_serves {
        return Report::no(Open, "IssuersNotServing", cause);
    }
    if next.issuer.as_ref().is_none_or(|issuer| issuer.ready == 0) {
        return Report::no(Open, "NoReadyIssuer", "the window is open, but no issuer pod is ready: users reach nobody");
    }
    Report::yes(Open, "WindowOpen", "coupons can be had")
}

/// Of a campaign that is suspended, as its users see it.
fn suspended_report(facts: &Facts<'_>) -> Report {
    use ConditionType::Open;
    if let Some(Stop::ByFence(told)) = facts.stop {
        let text = format!(
            "issuing is suspended by spec.suspend: Redis does not answer, so all {} issuers were told to grant nothing; Redis is \
             suspended when it is back",
            told.pods
        );
        return Report::no(Open, "SuspendedByFence", text);
    }
    if facts.campaign.spec.suspend {
        return Report::no(Open, "Suspended", "issuing is suspended by spec.suspend");
    }
    if facts.plan.terms.suspended {
        return Report::no(Open, "Suspended", "issuing is stopped by what condition Stalled says");
    }
    let text = format!("issuing is still suspended: going on is asked for, and not in force yet, {}", why_not(facts));
    Report::no(Open, "ResumptionPending", text)
}

/// What `report` says, and that it is still so although suspension was asked for.
fn pending_suspension(facts: &Facts<'_>, report: Report) -> Report {
    if !facts.campaign.spec.suspend || facts.plan.in_force.is_some_and(|terms| terms.suspended) {
        return report;
    }
    let told = match facts.stop {
        Some(Stop::ByFence(told)) => format!("; {} of {} issuers have stopped", told.fenced, told.pods),
        Some(Stop::Failed) => "; the issuers could not be told either".to_owned(),
        Some(Stop::InRedis) | None => String::new(),
    };
    let text = format!("suspension is asked for, and not in force yet, {}{told}; {}", why_not(facts), report.message);
    Report { reason: "SuspensionPending", message: text, ..report }
}

/// Why a change of terms is not in force yet.
fn why_not(facts: &Facts<'_>) -> String {
    let stock = facts.seen.stock.as_ref().err().map(|error| format!("because {}", stock_advice(error)));
    let ledger = || facts.seen.ledger.as_ref().err().map(|error| format!("because {}", table_advice(error)));
    stock
        .or_else(ledger)
        .or_else(|| facts.failure.map(|failure| format!("because {}", advice(failure))))
        .unwrap_or_else(|| "as the change is on its way".to_owned())
}

fn consistency_report(facts: &Facts<'_>) -> Report {
    use ConditionType::LedgerConsistent;
    let ledger = facts.seen.ledger.as_ref().ok();
    let issued = facts.seen.stock.as_ref().ok().map(|stock| stock.issued);
    let log = facts.seen.log.as_ref().ok();
    let work = Work::of(ledger, log, issued);
    if let Some(text) = rows_missing(ledger, log, issued) {
        return Report::no(LedgerConsistent, "RowsMissing", text);
    }
    if let (Looked { missing, published, oldest_ms: Some(oldest_ms), .. }, Work::Lag(_) | Work::Gap(_)) =
        (facts.looked, work)
    {
        let oldest = Timestamp::from_millisecond(*oldest_ms).unwrap_or_default();
        let text = format!(
            "{missing} winners were in Redis only, the oldest granted at {oldest:.0}; {published} of them are published again"
        );
        return Report::no(LedgerConsistent, "WinnersMissing", text);
    }
    // Enough rows for all winners prove nothing about records that nobody could look at.
    let unread = match (&facts.seen.log, &work) {
        (Ok(log), Work::None | Work::Unknown) => log.unread.as_ref(),
        (Err(error), Work::None) => Some(error),
        _ => None,
    };
    if let Some(error) = unread {
        return Report::unknown(LedgerConsistent, "NotCompared", unread_text(error));
    }
    match work {
        Work::None if ledger.is_some_and(|ledger| ledger.count_age_ms > COUNTED_LATELY_MS) => {
            Report::unknown(LedgerConsistent, "NotCounted", "some rows were not counted for ten minutes and more")
        }
        Work::None => Report::yes(LedgerConsistent, "AllStored", "every winner is a row or a dead letter"),
        Work::Lag(_) => Report::yes(LedgerConsistent, "InTheLog", "winners that are no rows yet wait in the log"),
        Work::Gap(_) => Report::no(
            LedgerConsistent,
            "Unconfirmed",
            "Redis has winners that are neither in the log nor in the database; those that stay so are published again",
        ),
        Work::Unknown => {
            Report::unknown(LedgerConsistent, "Unreadable", "Redis, Kafka and database could not be compared")
        }
    }
}

/// What is to be said of rows that the database has lost and that Redis does not hold either.
fn rows_missing(ledger: Option<&LedgerView>, log: Option<&LogView>, issued: Option<u64>) -> Option<String> {
    let (ledger, issued, dead) = (ledger?, issued?, log?.dead_ranks?);
    let known = issued.max(ledger.stored + dead);
    let lost = ledger.had.saturating_sub(known);
    (lost > 0 && ledger.row.is_some()).then(|| {
        format!(
            "the database has {} rows and once had {}; Redis knows {issued} winners, so {lost} rows are missing that nothing \
             here can bring back: restore a newer backup of the database",
            ledger.stored, ledger.had
        )
    })
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
