//! The ledger's bytes: frames that can be told from rubbish.
//!
//! One frame is one flush: `SLF1`, the payload's length, a CRC, a sequence number, and entries as JSON. So a write that
//! was torn is always the last frame; a broken frame with a good one after it is damage.

use serde::{Deserialize, Serialize};
use symphony_core::counter::{Admission, Epoch, Generation, Tenure};

const MAGIC: [u8; 4] = *b"SLF1";
const HEADER_BYTES: usize = 20;
/// Largest payload, in bytes. [`super::QUEUE_MAX`] entries need a tenth of it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// One thing to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A manager with this epoch was heard.
    Epoch(Epoch),
    /// An object is about to be acted on.
    Acted {
        /// `volume/ID` and the like.
        object: String,
        /// The generation of its spec.
        generation: Generation,
    },
    /// An object was placed here, or is to go: nothing below this tenure is done for it any more.
    Floor {
        /// `machine/ID` and the like.
        object: String,
        /// The highest tenure that was heard of.
        tenure: Tenure,
    },
    /// The node has settled what it may keep under this admission.
    Admitted(Admission),
    /// The store was at this revision.
    Revision(u64),
}

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) sequence: u64,
    pub(super) entries: Vec<Entry>,
}

/// What a ledger's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) frames: Vec<Frame>,
    /// Bytes of the frames; what follows was torn.
    pub(super) good_bytes: usize,
}

/// Broken before its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: usize,
}

pub(super) fn encode(sequence: u64, entries: &[Entry]) -> Result<Vec<u8>, serde_json::Error> {
    let payload = serde_json::to_vec(entries)?;
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = checksum(length, sequence.to_le_bytes(), &payload);
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// Reads all frames. Their sequence numbers go up by one.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Damage> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut offset = 0;
    while let Some((frame, length)) = decode(&bytes[offset..]) {
        if frames.last().is_some_and(|last| frame.sequence != last.sequence + 1) {
            return Err(Damage { offset });
        }
        frames.push(frame);
        offset += length;
    }
    // Whatever is left must be the torn tail: a good frame in it was flushed after what is broken, so that is damage.
    let rest = &bytes[offset..];
    let starts = rest
        .windows(MAGIC.len())
        .enumerate()
        .skip(1)
        .filter(|(_, window)| *window == MAGIC);
    for (start, _) in starts {
        if decode(&rest[start..]).is_some() {
            return Err(Damage { offset });
        }
    }
    Ok(Parsed {
        frames,
        good_bytes: offset,
    })
}

fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (magic, header) = header.split_first_chunk::<4>()?;
    let (length, header) = header.split_first_chunk::<4>()?;
    let (crc, header) = header.split_first_chunk::<4>()?;
    let sequence = <[u8; 8]>::try_from(header).ok()?;
    let payload_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if *magic != MAGIC || payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..payload_bytes)?;
    if checksum(*length, sequence, payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    let entries = serde_json::from_slice(payload).ok()?;
    Some((
        Frame {
            sequence: u64::from_le_bytes(sequence),
            entries,
        },
        HEADER_BYTES + payload_bytes,
    ))
}

fn checksum(length: [u8; 4], sequence: [u8; 8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(&sequence);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: u64) -> Vec<u8> {
        (1..=count)
            .flat_map(|n| encode(n, &[Entry::Epoch(Epoch(n))]).unwrap())
            .collect()
    }

    #[test]
    fn cut_at_any_byte_leaves_the_whole_frames() {
        let bytes = frames(3);
        let one = frames(1).len();
        for cut in 0..=bytes.len() {
            let parsed = parse(&bytes[..cut]).unwrap();
            assert_eq!(parsed.frames.len(), cut / one, "cut at {cut}");
            assert_eq!(parsed.good_bytes, cut / one * one);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_torn() {
        let mut bytes = frames(2);
        let good = bytes.len();
        bytes.extend_from_slice(&[0; 4096]);
        assert_eq!(parse(&bytes).unwrap().good_bytes, good);
    }

    #[test]
    fn any_flipped_byte_but_in_the_last_frame_is_damage() {
        let bytes = frames(3);
        let one = frames(1).len();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x55;
            match parse(&broken) {
                Err(damage) => assert!(damage.offset == at / one * one && at < 2 * one, "at {at}"),
                Ok(parsed) => assert!(at >= 2 * one && parsed.frames.len() == 2, "at {at}"),
            }
        }
    }

    #[test]
    fn a_missing_frame_is_damage() {
        let mut bytes = frames(1);
        bytes.extend(encode(3, &[]).unwrap());
        assert!(parse(&bytes).is_err());
    }
}
