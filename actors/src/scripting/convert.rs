//! Replies become values for a script, and what a script returns becomes a reply.

use skuld::resp::Reply;
use skuld::scripting::replies::{Item, Replies};
use skuld::types::number::F64Buffer;

use super::lua::{LUA_TBOOLEAN, LUA_TNIL, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, Lua, up_to_nul};

/// Which protocol the script chose for the values it sees (`redis.setresp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Two,
    Three,
}

/// Pushes the reply as a value. True if it is an error.
pub fn push_reply(lua: Lua, bytes: &[u8]) -> bool {
    let mut replies = Replies::new(bytes);
    let is_error = bytes.first() == Some(&b'-');
    push_next(lua, &mut replies);
    is_error
}

fn push_next(lua: Lua, replies: &mut Replies<'_>) {
    if !lua.room(6) {
        // Replies are nested a few levels deep at most.
        return lua.push_nil();
    }
    let Some(item) = replies.next() else { return lua.push_nil() };
    match item {
        Item::Bulk(bytes) => lua.push_bytes(bytes),
        Item::Integer(n) => lua.push_number(n as f64),
        Item::Status(text) => {
            lua.new_table(0, 1);
            field(lua, b"ok", |lua| lua.push_bytes(text));
        }
        Item::Error(text) => {
            lua.push_error(text);
            // It was counted when the command ran.
            field(lua, b"ignore_error_stats_update", |lua| lua.push_boolean(true));
        }
        Item::NullBulk | Item::NullArray => lua.push_boolean(false),
        Item::Null => lua.push_nil(),
        Item::Array(len) | Item::Push(len) => {
            lua.new_table(len, 0);
            for n in 1..=len {
                push_next(lua, replies);
                lua.raw_set_at(-2, n as i32);
            }
        }
        Item::Map(len) => {
            lua.new_table(0, 1);
            field(lua, b"map", |lua| {
                lua.new_table(0, len);
                for _ in 0..len {
                    push_next(lua, replies);
                    push_next(lua, replies);
                    set_entry(lua);
                }
            });
        }
        Item::Set(len) => {
            lua.new_table(0, 1);
            field(lua, b"set", |lua| {
                lua.new_table(0, len);
                for _ in 0..len {
                    push_next(lua, replies);
                    lua.push_boolean(true);
                    set_entry(lua);
                }
            });
        }
        Item::Attribute(len) => {
            for _ in 0..len * 2 {
                push_next(lua, replies);
                lua.pop(1);
            }
            push_next(lua, replies);
        }
        Item::Boolean(value) => lua.push_boolean(value),
        Item::Double(value) => {
            lua.new_table(0, 1);
            field(lua, b"double", |lua| lua.push_number(value));
        }
        Item::BigNumber(digits) => {
            lua.new_table(0, 1);
            field(lua, b"big_number", |lua| lua.push_bytes(digits));
        }
        Item::Verbatim { format, text } => {
            lua.new_table(0, 1);
            field(lua, b"verbatim_string", |lua| {
                lua.new_table(0, 2);
                field(lua, b"string", |lua| lua.push_bytes(text));
                field(lua, b"format", |lua| lua.push_bytes(format));
            });
        }
    }
}

/// Takes a value and its key from the stack into the table below. Nothing can be found under nil.
fn set_entry(lua: Lua) {
    if lua.kind(-2) == LUA_TNIL { lua.pop(2) } else { lua.raw_set(-3) }
}

/// Sets a field of the table on the top of the stack.
fn field(lua: Lua, name: &[u8], push: impl FnOnce(Lua)) {
    lua.push_bytes(name);
    push(lua);
    lua.raw_set(-3);
}

/// Whether an error reply was counted already, by the command it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(pub bool);

/// A container that is being written. The table lies on the stack.
enum Open {
    Array {
        next: i32,
        len: i32,
    },
    /// The table in the field `map`, above the table it is a field of, and the last key.
    Map {
        value_is_next: bool,
    },
    /// Likewise for `set`.
    Set,
}

/// What became of a table.
enum Begun {
    Written,
    Opened(Open),
}

/// Appends the value on the top of the stack as a reply and takes it from there.
///
/// Not recursive: scripts may return tables that contain themselves, and then the depth of Lua's stack is the limit.
pub fn write_value(lua: Lua, reply: &mut Reply, version: Version, counted: &mut Counted) {
    let mut open: Vec<Open> = Vec::new();
    loop {
        if lua.room(4) {
            match write_one(lua, reply, version, counted) {
                Begun::Written => lua.pop(1),
                Begun::Opened(container) => open.push(container),
            }
        } else {
            reply.error("ERR reached lua stack limit");
            lua.pop(1);
        }
        if !push_element(lua, &mut open) {
            return;
        }
    }
}

/// Pushes the next value to be written; false if there is none.
fn push_element(lua: Lua, open: &mut Vec<Open>) -> bool {
    while let Some(container) = open.last_mut() {
        match container {
            Open::Array { next, len } => {
                if next <= len {
                    lua.raw_get_at(-1, *next);
                    *next += 1;
                    return true;
                }
                lua.pop(1);
            }
            Open::Map { value_is_next: value_is_next @ true } => {
                *value_is_next = false;
                return true;
            }
            Open::Map { value_is_next } => {
                if lua.next(-2) {
                    lua.push_copy(-2);
                    *value_is_next = true;
                    return true;
                }
                lua.pop(2);
            }
            Open::Set => {
                if lua.next(-2) {
                    lua.pop(1);
                    lua.push_copy(-1);
                    return true;
                }
                lua.pop(2);
            }
        }
        open.pop();
    }
    false
}

fn write_one(lua: Lua, reply: &mut Reply, version: Version, counted: &mut Counted) -> Begun {
    match lua.kind(-1) {
        LUA_TSTRING => reply.bulk(lua.bytes(-1).unwrap_or_default()),
        LUA_TBOOLEAN => match (version, lua.boolean(-1)) {
            (Version::Three, value) => reply.boolean(value),
            (Version::Two, true) => reply.integer(1),
            (Version::Two, false) => reply.null(),
        },
        LUA_TNUMBER => reply.integer(truncated(lua.number(-1))),
        LUA_TTABLE => return write_table(lua, reply, counted),
        _ => reply.null(),
    }
    Begun::Written
}

/// As the processor converts a double to a 64-bit integer: what does not fit becomes the lowest.
fn truncated(number: f64) -> i64 {
    if number.is_nan() || !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        return i64::MIN;
    }
    number as i64
}

/// The table on the top of the stack, which stays there: what it stands for is told by the name of one field.
fn write_table(lua: Lua, reply: &mut Reply, counted: &mut Counted) -> Begun {
    lua.raw_field(-1, b"err");
    if lua.kind(-1) == LUA_TSTRING {
        lua.pop(1);
        let information = ErrorInformation::of(lua);
        counted.0 |= information.counted;
        reply.error_bytes(&information.message);
        return Begun::Written;
    }
    lua.pop(1);
    lua.raw_field(-1, b"ok");
    if lua.kind(-1) == LUA_TSTRING {
        reply.raw(b"+");
        reply.raw(&one_line(lua.c_bytes(-1).unwrap_or_default()));
        reply.raw(b"\r\n");
        lua.pop(1);
        return Begun::Written;
    }
    lua.pop(1);
    lua.raw_field(-1, b"double");
    if lua.kind(-1) == LUA_TNUMBER {
        reply.double_text(F64Buffer::new().format(lua.number(-1)));
        lua.pop(1);
        return Begun::Written;
    }
    lua.pop(1);
    lua.raw_field(-1, b"big_number");
    if lua.kind(-1) == LUA_TSTRING {
        reply.big_number(&one_line(lua.c_bytes(-1).unwrap_or_default()));
        lua.pop(1);
        return Begun::Written;
    }
    lua.pop(1);
    lua.raw_field(-1, b"verbatim_string");
    if lua.kind(-1) == LUA_TTABLE {
        lua.raw_field(-1, b"format");
        lua.raw_field(-2, b"string");
        if lua.kind(-2) == LUA_TSTRING && lua.kind(-1) == LUA_TSTRING {
            let mut format = *b"   ";
            let given = lua.c_bytes(-2).unwrap_or_default();
            format[..given.len().min(3)].copy_from_slice(&given[..given.len().min(3)]);
            let text = lua.bytes(-1).unwrap_or_default();
            reply.verbatim_bytes(&format, text);
            lua.pop(3);
            return Begun::Written;
        }
        lua.pop(2);
    }
    lua.pop(1);
    lua.raw_field(-1, b"map");
    if lua.kind(-1) == LUA_TTABLE {
        let pairs = entries(lua);
        reply.map(pairs);
        lua.push_nil();
        return Begun::Opened(Open::Map { value_is_next: false });
    }
    lua.pop(1);
    lua.raw_field(-1, b"set");
    if lua.kind(-1) == LUA_TTABLE {
        let members = entries(lua);
        reply.set(members);
        lua.push_nil();
        return Begun::Opened(Open::Set);
    }
    lua.pop(1);
    let mut len = 0;
    loop {
        lua.raw_get_at(-1, len + 1);
        let ends = lua.kind(-1) == LUA_TNIL;
        lua.pop(1);
        if ends {
            break;
        }
        len += 1;
    }
    reply.array(len as usize);
    Begun::Opened(Open::Array { next: 1, len })
}

/// How many entries the table on the top of the stack has.
fn entries(lua: Lua) -> usize {
    let mut count = 0;
    lua.push_nil();
    while lua.next(-2) {
        lua.pop(1);
        count += 1;
    }
    count
}

fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }).collect()
}

/// What an error value says.
#[derive(Debug, Default)]
pub struct ErrorInformation {
    pub message: Vec<u8>,
    pub source: Option<Vec<u8>>,
    pub line: Option<Vec<u8>>,
    /// It was counted when it came up.
    pub counted: bool,
}

impl ErrorInformation {
    /// Reads the error value on the top of the stack, which is a string or a table.
    pub fn of(lua: Lua) -> Self {
        if lua.is_string(-1) {
            let text = lua.c_bytes(-1).unwrap_or_default();
            return Self { message: [b"ERR ", text].concat(), ..Self::default() };
        }
        if lua.kind(-1) != LUA_TTABLE {
            return Self { message: b"ERR unknown error".to_vec(), ..Self::default() };
        }
        let text = |name: &[u8]| {
            lua.raw_field(-1, name);
            let text = if lua.is_string(-1) { lua.bytes(-1).map(|t| up_to_nul(t).to_vec()) } else { None };
            lua.pop(1);
            text
        };
        let message = text(b"err").unwrap_or_else(|| b"ERR unknown error".to_vec());
        let (source, line) = (text(b"source"), text(b"line"));
        lua.raw_field(-1, b"ignore_error_stats_update");
        let counted = lua.kind(-1) == LUA_TBOOLEAN && lua.boolean(-1);
        lua.pop(1);
        Self { message, source, line, counted }
    }
}
