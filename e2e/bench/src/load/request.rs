//! Requests to issue, made once and changed in place. Pure.

/// Digits at the end of a user id.
const DIGITS: usize = 12;

/// Who the user with this number is: 16 bytes.
pub(crate) fn user_id(number: u64) -> String {
    format!("user{number:0DIGITS$}")
}

/// A request for a coupon, with room for any user.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the digits of the user id begin.
    digits: usize,
}

impl Request {
    /// For coupons of this campaign.
    pub(crate) fn new(coupon: &str) -> Self {
        let body = format!("{{\"userId\":\"{}\"}}", user_id(0));
        let text = format!(
            "POST /api/coupons/{coupon}/issue HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let digits = text.len() - DIGITS - "\"}".len();
        Self { bytes: text.into_bytes(), digits }
    }

    /// The request of this user.
    pub(crate) fn of(&mut self, user: u64) -> &[u8] {
        let mut rest = user;
        for digit in self.bytes[self.digits..self.digits + DIGITS].iter_mut().rev() {
            // A remainder of ten is a digit.
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_user_and_is_as_long_as_it_says() {
        let mut request = Request::new("spring");
        for user in [0, 7, 123_456_789_012, 999_999_999_999, 42] {
            let text = String::from_utf8(request.of(user).to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, format!("{{\"userId\":\"{}\"}}", user_id(user)));
            assert!(head.starts_with("POST /api/coupons/spring/issue HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
            assert_eq!(user_id(user).len(), 16);
        }
    }
}
