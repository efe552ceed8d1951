//! Ids and columns as they are written: one, or a list.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::spec::Located;

/// A text, or a list of texts.
pub(super) struct OneOrMany(pub(super) Vec<Located<String>>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A lone text gets its place from the wrapper around it, those of a list have their own.
        enum Texts {
            One(String),
            Many(Vec<Located<String>>),
        }

        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts::Many(texts))
            }
        }

        impl<'de> Deserialize<'de> for Texts {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextsVisitor)
            }
        }

        let Located { value, at } = Located::<Texts>::deserialize(deserializer)?;
        Ok(Self(match value {
            Texts::One(text) => vec![Located::new(text, at)],
            Texts::Many(texts) => texts,
        }))
    }
}
