//! The written cases in `tests/cases`.
