//! The part of `Range` that resuming needs: one part, from a byte on.

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// All of them.
    All,
    /// Some.
    Part {
        /// The first.
        from: u64,
        /// How many; not 0.
        count: u64,
    },
    /// None of those that are there.
    Outside,
}

impl Range {
    /// Reads the header. What is not understood is ignored, as RFC 9110 wants it: then all bytes are sent.
    pub(super) fn read(header: Option<&str>, length: u64) -> Self {
        let Some((from, to)) = header.and_then(|header| header.strip_prefix("bytes=")?.split_once('-')) else {
            return Self::All;
        };
        let (Ok(from), Ok(to)) = (
            from.parse::<u64>(),
            if to.is_empty() { Ok(u64::MAX) } else { to.parse() },
        ) else {
            return Self::All;
        };
        if to < from {
            return Self::All;
        }
        if from >= length {
            return Self::Outside;
        }
        Self::Part {
            from,
            count: to.min(length - 1) - from + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_within_the_file() {
        let part = |from, count| Range::Part { from, count };
        let cases = [
            (None, Range::All),
            (Some("bytes=0-"), part(0, 100)),
            (Some("bytes=40-"), part(40, 60)),
            (Some("bytes=40-49"), part(40, 10)),
            (Some("bytes=99-999"), part(99, 1)),
            (Some("bytes=100-"), Range::Outside),
            (Some("bytes=-5"), Range::All),
            (Some("bytes=9-8"), Range::All),
            (Some("bytes=1-2,4-5"), Range::All),
            (Some("lines=1-2"), Range::All),
            (Some("bytes=18446744073709551616-"), Range::All),
        ];
        for (header, expected) in cases {
            assert_eq!(Range::read(header, 100), expected, "{header:?}");
        }
        assert_eq!(Range::read(Some("bytes=0-"), 0), Range::Outside);
    }
}
