//! The argument trees that COMMAND DOCS prints.

/// One node of a command's argument tree. Empty texts are left out of the reply.
pub struct Argument {
    /// Name within the command.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgumentKind,
    /// What a synopsis shows instead of the name; empty: the name.
    pub display: &'static str,
    /// The word that introduces the argument, such as `EX`.
    pub token: &'static str,
    /// One sentence, where the name is not enough.
    pub summary: &'static str,
    /// Version that added the argument, when later than the command.
    pub since: &'static str,
    /// Version that made it obsolete.
    pub deprecated_since: &'static str,
    /// Which of the command's key specs describes it, for keys and for counts of keys.
    pub key_spec: Option<u8>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with it.
    pub multiple_token: bool,
    /// The parts of a block, or the choices of a one-of.
    pub arguments: &'static [Argument],
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    /// Only its token.
    PureToken,
    /// Exactly one of its parts.
    OneOf,
    /// All its parts in order.
    Block,
}

impl ArgumentKind {
    /// The name that COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Key => "key",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }

    /// Blocks and choices have no text of their own to display.
    pub const fn has_display_text(self) -> bool {
        !matches!(self, ArgumentKind::OneOf | ArgumentKind::Block)
    }
}

const fn argument(name: &'static str, kind: ArgumentKind) -> Argument {
    Argument {
        name,
        kind,
        display: "",
        token: "",
        summary: "",
        since: "",
        deprecated_since: "",
        key_spec: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        arguments: &[],
    }
}

/// A text.
pub const fn string(name: &'static str) -> Argument {
    argument(name, ArgumentKind::String)
}

/// A whole number.
pub const fn integer(name: &'static str) -> Argument {
    argument(name, ArgumentKind::Integer)
}

/// A floating-point number.
pub const fn double(name: &'static str) -> Argument {
    argument(name, ArgumentKind::Double)
}

/// A pattern in glob syntax, or one with placeholders.
pub const fn pattern(name: &'static str) -> Argument {
    argument(name, ArgumentKind::Pattern)
}

/// A point in time since 1970.
pub const fn unix_time(name: &'static str) -> Argument {
    argument(name, ArgumentKind::UnixTime)
}

/// A key, described by the command's key spec number `key_spec`.
pub const fn key(name: &'static str, key_spec: u8) -> Argument {
    let mut made = argument(name, ArgumentKind::Key);
    made.key_spec = Some(key_spec);
    made
}

/// A fixed word.
pub const fn keyword(name: &'static str, token: &'static str) -> Argument {
    argument(name, ArgumentKind::PureToken).token(token)
}

/// A choice.
pub const fn one_of(name: &'static str, choices: &'static [Argument]) -> Argument {
    let mut made = argument(name, ArgumentKind::OneOf);
    made.arguments = choices;
    made
}

/// A sequence.
pub const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
    let mut made = argument(name, ArgumentKind::Block);
    made.arguments = parts;
    made
}

impl Argument {
    /// Sets the word that introduces the argument.
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = token;
        self
    }

    /// Sets what a synopsis shows instead of the name.
    pub const fn display(mut self, text: &'static str) -> Self {
        self.display = text;
        self
    }

    /// Sets the one-sentence description.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Sets the version that added the argument.
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Sets the version that made it obsolete.
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = version;
        self
    }

    /// Ties the argument to the command's key spec number `index`.
    pub const fn key_spec(mut self, index: u8) -> Self {
        self.key_spec = Some(index);
        self
    }

    /// May be left out.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// May be repeated.
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// May be repeated, each time with its token.
    pub const fn multiple_token(mut self) -> Self {
        self.multiple_token = true;
        self
    }
}
