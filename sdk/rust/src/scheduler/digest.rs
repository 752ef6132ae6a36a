//! The hash of a row, as `policy.load` in `wit/policy.wit` defines it. Host and guest must compute the same.

const ROW: u64 = 0x9E37_79B9_7F4A_7C15;
const WORD: u64 = 0xD6E8_FEB8_6659_FD93;

/// What the hash of a row starts from.
#[must_use]
#[inline(always)]
pub const fn row_seed(row: u64) -> u64 {
    (row.wrapping_add(1)).wrapping_mul(ROW)
}

/// Goes on with one more 64-bit word of the row.
#[must_use]
#[inline(always)]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(WORD);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::{mix, row_seed};

    /// Known answers: whoever writes the other side can compare.
    #[test]
    fn known_answers() {
        assert_eq!(row_seed(0), 0x9E37_79B9_7F4A_7C15);
        assert_eq!(row_seed(1), 0x3C6E_F372_FE94_F82A);
        let by_hand = (0x9E37_79B9_7F4A_7C15_u128 ^ 42) * 0xD6E8_FEB8_6659_FD93 % (1 << 64);
        let by_hand = u64::try_from(by_hand).unwrap();
        assert_eq!(mix(row_seed(0), 42), by_hand ^ (by_hand >> 32));
    }
}
