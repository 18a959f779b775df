//! What a command sees while it runs.

/// A command's refusal, written to the client as an error reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A complete error line including its code word, without the leading `-` and the CRLF.
    #[error("{0}")]
    Text(String),
}

/// The arguments, keyspace, session and reply of the command being executed.
pub struct Context<'a> {
    /// The request, command name first.
    pub args: &'a [&'a [u8]],
}
