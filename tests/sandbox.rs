//! The made-up API over real HTTP.
