//! A family of components (sources, transforms, sinks) and how its kinds are read from YAML.

use schemars::{Schema, SchemaGenerator};
use serde::de::MapAccess;

/// The closed set of kinds of a family. A kind is the key of its settings: `csv: { path: … }`.
pub trait Family: Sized {
    /// The family's name in messages, `source`.
    const NAME: &'static str;
    /// The kinds, as YAML keys.
    const KINDS: &'static [&'static str];
    /// Kinds that a later version will have.
    const RESERVED: &'static [&'static str];

    /// The kinds with a sentence on each.
    const SUMMARIES: &'static [(&'static str, &'static str)];

    /// Returns the kinds with the JSON Schema of their settings.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)>;

    /// Reads the settings of one of [`Family::KINDS`], straight from the parser, so that every
    /// mistake in them keeps its place.
    fn read<'de, A: MapAccess<'de>>(kind: &str, map: &mut A) -> Result<Self, A::Error>;

    /// Returns the kind as a YAML key.
    fn kind(&self) -> &'static str;
}

/// Declares the enum of a family: one line a component.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum $family:ident ($name:literal as dyn $build:ident) {
            $($(#[doc = $doc:literal])* $kind:literal => $variant:ident,)+
        }
        reserved: [$($reserved:literal),* $(,)?]
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub enum $family {
            $($(#[doc = $doc])* $variant($variant),)+
        }

        impl $crate::spec::Family for $family {
            const NAME: &'static str = $name;
            const KINDS: &'static [&'static str] = &[$($kind),+];
            const RESERVED: &'static [&'static str] = &[$($reserved),*];

            const SUMMARIES: &'static [(&'static str, &'static str)] =
                &[$(($kind, concat!($($doc),*))),+];

            fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($kind, generator.subschema_for::<$variant>())),+]
            }

            fn read<'de, A: serde::de::MapAccess<'de>>(
                kind: &str,
                map: &mut A,
            ) -> Result<Self, A::Error> {
                match kind {
                    $($kind => map.next_value().map(Self::$variant),)+
                    other => Err(serde::de::Error::unknown_field(other, Self::KINDS)),
                }
            }

            fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)+
                }
            }
        }

        impl $family {
            /// Returns the component's settings as what can build it.
            pub fn settings(&self) -> &dyn $build {
                match self {
                    $(Self::$variant(settings) => settings,)+
                }
            }
        }
    };
}
pub(crate) use kinds;
