//! Commands on keys of any type.

pub mod copy;
pub mod delete;
pub mod dump;
pub mod expire;
pub mod flush;
pub mod object;
pub mod rename;
pub mod scan;

#[cfg(test)]
mod tests;
