//! A Redis whose clock is wrong.

use operator::class::measure::clocks::Time;

use crate::fake::{INFO, Says, now_ms};
use crate::stage::{class, look};

/// Wrong: Redis' clock is two hours off, the sale ends or does not begin, and everything says Ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_has_witnesses() {
    const HOUR: i64 = 3_600_000;
    for (offset_ms, reason, says, believed) in [
        (0, "WithinASecond", "", true),
        (3_500, "ClocksApart", "Redis is", true),
        (2 * HOUR, "ClocksFarApart", "Redis is 2 h ahead of the operator", false),
        (-2 * HOUR, "ClocksFarApart", "Redis is 2 h behind the operator", false),
    ] {
        let settings = Says { offset_ms, ..Says::info(INFO) }.serve().await;
        let measured = look(&settings, &class("clocks")).await;
        let report = measured.clocks.report();
        assert_eq!(report.reason, reason, "{offset_ms} ms: {}", report.message);
        assert!(report.message.contains(says), "{}", report.message);
        // And what a pass makes of it, with the database as the third.
        let heard = measured.clocks.witnesses(now_ms(), std::time::Instant::now());
        assert!(heard.database_ms.is_some());
        let time = Time::compare(Some(now_ms() + offset_ms), &heard);
        assert_eq!(time.doubt.is_none(), believed, "{time:?}");
        assert!((time.now_ms - now_ms()).abs() < 5_000, "{time:?}");
    }
}
