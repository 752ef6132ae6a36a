//! A size as people write it. Read raw: whether it makes sense is checked where the answer can name the field.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use symphony_core::quantity::{Bytes, SizeError, VolumeSize};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A size: a number of bytes, or a text like `512MiB` or `10GiB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size(String);

impl Size {
    /// A size that was written by a person.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A number of bytes.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self(bytes.to_string())
    }

    /// The size of a volume that it means.
    ///
    /// # Errors
    /// When it is no size, or none that a volume may have.
    pub fn volume_size(&self) -> Result<VolumeSize, SizeError> {
        self.0.parse()
    }

    /// The bytes that it means, for what is no volume.
    ///
    /// # Errors
    /// When it is no size.
    pub fn to_bytes(&self) -> Result<Bytes, SizeError> {
        self.0.parse()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<u64>() {
            Ok(bytes) => serializer.serialize_u64(bytes),
            Err(_) => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes or a text like \"10GiB\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<Size, E> {
        Ok(Size(text.to_owned()))
    }

    fn visit_u64<E>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes.to_string()))
    }

    // Negative and broken numbers are kept as they were written, so that the check can say what is wrong with them.
    fn visit_i64<E>(self, bytes: i64) -> Result<Size, E> {
        Ok(Size(bytes.to_string()))
    }

    fn visit_f64<E>(self, bytes: f64) -> Result<Size, E> {
        Ok(Size(format!("{bytes}")))
    }
}

impl PartialSchema for Size {
    fn schema() -> RefOr<Schema> {
        let of = |kind| ObjectBuilder::new().schema_type(SchemaType::Type(kind));
        OneOfBuilder::new()
            .item(of(Type::Integer).minimum(Some(512)))
            .item(of(Type::String))
            .description(Some(
                "A number of bytes, or a text like `512MiB` or `10GiB`; a multiple of 512.",
            ))
            .into()
    }
}

impl ToSchema for Size {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_read_and_nonsense_is_named() {
        let read = |json: &str| serde_json::from_str::<Size>(json).unwrap().volume_size();
        assert_eq!(read("1048576").unwrap().bytes(), 1 << 20);
        assert_eq!(read("\"1MiB\"").unwrap().bytes(), 1 << 20);
        assert_eq!(read("0"), Err(SizeError::Zero));
        assert!(matches!(read("-5"), Err(SizeError::Negative(_))));
        assert!(matches!(read("1.5"), Err(SizeError::Fraction(_))));
        assert!(matches!(
            read("1e300"),
            Err(SizeError::Syntax(_) | SizeError::TooLarge(_))
        ));
        assert!(serde_json::from_str::<Size>("[]").is_err());
    }
}
