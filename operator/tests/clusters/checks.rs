//! What people were told, held against the ledger.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use coupon_ledger::database;
use coupon_ledger::redis::RedisKeys;
use coupon_sink::drain::{self, Source};
use serde_json::{Value, json};

use super::load::{Answer, LoadGenerator};
use super::realm::Realm;
use super::wait::{PATIENCE, until};

impl Realm {
    /// Somebody changes two scores by hand, and all counts fit.
    pub(crate) async fn two_holders_swap_ranks_in_redis(&self, load: &LoadGenerator) {
        let two: Vec<(String, u64)> =
            load.told.lock().unwrap().iter().take(2).map(|told| (told.user.clone(), told.rank)).collect();
        let [(one, first), (other, second)] = two.as_slice() else { panic!("two people") };
        let (mut redis, keys) = (self.systems.redis().await.unwrap(), RedisKeys::of(&self.campaign));
        let mut swap = redis::cmd("ZADD");
        swap.arg(&keys.issued).arg(second).arg(format!("1:{one}")).arg(first).arg(format!("1:{other}"));
        swap.query_async::<()>(&mut redis).await.unwrap();
    }

    /// All that there is of the campaign outside of Kubernetes, in words.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let mut all = vec![format!("{:?}", self.row().await)];
        let sql = "SELECT CAST(CONCAT_WS(' ', updated_at, (SELECT COUNT(*) FROM issued_coupon WHERE campaign_id = id), \
                   (SELECT COUNT(*) FROM epoch_barrier WHERE campaign_id = id), (SELECT COUNT(*) FROM drained WHERE campaign_id = id)) AS CHAR) \
                   FROM campaign WHERE id = ?";
        let counts: String =
            sqlx::query_scalar(sql).bind(self.row().await.id.0).fetch_one(&self.systems.sql).await.unwrap();
        all.push(counts);
        let mut redis = self.systems.redis().await.unwrap();
        let pattern = format!("*{{{}}}*", self.campaign);
        let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
        keys.sort();
        assert!(!keys.is_empty());
        for key in keys {
            let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
            let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
            all.push(format!("{key} {left} {dump:?}"));
        }
        let (topic, dead) = (self.campaign.topic(), self.campaign.dead_letter_topic());
        let kafka = &self.systems.kafka;
        all.push(format!(
            "{:?}",
            kafka
                .describe_topics(&[&topic, &dead])
                .await
                .unwrap()
                .into_iter()
                .collect::<BTreeMap<_, _>>()
                .values()
                .map(|state| format!("{state:?}"))
                .collect::<Vec<_>>()
        ));
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1), (dead.as_str(), 0)]).await.unwrap();
        all.push(format!("{:?}", ends.into_iter().map(|(at, end)| (at, end.unwrap())).collect::<BTreeMap<_, _>>()));
        all.push(format!("{:?}", kafka.committed_offsets(&self.campaign.group(), &topic, 2).await.unwrap()));
        all
    }

    /// Whoever was told a rank asks again, and hears the same one.
    pub(crate) async fn nobody_gets_a_second(&self, load: &LoadGenerator, issuer: SocketAddr) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        let url = format!("http://{issuer}/api/coupons/{}/issue", self.campaign.coupon_id());
        let told: Vec<(String, u64)> =
            load.told.lock().unwrap().iter().map(|told| (told.user.clone(), told.rank)).collect();
        for (user, rank) in told {
            let answer: Value = until("an answer", async || {
                let asked = client.post(&url).json(&json!({"userId": user})).send().await.ok()?;
                let answered = asked.status().is_success();
                asked.json().await.ok().filter(|_| answered)
            })
            .await;
            assert_eq!(answer["rank"].as_u64(), Some(rank), "{user}: {answer}");
        }
    }

    /// Stores what is in the topic, as consumers would, and holds the rows against what people were told.
    pub(crate) async fn everybody_has_what_they_were_told(&self, load: &LoadGenerator) {
        let (kafka, sql) = (&self.systems.kafka, &self.systems.sql);
        let topic = self.campaign.topic();
        let ends = kafka.end_offsets(&[(topic.as_str(), 0), (topic.as_str(), 1)]).await.unwrap();
        let range = ends.into_iter().map(|((_, partition), end)| (partition, (0, end.unwrap()))).collect();
        let settings = &self.systems.settings.operator.kafka;
        let source = Source { kafka: settings, pool: sql, campaign: &self.campaign, range: &range };
        let drained = drain::drain(source, PATIENCE, |_| {}).await.unwrap();
        let (row, mut rows, mut above) = (self.row().await.id, BTreeMap::new(), 0);
        loop {
            let page = database::read_rows(sql, &self.campaign, row, above, 2_000).await.unwrap();
            let Some(last) = page.last() else { break };
            above = last.rank;
            rows.extend(page.into_iter().map(|event| (event.rank, event.user_id.as_str().to_owned())));
        }
        let told = load.told.lock().unwrap();
        assert!(!told.is_empty());
        let mut holders = BTreeMap::new();
        for Answer { user, rank, .. } in told.iter() {
            assert_eq!(rows.get(rank), Some(user), "rank {rank} of {}; {drained:?}", told.len());
            assert_eq!(holders.insert(*rank, user.clone()), None, "rank {rank} was told twice");
        }
    }
}
