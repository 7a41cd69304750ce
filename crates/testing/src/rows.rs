//! Rows of many winners, made by the database itself.

use std::ops::RangeInclusive;

/// Rows of one statement: some seconds.
const ROWS: u64 = 100_000;

/// Statements that make a row for each of these ranks of the campaign with this number. A user is `user` and twelve digits of the rank; keys
/// are as long as those that issuers make.
///
/// For MariaDB, which counts by itself.
pub fn statements(campaign: u64, ranks: RangeInclusive<u64>, user: &str) -> Vec<String> {
    let last = *ranks.end();
    let statement = |from: u64| {
        let to = (from + ROWS - 1).min(last);
        format!(
            "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
             SELECT {campaign}, seq, CONCAT('{user}', LPAD(seq, 12, '0')), 1, CONCAT('auto-', LPAD(seq, 32, '0')), 1, 1 \
             FROM seq_{from}_to_{to}"
        )
    };
    ranks.step_by(ROWS as usize).map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_is_in_one_statement() {
        let ends = |ranks| -> Vec<String> {
            let all = statements(7, ranks, "user");
            all.iter().map(|text| text.rsplit_once(' ').unwrap().1.to_owned()).collect()
        };
        assert_eq!(ends(1..=250_000), ["seq_1_to_100000", "seq_100001_to_200000", "seq_200001_to_250000"]);
        assert_eq!(ends(5..=5), ["seq_5_to_5"]);
    }
}
