//! When keys end: the rules of who sees what, and the time-ordered index of deadlines.

pub mod average;
mod bucket;
pub mod rules;
pub mod tracked;
pub mod wheel;
