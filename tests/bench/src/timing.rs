//! Order statistics: means are at the mercy of whatever else the machine does.

use std::time::Duration;

/// The value in the middle.
///
/// # Panics
/// When there is none.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(values, 50)
}

/// The smallest value that so many percent of all do not exceed.
///
/// # Panics
/// When there is none.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).saturating_sub(1)]
}

/// In microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn ranks_are_the_nearest() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((median(hundred.clone()), percentile(hundred, 99)), (50.0, 99.0));
        assert_eq!((median(vec![7.0]), percentile(vec![7.0], 99)), (7.0, 7.0));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
