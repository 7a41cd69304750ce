//! How requests say whose they are, beside the body.

use std::path::Path;

use anyhow::{Context, Result};

use super::options::Options;

/// What says it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing but the body.
    #[default]
    None,
    /// A gateway's header of this name.
    Header(String),
    /// A token; that of each user, by number.
    Tokens(Vec<String>),
}

impl Proof {
    /// As the options say.
    ///
    /// # Errors
    /// The file of tokens cannot be read, or has none.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(match (&options.user_header, &options.tokens) {
            (Some(name), _) => Self::Header(name.clone()),
            (None, Some(path)) => Self::Tokens(read(path).with_context(|| format!("tokens in {}", path.display()))?),
            (None, None) => Self::None,
        })
    }

    /// How many users there are, if not any number.
    pub(crate) fn users(&self) -> Option<u64> {
        match self {
            Self::Tokens(tokens) => Some(tokens.len() as u64),
            Self::None | Self::Header(_) => None,
        }
    }
}

fn read(path: &Path) -> Result<Vec<String>> {
    let tokens: Vec<String> = std::fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    anyhow::ensure!(!tokens.is_empty(), "there are none");
    Ok(tokens)
}
