//! Coupons of people who were forgotten: they stay, under a pseudonym.
//!
//! The former user id comes back: in records that are read again, in dead letters, from a Redis that was restored. So whoever takes
//! winners from there gives them their pseudonyms first: [`super::store`] for all that becomes a row, a repair for all that it writes
//! into Redis, and whoever judges dead letters. A pseudonym belongs to a rank, not to a person for ever: somebody who is forgotten and
//! wins again has won a coupon of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coupon_core::event::CouponIssued;
use coupon_core::identity::{Identity, RequestKey, UserId};
use sha2::{Digest, Sha256};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::{MySql, QueryBuilder};

use super::campaign::MAX_RANKS;
use super::error::DatabaseError;
use super::row::CampaignRowId;

/// What pseudonyms begin with.
const PREFIX: &str = "forgotten-";

/// A pseudonym that tells nothing of whom it stands for.
pub fn new_pseudonym() -> UserId {
    UserId::of_ours(format!("{PREFIX}{:032x}", rand::random::<u128>()))
}

/// The key of a request under a pseudonym: the former one may say as much as a user id.
pub fn key_of(pseudonym: &UserId) -> RequestKey {
    RequestKey::of_ours(pseudonym.as_str().to_owned())
}

/// Pseudonyms of some ranks.
#[derive(Debug, Default)]
pub struct Pseudonyms {
    by_rank: HashMap<u64, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    salt: Vec<u8>,
    hash: Vec<u8>,
    pseudonym: UserId,
}

/// Rank, salt, hash, pseudonym.
type Columns = (u64, Vec<u8>, Vec<u8>, Vec<u8>);

fn hash(salt: &[u8], user: &UserId) -> Vec<u8> {
    Sha256::new().chain_update(salt).chain_update(user.as_str()).finalize().to_vec()
}

impl Pseudonyms {
    /// The pseudonym of this user's coupon of this rank, if they were forgotten.
    pub fn of(&self, rank: u64, user: &UserId) -> Option<&UserId> {
        let entry = self.by_rank.get(&rank)?.iter().find(|entry| entry.hash == hash(&entry.salt, user))?;
        Some(&entry.pseudonym)
    }

    /// Puts the winner under the pseudonym, if there is one.
    pub fn rename(&self, event: &mut CouponIssued) {
        if let Some(pseudonym) = self.of(event.rank, &event.user_id) {
            event.request_key = key_of(pseudonym);
            event.user_id = pseudonym.clone();
        }
    }
}

/// How often somebody of this campaign was forgotten.
///
/// # Errors
/// The database failed.
pub async fn forgotten_number(pool: &MySqlPool, id: CampaignRowId) -> Result<u64, DatabaseError> {
    let question = "SELECT forgotten_number FROM campaign WHERE id = ?";
    Ok(sqlx::query_scalar(question).bind(id.0).fetch_one(pool).await?)
}

/// The pseudonyms of these ranks.
///
/// # Errors
/// The database failed.
pub async fn pseudonyms(
    pool: &MySqlPool,
    id: CampaignRowId,
    ranks: impl IntoIterator<Item = u64>,
) -> Result<Pseudonyms, DatabaseError> {
    read(&mut *pool.acquire().await?, id, ranks).await
}

/// The same within a transaction. A locking read sees what is committed now; a snapshot would not.
pub(super) async fn read(
    connection: &mut MySqlConnection,
    id: CampaignRowId,
    ranks: impl IntoIterator<Item = u64>,
) -> Result<Pseudonyms, DatabaseError> {
    let mut found = Pseudonyms::default();
    let ranks: Vec<u64> = ranks.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    for chunk in ranks.chunks(MAX_RANKS) {
        let mut query = QueryBuilder::<MySql>::new(
            "SELECT issue_rank, salt, user_hash, pseudonym FROM forgotten_coupon WHERE campaign_id = ",
        );
        query.push_bind(id.0).push(" AND issue_rank IN (");
        let mut list = query.separated(", ");
        for rank in chunk {
            list.push_bind(*rank);
        }
        query.push(") LOCK IN SHARE MODE");
        let rows: Vec<Columns> = query.build_query_as().fetch_all(&mut *connection).await?;
        for (rank, salt, hash, pseudonym) in rows {
            let pseudonym = text(pseudonym)?;
            found.by_rank.entry(rank).or_default().push(Entry { salt, hash, pseudonym });
        }
    }
    Ok(found)
}

fn text(bytes: Vec<u8>) -> Result<UserId, DatabaseError> {
    let decode = |e: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Sql(sqlx::Error::Decode(e));
    UserId::new(String::from_utf8(bytes).map_err(|e| decode(e.into()))?).map_err(|e| decode(e.into()))
}

/// Ranks that are stored, or given up, as this user's, each with its n.
///
/// # Errors
/// The database failed.
pub async fn ranks_of(pool: &MySqlPool, id: CampaignRowId, user: &UserId) -> Result<BTreeMap<u64, u32>, DatabaseError> {
    let mut all = BTreeMap::new();
    for question in [
        "SELECT issue_rank, user_nth FROM issued_coupon WHERE campaign_id = ? AND user_id = ?",
        "SELECT issue_rank, user_nth FROM discarded_coupon WHERE campaign_id = ? AND user_id = ?",
    ] {
        let rows: Vec<(u64, u32)> =
            sqlx::query_as(question).bind(id.0).bind(user.as_str().as_bytes()).fetch_all(pool).await?;
        all.extend(rows);
    }
    Ok(all)
}

/// Puts this user's coupons of these ranks under pseudonyms, for good: those that they have already, or `fresh`. From the commit on no
/// row is stored under the former id again. Answers the pseudonym of each rank. Doing it twice changes nothing.
///
/// # Errors
/// The database failed; nothing was written.
pub async fn forget(
    pool: &MySqlPool,
    id: CampaignRowId,
    user: &UserId,
    ranks: &BTreeSet<u64>,
    fresh: &UserId,
) -> Result<BTreeMap<u64, UserId>, DatabaseError> {
    let mut tx = pool.begin().await?;
    // Whoever stores winners holds it shared: they come before this, and see nothing of it, or after it, and see all.
    sqlx::query("UPDATE campaign SET forgotten_number = forgotten_number + 1 WHERE id = ?")
        .bind(id.0)
        .execute(&mut *tx)
        .await?;
    let known = read(&mut tx, id, ranks.iter().copied()).await?;
    let mut all = BTreeMap::new();
    for rank in ranks {
        let pseudonym = match known.of(*rank, user) {
            Some(pseudonym) => pseudonym,
            None => {
                let salt = rand::random::<[u8; 16]>();
                sqlx::query(
                    "INSERT INTO forgotten_coupon (campaign_id, issue_rank, pseudonym, salt, user_hash) VALUES (?, ?, ?, ?, ?)",
                )
                .bind(id.0)
                .bind(*rank)
                .bind(fresh.as_str().as_bytes())
                .bind(&salt[..])
                .bind(hash(&salt, user))
                .execute(&mut *tx)
                .await?;
                fresh
            }
        };
        for change in [
            "UPDATE issued_coupon SET user_id = ?, request_key = ? WHERE campaign_id = ? AND issue_rank = ? AND user_id = ?",
            "UPDATE discarded_coupon SET user_id = ?, request_key = ? WHERE campaign_id = ? AND issue_rank = ? AND user_id = ?",
        ] {
            sqlx::query(change)
                .bind(pseudonym.as_str().as_bytes())
                .bind(key_of(pseudonym).as_str().as_bytes())
                .bind(id.0)
                .bind(*rank)
                .bind(user.as_str().as_bytes())
                .execute(&mut *tx)
                .await?;
        }
        all.insert(*rank, pseudonym.clone());
    }
    tx.commit().await?;
    Ok(all)
}

/// The campaigns of a realm that the database knows, by name.
///
/// # Errors
/// The database failed.
pub async fn campaigns_of(pool: &MySqlPool, realm: &str) -> Result<Vec<Identity>, DatabaseError> {
    let question = "SELECT namespace, coupon_id FROM campaign WHERE realm = ? ORDER BY namespace, coupon_id";
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(question).bind(realm.as_bytes()).fetch_all(pool).await?;
    let name = |(namespace, coupon): &(Vec<u8>, Vec<u8>)| {
        Identity::new(realm, std::str::from_utf8(namespace).ok()?, std::str::from_utf8(coupon).ok()?).ok()
    };
    // What is no name of a campaign was not written by these programs.
    Ok(rows.iter().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_that_of_one_user_and_rank() {
        let (anna, bert, pseudonym) = (UserId::new("anna").unwrap(), UserId::new("bert").unwrap(), new_pseudonym());
        let entry = Entry { salt: vec![1; 16], hash: hash(&[1; 16], &anna), pseudonym: pseudonym.clone() };
        let known = Pseudonyms { by_rank: HashMap::from([(7, vec![entry])]) };
        assert_eq!(known.of(7, &anna), Some(&pseudonym));
        assert_eq!((known.of(8, &anna), known.of(7, &bert), known.of(7, &pseudonym)), (None, None, None));
        assert_ne!(hash(&[2; 16], &anna), hash(&[1; 16], &anna));
        assert_ne!(new_pseudonym(), pseudonym);
    }
}
