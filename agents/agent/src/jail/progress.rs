//! Reads what `qemu-img -p` says: `    (12.34/100%)`, over and over in one line.

/// Most bytes of an unfinished number that are kept.
const PENDING_BYTES_MAX: usize = 32;

/// The number that is being read.
#[derive(Debug, Default)]
pub(super) struct Percent {
    pending: Option<String>,
}

impl Percent {
    /// Takes what came and tells each whole number, from 0 to 1.
    pub(super) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(f64)) {
        for byte in bytes {
            match (byte, &mut self.pending) {
                (b'(', pending) => *pending = Some(String::new()),
                (b'/', Some(digits)) => {
                    if let Ok(percent) = digits.parse::<f64>() {
                        tell((percent / 100.0).clamp(0.0, 1.0));
                    }
                    self.pending = None;
                }
                (byte, Some(digits)) if digits.len() < PENDING_BYTES_MAX => digits.push(char::from(*byte)),
                (_, pending) => *pending = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_across_reads() {
        let mut percent = Percent::default();
        let mut told = Vec::new();
        for part in ["    (0.00/100%)\r   (12.", "50/100%)\r(x/100%)(", "((100.00/100%)\n"] {
            percent.feed(part.as_bytes(), |done| told.push(done));
        }
        assert_eq!(told, [0.0, 0.125, 1.0]);
    }
}
