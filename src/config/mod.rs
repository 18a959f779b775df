//! Configuration: the directives of Valkey 9.1 and Skuld's own, their file format, layers, and CONFIG GET, SET and
//! REWRITE.
//!
//! ## Code map
//! - [`table`]: all directives, one row each; the struct [`Config`] is made from it
//! - [`directive`]: kinds of values, how each is parsed, shown and rewritten
//! - [`special`], [`checks`], [`choices`], [`text`], [`values`]: the pieces rows are made of
//! - [`split`]: words and quotes of a line
//! - [`load`], [`environment`], [`arguments`], [`problem`]: from layers of text to a `Config`, or to a list of problems
//! - [`access`]: CONFIG GET and CONFIG SET; [`rewrite`]: CONFIG REWRITE
//! - `derived`: settings that follow from several directives
//! - [`docs`]: `valkey.conf` and the compatibility table, made from the same rows
//!
//! Invariant: whatever bytes come in, the answer is a value or a refusal, never a panic.

pub mod access;
pub mod arguments;
pub mod checks;
pub mod choices;
mod derived;
pub mod directive;
pub mod docs;
pub mod environment;
pub mod load;
pub mod problem;
pub mod rewrite;
pub mod special;
pub mod split;
pub mod table;
pub mod text;
pub mod values;

#[cfg(test)]
mod tests;

pub use access::{SetError, SetGuard, SetOutcome, get, set};
pub use arguments::CommandLine;
pub use choices::*;
pub use directive::{Directive, Effect, Flags, Kind, Refusal};
pub use load::{
    Files, Layers, Loaded, NoFiles, ReadLine, Source, Sources, Statement, Strictness, parse_text,
};
pub use problem::{ConfigProblem, Origin, format_fatal};
pub use rewrite::{Additions, rewrite};
pub use special::{BufferLimit, CLASS_NORMAL, CLASS_PUBSUB, CLASS_REPLICA, PrimaryAddress};
pub use table::{Config, TABLE, find};
pub use text::Text;
