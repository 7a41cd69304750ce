//! What status says of a campaign whose keys were removed from Redis.

use super::*;

/// Wrong: an empty Redis reads as a loss, or as nothing issued; or rows that vanish afterwards are nobody's, as Redis is not asked any more.
#[test]
fn keys_that_were_removed_are_no_loss_and_rows_that_vanish_then_are() {
    let removed = || Scene::completed().retained_for(24).at(END + 24 * HOUR).keys_removed();
    let status = status_of(&removed());
    assert_eq!(says(&status, ConditionType::RedisKeysReady), "True/KeysRemoved");
    assert_eq!(says(&status, ConditionType::LedgerConsistent), "True/AllStored");
    assert_eq!(says(&status, ConditionType::Ready), "True/AllChecksPassed");
    let at = status.redis_keys_removed.as_ref().map(|Time(at)| at.as_millisecond());
    assert_eq!((at, status.phase), (Some(END + 24 * HOUR), Some(Phase::Completed)));
    assert_eq!((status.issued, status.persisted, status.unconfirmed), (Some(100), Some(100), Some(0)));

    // Where one of both cannot be read, what was known stays.
    let known = removed().with(|s| s.campaign.status = Some(status.clone()));
    for away in [known.clone().redis_away(), known.clone().database_away()] {
        let status = status_of(&away);
        assert_eq!(status.redis_keys_removed.as_ref().map(|Time(at)| at.as_millisecond()), at);
        assert_eq!((status.issued, status.phase), (Some(100), Some(Phase::Completed)));
    }
    let vanished = status_of(&known.clone().stored(90).had(100));
    assert_eq!(
        (says(&vanished, ConditionType::Ready), vanished.phase),
        ("False/NoOpenEpoch".to_owned(), Some(Phase::Repairing))
    );
    assert_eq!((vanished.issued, vanished.once_persisted), (Some(100), Some(100)));
    let refilled = status_of(&Scene::completed().with(|s| s.campaign.status = Some(status.clone())));
    assert_eq!(
        (refilled.redis_keys_removed.clone(), says(&refilled, ConditionType::RedisKeysReady).as_str()),
        (None, "True/RedisKeysFilled")
    );
}

/// Wrong: a campaign that is applied again over a ledger whose keys were removed has no terms in status, until Redis is filled or for good.
#[test]
fn a_ledger_whose_keys_were_removed_has_its_terms_in_status_whoever_meets_it() {
    let removed = || Scene::completed().retained_for(24).at(END + 24 * HOUR).keys_removed();
    let shown = |scene: &Scene| {
        let status = status_of(scene);
        let terms =
            status.terms.map(|terms| (terms.total_quantity, terms.window.end.as_millisecond(), terms.suspended));
        (status.phase, terms)
    };
    let on_record = Some((100, END, false));
    assert_eq!(shown(&removed()), (Some(Phase::Completed), on_record));
    let longer = removed().ending(END + 48 * HOUR);
    assert_eq!(shown(&longer), (Some(Phase::Repairing), on_record), "the longer window is not in force yet");
    let anew = longer.with(|scene| (scene.campaign.status, scene.row().object_uid) = (None, Some("2".to_owned())));
    assert_eq!(shown(&anew).1, on_record, "by another object");
    let never_opened = removed().with(|scene| scene.row().opened_user_limit = None);
    assert_eq!(shown(&never_opened).1, None);
}
