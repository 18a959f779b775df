//! The append-only file, as values: which files it consists of ([`manifest`]), what stands in them ([`scan`]),
//! commands that make a data set again ([`rewrite`]), and what of the log a reply may show ([`recent`]).

pub mod manifest;
pub mod recent;
pub mod rewrite;
pub mod scan;
