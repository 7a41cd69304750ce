//! draft
mod check; mod issuer; mod model; mod operator; mod people; mod rule; mod search; mod state; mod table;
mod stories;
use model::*; use search::*; use state::*;
fn draft(name: &str, c: Config) { run(name, Model::sound(c), None) }
pub fn run(name: &str, m: Model, only: Option<rule::Invariant>) {
    let t = std::time::Instant::now();
    let f = search(&m, Limits{states: std::env::var("S").ok().and_then(|x|x.parse().ok()).unwrap_or(3_000_000), quiet_every: if f_small(&m.config) {1} else {16}, only});
    println!("{name}: {} states, quiet {}, depth {}, exhaustive {}, {:?}", f.states, f.quiet, f.depth, f.exhaustive, t.elapsed());
    if let Some((i, steps)) = f.counterexample { println!("   {i} in {} steps", steps.len()); if std::env::var("T").is_ok() {for s in steps { println!("     {s}"); }} }
}
#[test]
fn clean() {
    println!("{}", size_of::<State>());
    let b = NOTHING;
    draft("failover+old, crash, timeout, 2 issuers", Config{issuers:2, old_primary:true, budget: Budget{failovers:1, crashes:1, timeouts:1, ..b}, ..CALM});
    draft("direct, 2 issuers", Config{issuers:2, direct:true, budget: Budget{failovers:1, timeouts:2, ..b}, ..CALM});
    draft("2 issuers, 2 ops, failover", Config{issuers:2, operators:2, epochs:3, old_primary:true, budget: Budget{failovers:1, ..b}, ..CALM});
    draft("1 issuer, 2 ops 3 epochs crash", Config{operators:2, epochs:3, old_primary:true, budget: Budget{failovers:1, crashes:1, timeouts:1, ..b}, ..CALM});
    draft("2 failovers", Config{epochs:3, old_primary:true, restarts:true, budget: Budget{failovers:2, timeouts:1, crashes:1, ..b}, ..CALM});
    draft("2 flushes repair loop redelivery", Config{epochs:3, redelivery:true, direct:true, budget: Budget{flushes:2, republished:1, timeouts:2, losses:1, ..b}, ..CALM});
    draft("2 coupons 3 users", Config{total:2, users:3, direct:true, budget: Budget{failovers:1, flushes: 0, republished:1, timeouts:1, losses:1, ..b}, ..CALM});
    draft("chunks", Config{total:2, users:2, chunks:true, operators:2, epochs:3, budget: Budget{failovers:1, timeouts:1, ..b}, ..CALM});
    draft("rebind", Config{total:2, users:2, rebind:true, operators:2, old_primary:true, epochs:3, budget: Budget{failovers:1, timeouts:1, ..b}, ..CALM});
    draft("rebind flush", Config{total:2, users:2, rebind:true, needless:true, epochs:3, budget: Budget{flushes:1, failovers:1, timeouts:1, ..b}, ..CALM});
    draft("dlt", Config{total:1, users:2, epochs:3, budget: Budget{flushes:2, timeouts:1, dead_letters:2, replays:1, ..b}, ..CALM});
    draft("two partitions", Config{partitions:2, log:3, budget: Budget{failovers:1, timeouts:2, republished:1, crashes:1, ..b}, ..CALM});
    draft("two per user", Config{limit:2, total:2, budget: Budget{failovers:1, timeouts:2, republished:1, ..b}, ..CALM});
    draft("delete", Config{operators:2, epochs:4, budget: Budget{flushes:1, timeouts:1, deletions:1, ..b}, ..CALM});
    draft("terms", Config{operators:2, epochs:3, budget: Budget{failovers:1, changes:2, ..b}, ..CALM});
    draft("resume 1", Config{needless:true, epochs: 3, budget: Budget{resumes:1, ..b}, ..CALM});
}
#[test]
fn stories() { for s in stories::STORIES { if std::env::var("O").is_ok_and(|o| !s.name.contains(&o)) {continue}; let mut m = Model::without(s.config, s.rules); m.conflict = s.conflict; run(s.name, m, Some(s.breaks)); } }
#[test]
fn open() {
    let b = NOTHING;
    run("dlt void", Model::without(Config{total:1, users:2, epochs:3, budget: Budget{flushes:2, timeouts:1, dead_letters:2, ..b}, ..CALM}, &[rule::Rule::DeadLettersVoid]), None);
    run("close", Model::without(Config{operators:2, epochs:3, budget: Budget{flushes:1, timeouts:1, deletions:1, ..b}, ..CALM}, &[rule::Rule::CloseAlwaysAllots,rule::Rule::EpochOfThisTopic]), None);
    run("close allots only", Model::without(Config{operators:2, epochs:4, budget: Budget{flushes:1, timeouts:1, deletions:1, ..b}, ..CALM}, &[rule::Rule::EpochOfThisTopic]), None);
    run("topic only", Model::without(Config{operators:2, epochs:4, budget: Budget{flushes:1, timeouts:1, deletions:1, ..b}, ..CALM}, &[rule::Rule::CloseAlwaysAllots]), None);
    run("terms", Model::without(Config{operators:2, epochs:1, budget: Budget{changes:2, ..b}, ..CALM}, &[rule::Rule::TermsNumbered]), None);
    run("terms1", Model::without(Config{operators:1, epochs:2, budget: Budget{changes:2,failovers:1, ..b}, ..CALM}, &[rule::Rule::TermsNumbered]), None);
    run("terms order", Model::without(Config{operators:1, epochs:2, budget: Budget{changes:2, ..b}, ..CALM}, &[rule::Rule::TotalInOrder]), None);
    run("resume 2 issuers", Model::sound(Config{issuers:2, epochs:2, budget: Budget{resumes:1, ..b}, ..CALM}), None);
    run("resume 1 behind off", Model::without(Config{ epochs:2, budget: Budget{resumes:1, ..b}, ..CALM}, &[rule::Rule::Behind]), None);
}
fn f_small(c: &Config) -> bool { c.budget.losses == 1 && c.budget.flushes == 0 && c.total == 1 }
