//! How long ago something was, as a table says it. Never the exact time: `-o json` has that.

use jiff::Timestamp;

/// The time from `then` to `now`: `45s`, `12m`, `3h20m`, `4d`. A moment in the future is `0s`: clocks differ.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => joined(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => joined(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

fn joined(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (3_600, "60m"),
            (12_000, "3h20m"),
            (40_000, "11h"),
            (400_000, "4d"),
            (-5, "0s"),
        ];
        for (second, text) in cases {
            assert_eq!(age(at(0), at(second)), text, "{second}");
        }
    }
}
