use super::*;

const PATIENCE: Patience = Patience {
    still: Duration::from_secs(30),
    rebalance: Duration::from_secs(120),
    check_interval: Duration::from_secs(5),
    replacements: 3,
    above_total: Duration::ZERO,
};

fn held(generation: u64, next: Option<i64>) -> Held {
    Held { generation, next, in_hand: false, paused: false }
}

fn log(end: i64, committed: Option<i64>) -> Log {
    Log { start: 0, end, committed }
}

/// A reader and its witness, looked at every five seconds.
struct Scene {
    watch: Watch,
    begun: Instant,
    now: Instant,
    drained: u64,
}

impl Scene {
    fn new() -> Self {
        let begun = Instant::now();
        Self { watch: Watch::new(PATIENCE), begun, now: begun, drained: 1 }
    }

    /// One look at partition 0 and no other.
    fn check(&mut self, held: Held, log: Option<Log>) -> Verdict {
        self.check_at([(0, held)], false, log.map(|log| (0, log)))
    }

    fn check_at(
        &mut self,
        held: impl IntoIterator<Item = (i32, Held)>,
        unsettled: bool,
        logs: impl IntoIterator<Item = (i32, Log)>,
    ) -> Verdict {
        self.drained += 1;
        let reader = Reader { held: held.into_iter().collect(), unsettled, drained: self.drained };
        let question = self.watch.observe(reader, self.now);
        self.answer(&question, Evidence { logs: logs.into_iter().collect(), group: None })
    }

    /// One look while nothing is held.
    fn check_group(&mut self, is_empty: bool, nobodys: &[i32], logs: &[(i32, Log)]) -> Verdict {
        let reader = Reader { held: BTreeMap::new(), unsettled: true, drained: self.drained };
        let question = self.watch.observe(reader, self.now);
        assert_eq!(question, Question::Group);
        let group = Some(GroupView { is_empty, nobodys: nobodys.iter().copied().collect() });
        self.answer(&question, Evidence { logs: logs.iter().copied().collect(), group })
    }

    fn answer(&mut self, question: &Question, evidence: Evidence) -> Verdict {
        let verdict = self.watch.evaluate(question, &evidence, self.now);
        self.now += PATIENCE.check_interval;
        verdict
    }

    /// Looks until something stands still; after how many seconds, and what. `None`: never, within ten minutes.
    fn until_still(&mut self, mut check: impl FnMut(&mut Self) -> Verdict) -> Option<(u64, StandstillCause)> {
        for _ in 0..120 {
            let at = self.now.saturating_duration_since(self.begun).as_secs();
            if let Verdict::Still(Standstill { cause, .. }) = check(self) {
                return Some((at, cause));
            }
        }
        None
    }
}

fn not_read(next: i64, waiting: u64) -> StandstillCause {
    StandstillCause::Unread { partition: 0, next, waiting }
}

/// Wrong: a blind reader is taken for one that has nothing to read, or one that has nothing to read for a blind one.
#[test]
fn a_partition_is_not_read_when_records_wait_at_one_place_for_long() {
    let busy = |held: Held| Held { in_hand: true, ..held };
    let paused = |held: Held| Held { paused: true, ..held };
    let at = |next| held(1, Some(next));
    for (what, held, log, expected) in [
        // The first look only learns where it is, the second sees records wait.
        ("records wait", at(5), Some(log(9, None)), Some((35, not_read(5, 4)))),
        ("never read, nothing committed", held(1, None), Some(log(9, None)), Some((35, not_read(0, 9)))),
        ("never read, committed by another", held(1, None), Some(log(9, Some(7))), Some((35, not_read(7, 2)))),
        (
            "never read, committed before what was removed",
            held(1, None),
            Some(Log { start: 8, ..log(9, Some(7)) }),
            Some((35, not_read(8, 1))),
        ),
        ("all is read", at(9), Some(log(9, None)), None),
        ("nothing there", held(1, None), Some(log(0, None)), None),
        ("all is committed", held(1, None), Some(log(9, Some(9))), None),
        ("a witness that knows less", at(9), Some(log(8, None)), None),
        ("a blind witness", at(5), None, None),
        ("the writer has records", busy(at(5)), Some(log(9, None)), None),
        ("the database is away", paused(at(5)), Some(log(9, None)), None),
    ] {
        let mut scene = Scene::new();
        assert_eq!(scene.until_still(|scene| scene.check(held, log)), expected, "{what}");
    }
}

#[test]
fn whatever_moves_or_is_assigned_anew_begins_again() {
    let waits = Some(log(1000, None));
    let mut scene = Scene::new();
    // A slow reader is no blind one.
    for next in 0..50 {
        assert!(!matches!(scene.check(held(1, Some(next)), waits), Verdict::Still(_)));
        assert!(!matches!(scene.check(held(1, Some(next)), waits), Verdict::Still(_)));
    }
    // Nor is one whose partition comes and goes.
    for generation in 2..50 {
        assert!(!matches!(scene.check(held(generation, None), waits), Verdict::Still(_)));
        assert!(!matches!(scene.check(held(generation, None), waits), Verdict::Still(_)));
    }
    // Nor is one that the database held up for long.
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.check(Held { paused: true, ..held(1, Some(5)) }, waits);
    }
    let resumed = scene.now.saturating_duration_since(scene.begun).as_secs();
    let still = scene.until_still(|scene| scene.check(held(1, Some(5)), waits));
    assert_eq!(still, Some((resumed + 35, not_read(5, 995))));
}

/// Wrong: after an outage of Kafka each reader is replaced while it finds its way back; or a witness that fails now and then
/// proves nothing for ever.
#[test]
fn time_counts_only_while_the_witness_sees_records_wait() {
    let (reader, waits) = (held(1, Some(5)), Some(log(9, None)));
    let mut scene = Scene::new();
    for log in [waits; 4].into_iter().chain([None; 60]).chain([waits; 4]) {
        assert_eq!(scene.check(reader, log), Verdict::Unclear);
    }
    let mut looks = 0;
    let mut scene = Scene::new();
    let flapping = scene.until_still(|scene| {
        looks += 1;
        scene.check(reader, waits.filter(|_| looks % 3 != 0))
    });
    assert_eq!(flapping.map(|(_, cause)| cause), Some(not_read(5, 4)));
}

/// Wrong: with a long backlog and a slow database, a partition whose records queue behind those of others is called blind.
#[test]
fn what_may_be_fetched_and_queue_behind_others_is_not_held_against_the_reader() {
    let mut scene = Scene::new();
    let (mut looks, mut drained_at) = (0, None);
    let still = scene.until_still(|scene| {
        looks += 1;
        let held = [(0, held(1, Some(5))), (1, held(1, Some(100 * looks)))];
        // The backlog of partition 1 is gone after five minutes.
        if looks < 60 {
            scene.drained -= 1;
        } else {
            drained_at.get_or_insert(scene.now.saturating_duration_since(scene.begun).as_secs());
        }
        scene.check_at(held, false, [(0, log(9, None))])
    });
    assert_eq!(still, drained_at.map(|at| (at + 30, not_read(5, 4))));
}

#[test]
fn a_rebalance_is_waited_for_but_not_for_ever() {
    let mut scene = Scene::new();
    let still = scene.until_still(|scene| scene.check_at([(0, held(1, Some(5)))], true, [(0, log(9, None))]));
    assert_eq!(still, Some((150, not_read(5, 4))), "two minutes, and then as long as ever");
}

#[test]
fn the_partition_that_was_seen_first_is_named_and_one_that_is_read_hides_none() {
    let mut scene = Scene::new();
    let mut read = 0;
    let still = scene.until_still(|scene| {
        read += 1;
        let held = [(0, held(1, Some(read))), (1, held(1, Some(7))), (2, held(1, Some(3)))];
        let late = if read > 3 { 9 } else { 3 };
        scene.check_at(held, false, [(0, log(500, None)), (1, log(8, None)), (2, log(late, None))])
    });
    assert_eq!(still, Some((35, StandstillCause::Unread { partition: 1, next: 7, waiting: 1 })));
    scene.watch.clear(1);
    let next = scene.check_at([(1, held(1, Some(7)))], false, [(1, log(8, None))]);
    assert_eq!(next, Verdict::Unclear, "nothing was there: it begins again");
}

#[test]
fn who_holds_nothing_stands_still_only_if_the_group_does() {
    let waits = (1, log(9, Some(4)));
    let sum = |cause: fn(u64) -> StandstillCause| Some(cause(5));
    let out: fn(u64) -> StandstillCause = |waiting| StandstillCause::OutOfGroup { waiting };
    let unshared: fn(u64) -> StandstillCause = |waiting| StandstillCause::Unshared { waiting };
    for (what, is_empty, nobodys, logs, after, expected) in [
        ("others hold all", false, &[][..], &[][..], None, None),
        ("nobody is in the group", true, &[0, 1], &[(0, log(3, Some(3))), waits], Some(30), sum(out)),
        ("nobody is in the group, and nothing waits", true, &[0], &[(0, log(3, Some(3)))], Some(30), Some(out(0))),
        ("others hold what is not empty", false, &[0], &[(0, log(3, Some(3)))], None, None),
        ("a rebalance without end", false, &[0, 1], &[(0, log(3, Some(3))), waits], Some(120), sum(unshared)),
        ("a part of it is not known", true, &[0, 1], &[waits], None, None),
    ] {
        let mut scene = Scene::new();
        let still = scene.until_still(|scene| scene.check_group(is_empty, nobodys, logs));
        assert_eq!(still, after.zip(expected), "{what}");
    }
    // Records that somebody stores meanwhile are in good hands.
    let (mut scene, mut committed) = (Scene::new(), 0);
    let moving = scene.until_still(|scene| {
        committed += 1;
        scene.check_group(false, &[0], &[(0, log(500, Some(committed)))])
    });
    assert_eq!(moving, None);
}

#[test]
fn only_what_is_known_to_be_read_is_calm() {
    let calm = |held: Held, log: Option<Log>| {
        let mut scene = Scene::new();
        let first = scene.check(held, log);
        (first, scene.check(held, log))
    };
    let (quiet, done) = (held(1, Some(9)), Some(log(9, None)));
    assert_eq!(calm(quiet, done), (Verdict::Unclear, Verdict::Calm));
    assert_eq!(calm(quiet, None), (Verdict::Unclear, Verdict::Unclear));
    assert_eq!(calm(Held { in_hand: true, ..quiet }, None), (Verdict::Calm, Verdict::Calm));
    assert_eq!(calm(Held { paused: true, ..quiet }, None), (Verdict::Unclear, Verdict::Unclear));
    let mut scene = Scene::new();
    scene.check(held(1, Some(1)), None);
    assert_eq!(scene.check(held(1, Some(2)), None), Verdict::Calm, "it moved");
    assert_eq!(scene.check(held(2, None), None), Verdict::Unclear, "it was assigned anew");
}
