//! How a resource is written down: JSON that says which version of its shape it has.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written now.
pub const RECORD_VERSION: u32 = 1;
/// Largest record, in bytes. A store is for state, not for contents.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// Why a record can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer symphony.
    #[error("the record has version {found}, and this symphony reads up to {RECORD_VERSION}; upgrade it")]
    TooNew {
        /// The version in the record.
        found: u32,
    },
    /// Not a record of this kind.
    #[error("the record can't be read")]
    Malformed(#[source] serde_json::Error),
    /// Over [`RECORD_BYTES_MAX`].
    #[error("the record has {0} bytes, over the limit of {RECORD_BYTES_MAX}")]
    TooLarge(usize),
}

#[derive(Serialize)]
struct Writing<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Writes a resource down.
///
/// # Errors
/// When it is too large.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let bytes = serde_json::to_vec(&Writing {
        v: RECORD_VERSION,
        value,
    })
    .map_err(RecordError::Malformed)?;
    if bytes.len() > RECORD_BYTES_MAX {
        Err(RecordError::TooLarge(bytes.len()))
    } else {
        Ok(bytes)
    }
}

/// Reads a resource.
///
/// # Errors
/// When it is newer than this program, or not of this kind.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let Version { v } = serde_json::from_slice(bytes).map_err(RecordError::Malformed)?;
    if v > RECORD_VERSION {
        return Err(RecordError::TooNew { found: v });
    }
    serde_json::from_slice(bytes).map_err(RecordError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        size: u64,
        text: String,
    }

    #[test]
    fn round_trip_and_limits() {
        let thing = Thing {
            size: 1,
            text: "x".into(),
        };
        let bytes = encode(&thing).unwrap();
        assert_eq!(decode::<Thing>(&bytes).unwrap(), thing);
        let newer = String::from_utf8(bytes).unwrap().replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            decode::<Thing>(newer.as_bytes()),
            Err(RecordError::TooNew { found: 2 })
        ));
        assert!(matches!(decode::<Thing>(b"{}"), Err(RecordError::Malformed(_))));
        let huge = Thing {
            size: 1,
            text: "x".repeat(RECORD_BYTES_MAX),
        };
        assert!(matches!(encode(&huge), Err(RecordError::TooLarge(_))));
    }
}
