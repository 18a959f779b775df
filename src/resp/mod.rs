//! RESP2 and RESP3: decoding requests ([`decode`]) and encoding replies ([`Reply`]).

pub mod decode;
mod encode;

pub use encode::{Protocol, Reply};
