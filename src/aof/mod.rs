//! The append-only file, as values: commands that make a data set again ([`rewrite`]).

pub mod rewrite;
