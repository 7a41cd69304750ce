//! How the fields of the file are read: by the types that YAML itself gives them, and never empty where something must stand. Errors
//! name the field that is wrong and what to write, and never repeat its value.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A text of which something is left without its white space.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(de::Error::custom("is empty; write a text")) } else { Ok(text) }
}

/// The name or the address of a machine.
pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_host(&text) {
        Ok(text)
    } else {
        Err(de::Error::custom("write the name or the address of a machine, and nothing else"))
    }
}

/// One `host:port`.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Address::deserialize(deserializer).map(|address| address.0)
}

/// At least one `host:port`.
pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all = Vec::<Address>::deserialize(deserializer)?;
    if all.is_empty() {
        return Err(de::Error::custom("is empty; write at least one host:port, such as ['host:1234']"));
    }
    Ok(all.into_iter().map(|address| address.0).collect())
}

/// What may be left out, and says something where it is not.
pub(super) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// True or false, and no text that says so.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Flag)
}

/// A version of the file.
pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    number(deserializer, Number { least: 1, most: u32::MAX.into() })
}

/// A port of TCP.
pub(super) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    number(deserializer, Number { least: 1, most: u16::MAX.into() })
}

/// Which of a Redis' databases.
pub(super) fn database<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    number(deserializer, Number { least: 0, most: u16::MAX.into() })
}

struct Address(String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_port =
            |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && is_port(port) => Ok(Self(text)),
            _ => Err(de::Error::custom(
                "write host:port, such as 'host:1234', and nothing else: a login has a field of its own",
            )),
        }
    }
}

/// Nothing of a URL is one: what stands before an `@` is a password, most likely, and who cannot be reached is named.
fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#'\"".contains(c))
}

struct Flag;

impl Visitor<'_> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false, without quotes")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

fn number<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D, wanted: Number) -> Result<T, D::Error> {
    let wrong = de::Error::invalid_value(Unexpected::Other("another number"), &wanted);
    T::try_from(deserializer.deserialize_any(wanted)?).map_err(|_| wrong)
}

/// A whole number within these bounds.
struct Number {
    least: u64,
    most: u64,
}

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}, without quotes", self.least, self.most)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        if (self.least..=self.most).contains(&value) {
            return Ok(value);
        }
        Err(E::invalid_value(Unexpected::Other("another number"), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        // Every negative one is out of bounds.
        self.visit_u64(u64::try_from(value).unwrap_or(u64::MAX))
    }
}
