//! Who logs in where.

use std::fmt;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// A user name and its password. Never printed.
///
/// Written, it always has both. What is read and says anything says `password` too, empty where there is none: a key that is not
/// known may be of a newer program, but without the one that every program writes it is a mistake, and nobody should find out at a server
/// that the password was none.
#[derive(Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// User name; empty means none.
    pub username: String,
    /// Password; empty means none.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, ***)", self.username)
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Login", &["username", "password"], LoginVisitor)
    }
}

struct LoginVisitor;

impl<'de> Visitor<'de> for LoginVisitor {
    type Value = Login;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys username and password")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Login, A::Error> {
        let (mut username, mut password, mut others) = (String::new(), None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "username" => username = map.next_value()?,
                "password" => password = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    others = true;
                }
            }
        }
        if password.is_none() && (others || !username.is_empty()) {
            return Err(de::Error::custom(
                "a login has the keys username and password; password is missing here, or written otherwise (it may be empty)",
            ));
        }
        Ok(Login { username, password: password.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    /// Wrong: a password whose key is misspelt is no password, and only a server says so, or none does.
    #[test]
    fn a_login_says_its_password() {
        let login = |username: &str, password: &str| Login { username: username.into(), password: password.into() };
        for (text, expected) in [
            ("{username: pods, password: sesame}", login("pods", "sesame")),
            ("{password: sesame}", login("", "sesame")),
            ("{username: pods, password: ''}", login("pods", "")),
            ("{username: '', password: ''}", Login::default()),
            ("{username: ''}", Login::default()),
            ("{}", Login::default()),
            ("{username: pods, password: sesame, certificate: of a newer one}", login("pods", "sesame")),
        ] {
            assert_eq!(yaml::from_str::<Login>(text).unwrap(), expected, "{text}");
        }
        for text in [
            "{username: pods}",
            "{username: pods, pasword: sesame}",
            "{username: pods, Password: sesame}",
            "{pasword: sesame}",
            "{sesame: password}",
        ] {
            let error = yaml::from_str::<Login>(text).unwrap_err().to_string();
            assert!(error.contains("username and password") && !error.contains("sesame"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for login in [Login::default(), Login { username: "pods".into(), password: String::new() }] {
            assert_eq!(yaml::from_str::<Login>(&yaml::to_string(&login).unwrap()).unwrap(), login);
        }
    }
}
