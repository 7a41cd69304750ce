//! Requests to issue, made once and changed in place. Pure.

use std::rc::Rc;

use super::proof::Proof;

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
    proof: Rc<Proof>,
    /// Where a header with the user, or the token, begins.
    proof_at: usize,
    body: String,
}

/// What stands behind the digits of the user in the body.
const END: &str = "\"}";

impl Request {
    /// For coupons of this campaign.
    pub(crate) fn new(coupon: &str, proof: Rc<Proof>) -> Self {
        let body = format!("{{\"userId\":\"{}{END}", user_id(0));
        let mut text = format!(
            "POST /api/coupons/{coupon}/issue HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            body.len()
        );
        match &*proof {
            Proof::None => {}
            Proof::Header(name) => text += &format!("{name}: "),
            Proof::Tokens(_) => text += "authorization: Bearer ",
        }
        let proof_at = text.len();
        if let Proof::Header(_) = &*proof {
            text += &(user_id(0) + "\r\n");
        }
        text += "\r\n";
        Self { bytes: (text + &body).into_bytes(), proof, proof_at, body }
    }

    /// The request of this user.
    ///
    /// # Panics
    /// The user has no token.
    pub(crate) fn of(&mut self, user: u64) -> &[u8] {
        match &*self.proof {
            Proof::None => {}
            Proof::Header(_) => {
                let end = self.proof_at + user_id(0).len();
                write_digits(&mut self.bytes[end - DIGITS..end], user);
            }
            Proof::Tokens(tokens) => {
                self.bytes.truncate(self.proof_at);
                for part in [&tokens[user as usize], "\r\n\r\n", &self.body] {
                    self.bytes.extend_from_slice(part.as_bytes());
                }
            }
        }
        let end = self.bytes.len() - END.len();
        write_digits(&mut self.bytes[end - DIGITS..end], user);
        &self.bytes
    }
}

fn write_digits(digits: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        // A remainder of ten is a digit.
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_user_and_is_as_long_as_it_says() {
        let mut request = Request::new("spring", Rc::default());
        for user in [0, 7, 123_456_789_012, 999_999_999_999, 42] {
            let text = String::from_utf8(request.of(user).to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, format!("{{\"userId\":\"{}\"}}", user_id(user)));
            assert!(head.starts_with("POST /api/coupons/spring/issue HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
            assert_eq!(user_id(user).len(), 16);
        }
    }

    #[test]
    fn a_request_proves_whose_it_is() {
        let tokens = ["a", "longer.token", "b"].map(str::to_owned).to_vec();
        let by_token = |user: u64| format!("authorization: Bearer {}", tokens[user as usize]);
        let by_header = |user: u64| format!("x-user: {}", user_id(user));
        let cases: [(Proof, &dyn Fn(u64) -> String); 2] =
            [(Proof::Tokens(tokens.clone()), &by_token), (Proof::Header("x-user".to_owned()), &by_header)];
        for (proof, line) in cases {
            let mut request = Request::new("spring", Rc::new(proof));
            for user in [1, 0, 2, 1] {
                let text = String::from_utf8(request.of(user).to_vec()).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert_eq!(head.lines().last(), Some(&*line(user)), "{text}");
                assert_eq!(body, format!("{{\"userId\":\"{}\"}}", user_id(user)));
            }
        }
    }
}
