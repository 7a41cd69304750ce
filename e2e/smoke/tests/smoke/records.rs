//! Records of winners: written by issuers, read by consumers.

use coupon_core::event::{CouponIssued, HeaderRef};
use coupon_core::identity::CampaignId;
use smoke::bounds::Measured;
use smoke::counting::Counting;

use super::servers::winner;

const RECORDS: u32 = 1_000;

pub(crate) fn measure() -> Vec<Measured> {
    let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
    let (event, each) = (winner(&campaign, 123_456), f64::from(RECORDS));
    let mut value = event.encode();
    let headers: [HeaderRef<'_>; 4] = [
        ("event-type", Some(b"CouponIssued")),
        ("event-version", Some(b"1")),
        ("campaign", Some(b"prod/shop/spring")),
        ("epoch", Some(b"1")),
    ];
    let writing = Counting::begin();
    for _ in 0..RECORDS {
        event.encode_into(&mut value);
    }
    let written = writing.allocations();
    let reading = Counting::begin();
    for _ in 0..RECORDS {
        assert_eq!(CouponIssued::of_record(&campaign, &headers, Some(&value)).as_ref(), Ok(&event));
    }
    let read = reading.allocations();
    vec![
        Measured { name: "record_bytes", value: value.len() as f64 },
        Measured { name: "allocations_to_write_a_record", value: written / each },
        Measured { name: "allocations_to_read_a_record", value: read / each },
    ]
}
