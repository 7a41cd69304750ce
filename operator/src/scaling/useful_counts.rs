//! Useful numbers of consumers: one more is of use only if the busiest then has fewer partitions.

/// Partitions of the busiest of `pods` consumers, when they are spread evenly.
fn share(partitions: i32, pods: i32) -> i32 {
    (partitions + pods - 1) / pods
}

/// The fewest pods whose busiest one has no more partitions than with `pods`: with 12 partitions, 4 do what 5 do.
/// 0 stays 0; never above `partitions`.
pub fn useful(pods: i32, partitions: i32) -> i32 {
    if pods <= 0 || partitions <= 0 {
        return 0;
    }
    share(partitions, share(partitions, pods.min(partitions)))
}

/// The fewest pods that do the work of `need` pods, work being spread evenly over the partitions: the busiest has no more
/// than one pod's work. 0 for no work; at most one pod per partition.
pub fn enough(need: f64, partitions: i32) -> i32 {
    if need <= 0.0 || partitions <= 0 {
        return 0;
    }
    // How many partitions one pod can carry.
    let each = (f64::from(partitions) / need).floor();
    if each < 1.0 {
        return partitions;
    }
    // At most `partitions` by then, which is a small whole number.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by `partitions`")]
    let each = each.min(f64::from(partitions)) as i32;
    share(partitions, each)
}

/// The next useful number below `pods`; 0 below 1.
pub fn below(pods: i32, partitions: i32) -> i32 {
    if pods <= 1 { 0 } else { useful(useful(pods, partitions) - 1, partitions).min(pods - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(partitions: i32) -> Vec<i32> {
        let mut found: Vec<i32> = (0..=partitions).map(|pods| useful(pods, partitions)).collect();
        found.dedup();
        found
    }

    #[test]
    fn another_pod_must_take_a_partition_off_the_busiest() {
        assert_eq!(all(12), [0, 1, 2, 3, 4, 6, 12]);
        assert_eq!(all(24), [0, 1, 2, 3, 4, 5, 6, 8, 12, 24]);
        assert_eq!(all(7), [0, 1, 2, 3, 4, 7]);
        assert_eq!(all(1), [0, 1]);
    }

    #[test]
    fn work_is_rounded_up_to_a_number_that_carries_it() {
        let found = |need| enough(need, 12);
        assert_eq!([0.0, 0.01, 1.0, 1.1, 2.0, 4.1, 6.0, 6.1, 99.0].map(found), [0, 1, 1, 2, 2, 6, 6, 12, 12]);
        // With 5 partitions, the busier of two pods has three fifths of the work.
        assert_eq!((enough(1.6, 5), enough(1.7, 5)), (2, 3));
        assert_eq!(enough(f64::INFINITY, 5), 5);
    }

    #[test]
    fn down_goes_one_useful_number_at_a_time() {
        let steps: Vec<i32> = std::iter::successors(Some(12), |pods| (*pods > 0).then(|| below(*pods, 12))).collect();
        assert_eq!(steps, [12, 6, 4, 3, 2, 1, 0]);
        assert_eq!(below(5, 12), 3, "5 do no more than 4");
    }

    proptest! {
        #[test]
        fn what_is_enough_is_useful_and_carries_the_work(need in 0.01f64..300.0, partitions in 1i32..256) {
            let pods = enough(need, partitions);
            prop_assert_eq!(useful(pods, partitions), pods);
            let busiest = f64::from(share(partitions, pods)) * need / f64::from(partitions);
            prop_assert!(pods == partitions || busiest <= 1.0 + 1e-9);
            prop_assert!(enough(need * 1.1, partitions) >= pods);
        }
    }
}
