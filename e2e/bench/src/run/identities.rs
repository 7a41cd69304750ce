//! Users who prove who they are: their tokens, signed once for all rounds, and what an issuer is told of them.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use coupon_core::contract::{Authentication, KeySource, SignatureAlgorithm, TokenSettings};
use coupon_testing::tokens::{AUDIENCE, ISSUER, Signer, claims, key_set, now};

use super::catalogue::Identity;
use crate::load::user_id;

/// Users with a token of their own. To sign by RSA takes about a millisecond.
const USERS: u64 = 40_000;
/// Longer than any run, in seconds.
const VALID: i64 = 24 * 60 * 60;
const HEADER: &str = "x-user";

/// How users of a case say who they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identities {
    /// For the issuer.
    pub(crate) authentication: Authentication,
    /// For the load generator.
    pub(crate) arguments: Vec<String>,
}

impl Identities {
    /// Of this kind. Files are in this folder, and found there again.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) async fn of(identity: Identity, folder: &Path) -> Result<Self> {
        let algorithm = match identity {
            Identity::Believed => return Ok(Self::default()),
            Identity::Header => {
                return Ok(Self {
                    authentication: Authentication::Header { name: HEADER.to_owned() },
                    arguments: ["--user-header", HEADER].map(str::to_owned).to_vec(),
                });
            }
            Identity::NewToken(algorithm) => algorithm,
            Identity::KnownToken => SignatureAlgorithm::EdDsa,
        };
        let (tokens, keys) =
            (folder.join(format!("tokens-{algorithm}")), folder.join(format!("keys-{algorithm}.json")));
        if !tokens.exists() {
            let paths = (tokens.clone(), keys.clone());
            tokio::task::spawn_blocking(move || sign(algorithm, &paths.0, &paths.1)).await??;
        }
        let path = |path: PathBuf| path.into_os_string().into_string().ok().context("a path that is no text");
        let settings = TokenSettings {
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            claim: "sub".to_owned(),
            algorithms: vec![algorithm],
            leeway_seconds: 30,
            keys: KeySource::File { path: path(keys)? },
        };
        let arguments = vec!["--tokens".to_owned(), path(tokens)?];
        Ok(Self { authentication: Authentication::Jwt(settings), arguments })
    }
}

/// Writes a token for each user, one a line, and the set with the key.
fn sign(algorithm: SignatureAlgorithm, tokens: &Path, keys: &Path) -> Result<()> {
    const NAME: &str = "bench";
    let signer = match algorithm {
        SignatureAlgorithm::Rs256 => Signer::rsa(NAME),
        SignatureAlgorithm::Es256 => Signer::p256(NAME),
        SignatureAlgorithm::EdDsa => Signer::ed25519(NAME),
        other => anyhow::bail!("the benchmark has no key for {other}"),
    };
    let expires = now() + VALID;
    let token = |user| {
        let mut claims = claims(&user_id(user));
        claims["exp"] = expires.into();
        signer.sign(&claims) + "\n"
    };
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let part = USERS.div_ceil(threads);
    let text: String = thread::scope(|scope| {
        let signed = |number: u64| (number * part..USERS.min((number + 1) * part)).map(token).collect::<String>();
        let workers: Vec<_> = (0..threads).map(|number| scope.spawn(move || signed(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_default()).collect()
    });
    anyhow::ensure!(text.lines().count() as u64 == USERS, "tokens are missing");
    std::fs::write(keys, key_set(&[&signer]))?;
    Ok(std::fs::write(tokens, text)?)
}
