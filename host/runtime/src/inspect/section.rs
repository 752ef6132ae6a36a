//! The custom section in which a plugin says what it is called. `symphony plugin build` writes it.

use serde::Deserialize;
use symphony_core::name::Name;
use symphony_core::plugin::Slot;

use super::Rejected;
use crate::fault::clip;

/// The section's name.
pub const SECTION_NAME: &str = "symphony:plugin";
/// Largest section, in bytes.
pub(super) const SECTION_BYTES_MAX: usize = 64 << 10;
const VERSION_BYTES_MAX: usize = 64;
const DESCRIPTION_BYTES_MAX: usize = 512;
const SDK_BYTES_MAX: usize = 128;

/// Fields that this host does not know are left for later ones.
#[derive(Debug, Deserialize)]
struct Written {
    name: String,
    version: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    sdk: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: Name,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) sdk: String,
}

pub(super) fn parse(bytes: Option<&[u8]>, slot: Slot) -> Result<Section, Rejected> {
    let wrong = |text: String| Rejected::Section(clip(&text, 256));
    let bytes = bytes.ok_or(Rejected::SectionMissing)?;
    if bytes.len() > SECTION_BYTES_MAX {
        return Err(wrong(format!(
            "it has {} bytes, over the limit of {SECTION_BYTES_MAX}",
            bytes.len()
        )));
    }
    let written: Written = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let name = written
        .name
        .parse()
        .map_err(|error| wrong(format!("name {:?}: {error}", written.name)))?;
    if !is_version(&written.version) {
        return Err(wrong(format!("{:?} is not a semantic version", written.version)));
    }
    if let (Some(role), Some(kind)) = (&written.role, &written.kind) {
        let said = format!("{role}/{kind}");
        if said != slot.as_str() {
            return Err(wrong(format!("it says {said}, and its exports make it {slot}")));
        }
    }
    Ok(Section {
        name,
        version: written.version,
        description: clip(&written.description.unwrap_or_default(), DESCRIPTION_BYTES_MAX),
        sdk: clip(&written.sdk.unwrap_or_default(), SDK_BYTES_MAX),
    })
}

/// `1.2.3`, with what may follow after `-` or `+`.
fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= VERSION_BYTES_MAX
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["0.1.0", "1.2.3-rc.1", "1.0.0+build5"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "1..3", "v1.2.3", "1.2.3 ", "1.2.3-\n"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
