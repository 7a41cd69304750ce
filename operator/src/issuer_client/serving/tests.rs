use super::*;

const EPOCHS: Option<Epochs> = Some(Epochs { allotted: 5, open: 5 });

fn pod(epoch: Option<u64>, floor: u64, reason: &str) -> Option<Pressure> {
    let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
    Some(Pressure { epoch, floor, reason, ..Pressure::default() })
}

fn answers(pods: &[(&str, Option<Pressure>)]) -> Answers {
    pods.iter().map(|(uid, answer)| ((*uid).to_owned(), answer.clone())).collect()
}

/// What each moment brings, of a watch that sees the same all the time.
fn verdicts(pods: &[(&str, Option<Pressure>)], at: &[i64]) -> Vec<Verdict> {
    let mut watch = ServingWatch::default();
    at.iter().map(|at_ms| watch.observe(*at_ms, EPOCHS, &answers(pods))).collect()
}

#[test]
fn who_serves_is_left_alone_and_who_has_just_been_fenced_too() {
    let serving = pod(Some(5), 5, "");
    assert_eq!(verdicts(&[("a", serving.clone()), ("b", serving)], &[0, 60_000]), [Verdict::Serving, Verdict::Serving]);
    assert_eq!(
        verdicts(&[("a", pod(None, 5, "Fenced"))], &[0, 3_900]),
        [Verdict::Waiting(None), Verdict::Waiting(None)]
    );
    assert_eq!(verdicts(&[("a", None)], &[0, 60_000]), [Verdict::Serving, Verdict::Serving], "the probes judge that");
    assert_eq!(verdicts(&[], &[0, 60_000]), [Verdict::Serving, Verdict::Serving]);
}

/// Wrong: coupons are said to be had because nobody denies it.
#[test]
fn somebody_grants_only_if_an_issuer_says_so() {
    let (serving, fenced) = (pod(Some(5), 5, ""), pod(None, 6, "Fenced"));
    let failing = serving.clone().map(|pod| Pressure { failing: Some("NOPERM evalsha".to_owned()), ..pod });
    let mut watch = ServingWatch::default();
    for (what, at_ms, open, pods, expected) in [
        ("nobody was asked yet", 0, OpenEpoch::Recorded(Some(5)), vec![], Some(Service::Silent)),
        (
            "one grants",
            1_000,
            OpenEpoch::Recorded(Some(5)),
            vec![("a", serving.clone()), ("b", fenced.clone())],
            Some(Service::Grants),
        ),
        ("it is late", 5_000, OpenEpoch::Recorded(Some(5)), vec![("a", None)], Some(Service::Grants)),
        ("it stays silent", 6_000, OpenEpoch::Recorded(Some(5)), vec![("a", None)], Some(Service::Silent)),
        (
            "the database cannot say what is open",
            7_000,
            OpenEpoch::AtLeast(4),
            vec![("a", serving.clone())],
            Some(Service::Grants),
        ),
        ("nor that a repair went past it", 7_500, OpenEpoch::AtLeast(6), vec![("a", serving.clone())], None),
        ("another epoch is open", 8_000, OpenEpoch::Recorded(Some(6)), vec![("a", serving.clone())], None),
        ("it has said that it does not", 8_001, OpenEpoch::Recorded(Some(6)), vec![("a", None)], Some(Service::Silent)),
        ("it serves it, and Redis lets it do nothing", 8_500, OpenEpoch::Recorded(Some(5)), vec![("a", failing)], None),
        ("none grants", 9_000, OpenEpoch::Recorded(Some(5)), vec![("a", fenced), ("b", None)], None),
    ] {
        let found = watch.service(at_ms, open, true, &answers(&pods));
        match expected {
            Some(expected) => assert_eq!(found, expected, "{what}"),
            None => assert!(matches!(&found, Service::Refuses(text) if text.contains("503")), "{what}: {found:?}"),
        }
    }
}

/// Wrong: a right that is missing breaks the campaign, and all that is said is that it is closed.
#[test]
fn what_an_issuer_met_is_said_beside_what_became_of_it() {
    let words = "Redis does not let the user run ZADD, which issue.lua needs";
    let closed = pod(None, 5, "Closed").map(|pod| Pressure { failing: Some(words.to_owned()), ..pod });
    let away = pod(None, 5, "RedisAway").map(|pod| Pressure { failing: Some("Connection refused".to_owned()), ..pod });
    let both = answers(&[("a", closed.clone()), ("b", closed), ("c", None)]);
    let service = ServingWatch::default().service(0, OpenEpoch::Recorded(None), false, &both);
    assert!(
        matches!(&service, Service::Refuses(text) if text.contains(&format!("(2 Closed, {words})"))),
        "{service:?}"
    );
    assert_eq!(right_missing(&both), Some(words));
    assert_eq!(right_missing(&answers(&[("a", away), ("b", pod(Some(5), 5, "")), ("c", None)])), None);
}

/// Wrong: issuers whose password was changed keep their old one until the window ends, as they are "ready".
#[test]
fn issuers_that_get_nothing_out_of_redis_do_not_work_after_a_while() {
    let failing = pod(Some(5), 5, "").map(|pod| Pressure { failing: Some("WRONGPASS".to_owned()), ..pod });
    let (failing, well) = (answers(&[("a", failing)]), answers(&[("a", pod(Some(5), 5, ""))]));
    let mut watch = ServingWatch::default();
    for (at_ms, could_grant, pods, expected) in [
        (0, true, &failing, false),
        (9_999, true, &failing, false),
        (10_000, true, &failing, true),
        (10_001, true, &well, false),
        (11_000, true, &failing, false),
        // What they need is away, and comes back.
        (21_000, false, &failing, false),
        (99_000, false, &failing, false),
        (99_500, true, &failing, false),
        (109_499, true, &failing, false),
        (109_500, true, &failing, true),
    ] {
        watch.service(at_ms, OpenEpoch::Recorded(Some(5)), could_grant, pods);
        assert_eq!(watch.refuses_long(), expected, "{at_ms}");
    }
}

#[test]
fn when_nobody_serves_a_new_epoch_is_opened_within_five_seconds() {
    for reason in ["RedisKeysBroken", "Fenced", "CampaignClosed", "RedisBehind", ""] {
        let verdicts = verdicts(&[("a", pod(None, 6, reason)), ("b", pod(None, 6, reason))], &[0, 1_000, 4_000, 6_000]);
        let at = if reason == "RedisKeysBroken" { 1 } else { 2 };
        assert!(matches!(&verdicts[at], Verdict::NewEpoch(text) if text.contains("503")), "{reason}: {verdicts:?}");
        assert!(matches!(&verdicts[3], Verdict::Waiting(Some(_))), "{reason}: not again at once, and not silent");
    }
    let other = verdicts(&[("a", pod(Some(4), 4, ""))], &[0, 4_000]);
    assert!(matches!(other[1], Verdict::NewEpoch(_)), "an epoch that is not open is not served rightly");
}

#[test]
fn what_a_new_epoch_does_not_bring_is_waited_for_and_said() {
    for reason in ["DatabaseAway", "RedisAway", "Starting"] {
        let verdicts = verdicts(&[("a", pod(None, 5, reason))], &[0, 4_000, 600_000]);
        for verdict in &verdicts[1..] {
            assert!(verdict.nobody_serves().is_some_and(|text| text.contains(reason)), "{verdict:?}");
            assert!(matches!(verdict, Verdict::Waiting(_)), "{verdict:?}");
        }
    }
    let mut watch = ServingWatch::default();
    let broken = answers(&[("a", pod(None, 6, "RedisKeysBroken"))]);
    assert_eq!(watch.observe(0, None, &broken), Verdict::Serving);
    assert_eq!(watch.observe(10_000, None, &broken), Verdict::Serving, "nothing is open: nobody is judged");
    assert_eq!(watch.observe(10_001, EPOCHS, &broken), Verdict::Waiting(None), "and time counts from then");
}

#[test]
fn one_of_several_is_replaced_and_the_others_go_on() {
    let pods = [("a", pod(Some(5), 5, "")), ("b", pod(None, 6, "RedisKeysBroken"))];
    let found = verdicts(&pods, &[0, 14_000, 15_000]);
    assert_eq!(found[..2], [Verdict::Waiting(None), Verdict::Waiting(None)]);
    assert!(matches!(&found[2], Verdict::Replace(uids, _) if uids == &["b"]), "{found:?}");
    assert_eq!(found[2].nobody_serves(), None, "users are served");
}

#[test]
fn a_pod_that_waits_for_an_epoch_that_nobody_allotted_is_replaced() {
    // No epoch can be opened above such a floor, and the floor of a process never falls.
    let pods = [("a", pod(None, u64::MAX, "Fenced")), ("b", pod(Some(5), 5, ""))];
    let found = verdicts(&pods, &[0, 4_000]);
    assert!(matches!(&found[1], Verdict::Replace(uids, _) if uids == &["a"]), "{found:?}");
}

#[test]
fn mends_that_do_not_help_become_rare() {
    let mut watch = ServingWatch::default();
    let broken = answers(&[("a", pod(None, 6, "RedisKeysBroken"))]);
    let hour = 1800;
    let mends = (0..hour).filter(|tick| matches!(watch.observe(tick * 2_000, EPOCHS, &broken), Verdict::NewEpoch(_)));
    assert_eq!(mends.count(), 16, "in an hour");
    let serving = answers(&[("a", pod(Some(5), 5, ""))]);
    watch.observe(hour * 2_000 + FORGIVEN_MS * 6, EPOCHS, &serving);
    watch.observe(hour * 2_000 + FORGIVEN_MS * 6 + 1, EPOCHS, &broken);
    let again = watch.observe(hour * 2_000 + FORGIVEN_MS * 6 + 3_000, EPOCHS, &broken);
    assert!(matches!(again, Verdict::NewEpoch(_)), "after a quiet time the first mend comes at once");
}
