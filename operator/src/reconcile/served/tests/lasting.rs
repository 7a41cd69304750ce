//! What is counted stands, whatever comes between: hands in Redis, restarts of the operator, and the time after the window.

use super::*;

/// Wrong: somebody moves the window in Redis by hand, and what was counted of it is forgotten, for good.
#[test]
fn a_window_that_is_moved_in_redis_by_hand_is_no_other_window() {
    for moved_to in [START - HOUR, START + MINUTE, END] {
        let mut life = Life::new();
        life.pass(0, Err("no issuer pod is ready"));
        assert_eq!(life.pass(30, Err("no issuer pod is ready")).0.unserved_seconds, Some(30));
        life.scene.in_redis().terms.start_ms = moved_to;
        assert_eq!(life.pass(2, Err("the window has not begun")).0.unserved_seconds, Some(32), "{moved_to}");
        // A pass that cannot look sees it in status.
        let mut terms = crate::fixtures::terms_status(false);
        terms.window.start = Timestamp::from_millisecond(moved_to).unwrap();
        life.scene.campaign.status.as_mut().unwrap().terms = Some(terms);
        assert_eq!(life.blind(2, &no_class()).0.unserved_seconds, Some(34), "{moved_to}");
        life.scene.in_redis().terms.start_ms = START;
        life.pass(2, Err("no issuer pod is ready"));
        let (status, _) = life.pass(4, Ok(()));
        assert_eq!((status.unserved_seconds, served(&status).unwrap().0), (Some(40), "ServedInPart"), "{moved_to}");
    }
}

/// Wrong: each restart of the operator loses what was not written yet, and the time until the next process looks; and calls the longest
/// cause the last.
#[test]
fn a_restart_loses_no_time_and_no_cause() {
    let mut life = Life::new();
    life.pass(0, Err("exceeded quota"));
    // The reason is the cause.
    let other = |life: &mut Life| life.blind(0, &no_class());
    life.pass(60, Err("exceeded quota"));
    let (status, _) = other(&mut life);
    assert_eq!(status.unserved_until.map(Timestamp::as_millisecond), Some(START + 60_000));
    life.restart();
    let (status, _) = life.blind(12, &no_class());
    assert_eq!(status.unserved_seconds, Some(72));
    let causes: Vec<(&str, i64)> =
        status.unserved_causes.iter().map(|each| (each.reason.as_str(), each.seconds)).collect();
    assert_eq!(causes, [("ClassNotFound", 12), ("NoReadyIssuer", 60)]);
    let text = served(&status).unwrap().1;
    assert!(text.contains("the last cause: CampaignClass `main`"), "{text}");
    assert!(text.ends_with("for longer before that: exceeded quota"), "{text}");

    // Of what nobody has seen the end of, or not for long, nothing is said.
    for (seconds, now) in [(12, Ok(())), (12, Err("nobody knows")), (31, Err("exceeded quota"))] {
        let mut next = Life { watch: ServedWatch::default(), scene: life.scene.clone(), ..Life::new() };
        next.at_ms = life.at_ms;
        let (status, _) = next.pass(seconds, now);
        assert_eq!(status.unserved_seconds, Some(72), "{now:?}");
        let expected = now.is_err_and(|why| why != "nobody knows");
        assert_eq!(status.unserved_until.is_some(), expected, "{now:?}");
    }
}

/// Wrong: what happens after the window, such as a restart of Redis, changes why it was not served, with a new warning each time.
#[test]
fn what_happens_after_the_window_is_no_cause() {
    // Counted; and not seen at all, but for what was said before.
    for (before_end, reason) in [(30_000, "NotServed"), (2_000, "WindowNotSeen")] {
        for restarts in [false, true] {
            let mut life = Life::new();
            life.at_ms = END - START - before_end;
            life.pass(0, Err("exceeded quota"));
            let (status, warning) = life.pass(before_end / 1000, Err("the window is over"));
            let said = served(&status).map(|(reason, text)| (reason.to_owned(), text.to_owned())).unwrap();
            assert_eq!((said.0.as_str(), warning.map(|warning| warning.reason)), (reason, Some(reason)));
            assert!(said.1.contains("exceeded quota"), "{}", said.1);
            assert_eq!(status.unserved_until, None);
            let well = life.scene.clone();
            for _ in 0..2 {
                for scene in [well.clone().redis_emptied(), well.clone()] {
                    if restarts {
                        life.restart();
                    }
                    life.scene = Scene { campaign: life.scene.campaign.clone(), ..scene };
                    let (status, warning) = life.pass(60, Err("Redis holds nothing of the campaign"));
                    let now = served(&status).map(|(reason, text)| (reason.to_owned(), text.to_owned()));
                    assert_eq!((now.as_ref(), warning), (Some(&said), None), "{:?}", status.phase);
                }
            }
            let phase = life.scene.campaign.status.as_ref().unwrap().phase;
            assert!(matches!(phase, Some(Phase::Completed | Phase::Draining)), "{phase:?}");
        }
    }
}

/// Wrong: a window that was served, and of which nobody wanted a coupon, is one that nobody saw, as Redis was restarted after it.
#[test]
fn a_repair_after_the_window_says_nothing_of_it() {
    let mut life = Life::new();
    life.pass(2, Ok(()));
    life.at_ms = END - START + HOUR;
    let over = Err("the window is over");
    assert_eq!(served(&life.pass(0, over).0), None);
    let well = life.scene.clone();
    for scene in [well.clone().redis_emptied(), well] {
        life.restart();
        life.scene = Scene { campaign: life.scene.campaign.clone(), ..scene };
        let (status, warning) = life.pass(60, over);
        assert_eq!((served(&status), warning), (None, None), "{:?}", status.phase);
    }
}

/// Wrong: while a cluster's own name is taken away status says that another cluster sells, and nothing is counted.
#[test]
fn a_cluster_that_has_lost_its_name_sells_nothing_and_that_counts() {
    let renamed = ReconcileError::ClusterNameChanged("the ledger is this object's own, under another name".to_owned());
    let mut life = Life::new();
    life.pass(2, Ok(()));
    life.blind(2, &renamed);
    let (status, _) = life.blind(20, &renamed);
    assert_eq!((status.unserved_seconds, served(&status).unwrap().0), (Some(20), "ServedInPart"));
    let (said, reason, text) = open(&status);
    assert_eq!((said, reason), ("False", "ClusterNameChanged"));
    assert!(text.contains("users are turned away") && !text.contains("another cluster"), "{text}");
    assert!(life.scene.campaign.status.as_ref().unwrap().next_transition.is_some(), "what was known stays");
}
