//! When keys end: the rules of who sees what, and the time-ordered index of deadlines.

pub mod rules;
pub mod wheel;
