//! Lists of addresses as any client may send them: nothing panics, and whoever is no trusted proxy stays who it is. `make fuzz` runs this for longer.

use axum::http::HeaderValue;
use coupon_testing::mangled::mangled;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_list(lines in proptest::collection::vec(mangled(vec![b"203.0.113.9, 10.0.0.2".to_vec(), b"[2001:db8::7]:4711".to_vec()]), 0..3)) {
        let mut headers = HeaderMap::new();
        // What is no value of a header does not come here.
        for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
            headers.append(FORWARDED_FOR, line);
        }
        let (stranger, gateway): (IpAddr, IpAddr) = ("203.0.113.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        prop_assert_eq!(of_request(stranger, &headers, &trusted), stranger);
        let found = of_request(gateway, &headers, &trusted);
        prop_assert_eq!(found, found.to_canonical());
        // What a proxy adds behind it makes all of it the business of that client.
        headers.append(FORWARDED_FOR, HeaderValue::from_static("203.0.113.1"));
        prop_assert_eq!(of_request(gateway, &headers, &trusted), stranger);
    }
}
