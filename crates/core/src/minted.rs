//! Keys that we make for requests that come without one.
//!
//! With one coupon per user and no key of the client's, the user is the key (`lua/issue.lua`). That must also hold for a client that was
//! asked to try again with this key, and does: so a key that we made is recognised. It is not a secret and opens nothing: a request with it
//! gets what a request for that user without a key gets. Its last digits are computed from the others and from the user, so that a client's
//! own key does not look like it by chance, nor does a key that was made for another user.

use sha2::{Digest, Sha256};

use crate::identity::{RequestKey, UserId};

/// What keys that we make begin with.
const PREFIX: &str = "auto-";
/// Hexadecimal digits of chance, and of the check behind them.
const CHANCE: usize = 24;
const CHECK: usize = 8;

/// A key that nobody else has. To be made before the first call, so that repeating the call grants nothing twice.
pub fn mint(user: &UserId) -> RequestKey {
    let chance = format!("{:032x}", rand::random::<u128>())[..CHANCE].to_owned();
    RequestKey::of_ours(format!("{PREFIX}{chance}{}", check(&chance, user)))
}

/// Whether we made this key, for this user.
///
/// ```
/// use coupon_core::identity::UserId;
/// use coupon_core::minted::{is_minted, mint};
///
/// let (anna, bert) = (UserId::new("anna")?, UserId::new("bert")?);
/// let key = mint(&anna);
/// assert!(is_minted(&key, &anna) && !is_minted(&key, &bert));
/// # Ok::<(), coupon_core::identity::NameError>(())
/// ```
pub fn is_minted(key: &RequestKey, user: &UserId) -> bool {
    let digits = key.as_str().strip_prefix(PREFIX).filter(|digits| digits.len() == CHANCE + CHECK);
    digits
        .and_then(|digits| digits.split_at_checked(CHANCE))
        .is_some_and(|(chance, found)| found == check(chance, user))
}

fn check(chance: &str, user: &UserId) -> String {
    let digest = Sha256::new().chain_update(chance).chain_update(user.as_str()).finalize();
    digest.iter().take(CHECK / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_minted_key_is_known_again_for_its_user_only() {
        let (anna, bert) = (user("anna"), user("bert"));
        let (one, two) = (mint(&anna), mint(&anna));
        assert_ne!(one, two);
        assert!(is_minted(&one, &anna) && is_minted(&two, &anna) && !is_minted(&one, &bert));
        assert_eq!(one.as_str().len(), PREFIX.len() + CHANCE + CHECK);
    }

    #[test]
    fn what_clients_choose_is_not_taken_for_ours() {
        let (anna, ours) = (user("anna"), mint(&user("anna")).to_string());
        let other_digit = if ours.ends_with('0') { "1" } else { "0" };
        for key in [
            "order-4711".to_owned(),
            "auto-".to_owned(),
            "auto-0123456789abcdef0123456789abcdef".to_owned(),
            ours.to_uppercase(),
            format!("{ours}0"),
            ours[..ours.len() - 1].to_owned(),
            format!("{}{other_digit}", &ours[..ours.len() - 1]),
            ours.replace("auto-", "Auto-"),
            format!("\"{ours}\""),
            format!("auto-{}", "\u{e9}".repeat(16)),
        ] {
            assert!(!is_minted(&RequestKey::new(key.clone()).unwrap(), &anna), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(key in "auto-\\PC{0,40}") {
            if let Ok(key) = RequestKey::new(key) {
                let _ = is_minted(&key, &user("anna"));
            }
        }
    }
}
