//! JSON forms of values that JSON has no type for: ids as their text, signed documents as base64url.

use std::fmt::{self, Display};
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A signed document's wire bytes, opaque at this floor. JSON form: base64url without padding.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Document(pub Vec<u8>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Document {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Document {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Document {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| D::Error::custom("not base64url without padding"))
    }
}

/// A value whose JSON form is its `Display` and `FromStr` text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<T>(pub T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map(Text)
            .map_err(D::Error::custom)
    }
}

/// For `#[serde(with = "text::plain")]` on a field whose JSON form is its text.
pub mod plain {
    use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, Text};

    /// Writes the `Display` form.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Text(value).serialize(serializer)
    }

    /// Reads the `FromStr` form.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Text::deserialize(deserializer).map(|text| text.0)
    }
}

/// For `#[serde(with = "text::option")]` on an optional field whose JSON form is its text.
pub mod option {
    use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, Text};

    /// Writes the `Display` form or `null`.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Text).serialize(serializer)
    }

    /// Reads the `FromStr` form or `null`.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Ok(Option::<Text<T>>::deserialize(deserializer)?.map(|text| text.0))
    }
}

/// For `#[serde(with = "text::list")]` on a list of such values.
pub mod list {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, Text};

    /// Writes an array of the `Display` forms.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Text))
    }

    /// Reads an array of the `FromStr` forms.
    ///
    /// # Errors
    /// When one of the texts does not parse.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        Ok(Vec::<Text<T>>::deserialize(deserializer)?
            .into_iter()
            .map(|text| text.0)
            .collect())
    }
}
