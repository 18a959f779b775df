//! The append-only file, as values: which files it consists of ([`manifest`]), what stands in them ([`scan`]), and
//! commands that make a data set again ([`rewrite`]).

pub mod manifest;
pub mod rewrite;
pub mod scan;
