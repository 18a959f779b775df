//! The accepted differences listed in `docs/compatibility.md`.
