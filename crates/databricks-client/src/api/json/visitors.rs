//! Visits the fields of an object and the elements of an array without parsing them.

use std::{borrow::Cow, fmt, ops::ControlFlow};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// Visits the fields of an object.
pub(super) struct FieldVisitor<F>(pub(super) F);

impl<'a, F: FnMut(&str, &'a str) -> ControlFlow<()>> de::Visitor<'a> for FieldVisitor<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'a>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = fields.next_key()? {
            let value: &'a RawValue = fields.next_value()?;
            if self.0(&key, value.get()).is_break() {
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Visits the elements of an array.
pub(super) struct ElementVisitor<F>(pub(super) F);

impl<'a, F: FnMut(&'a str) -> ControlFlow<()>> de::Visitor<'a> for ElementVisitor<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: de::SeqAccess<'a>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(value) = elements.next_element::<&'a RawValue>()? {
            if self.0(value.get()).is_break() {
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// A string, borrowed unless it contains escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}
