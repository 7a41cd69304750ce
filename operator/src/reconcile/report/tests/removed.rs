//! What status says of a campaign whose keys were removed from Redis.

use super::*;

/// Wrong: an empty Redis reads as a loss, or as nothing issued; or rows that vanish afterwards are nobody's, as Redis is not asked any more.
#[test]
fn keys_that_were_removed_are_no_loss_and_rows_that_vanish_then_are() {
    let removed = || Scene::completed().retained_for(24).at(END + 24 * HOUR).keys_removed();
    let status = status_of(&removed());
    assert_eq!(says(&status, ConditionType::StockReady), "True/KeysRemoved");
    assert_eq!(says(&status, ConditionType::LedgerConsistent), "True/AllStored");
    assert_eq!(says(&status, ConditionType::Ready), "True/AsItShouldBe");
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
        (refilled.redis_keys_removed.clone(), says(&refilled, ConditionType::StockReady).as_str()),
        (None, "True/StockFilled")
    );
}
