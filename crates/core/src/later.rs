//! A version after this one, as tests need it beside this one: it writes a field more into each format, as a later version may
//! ([`crate::format`]), and is the same otherwise.
//!
//! Compiled in only with `debug_assertions`, as [`crate::failpoints`]; in a release build there is none.

/// A file that an image of the later version has.
#[cfg(debug_assertions)]
const MARK: &str = "/etc/coupon-operator/later-version";

/// What a later version writes beside what this one knows; `None` in this version.
#[inline]
pub fn field() -> Option<&'static str> {
    #[cfg(debug_assertions)]
    {
        static LATER: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::path::Path::new(MARK).exists());
        LATER.then_some("of a later version")
    }
    #[cfg(not(debug_assertions))]
    None
}

/// A value as it is written: by this version as it is, by a later one with a field more.
#[derive(Debug, serde::Serialize)]
pub struct Written<T> {
    #[serde(flatten)]
    value: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<&'static str>,
}

/// `value` with the field of a later version, if this is one.
pub fn written<T>(value: T) -> Written<T> {
    Written { value, later: field() }
}
