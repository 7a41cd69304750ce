//! Reads counters of the programs' metrics. Pure.

/// The sum of all samples of this name, whatever their labels; 0 if there is none.
pub(crate) fn sum(text: &str, name: &str) -> f64 {
    text.lines().filter_map(|line| value(line, name)).sum()
}

fn value(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
    // Behind the value an exemplar or a time may follow.
    rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_added() {
        let text = "# HELP x_records Records\n# TYPE x_records counter\nx_records_total{outcome=\"stored\"} 5\n\
            x_records_total{outcome=\"a } b\"} 2\nx_records_total_more 7\nx_size_sum 12.5\nx_size_count 3 1.0\n# EOF\n";
        assert_eq!(sum(text, "x_records_total"), 7.0);
        assert_eq!((sum(text, "x_size_sum"), sum(text, "x_size_count"), sum(text, "y")), (12.5, 3.0, 0.0));
    }
}
