//! The libraries beside Lua's own: `cjson`, `struct`, `cmsgpack`, `bit`. What they compute is in the engine; here are
//! their arguments and results.

mod bits;
mod json;
mod msgpack;
mod structs;

use std::ffi::{CStr, c_int};

use skuld::scripting::value::{Table, Value};

use super::lua::*;

/// Defines them.
pub fn open(lua: Lua) {
    json::open(lua);
    structs::open(lua);
    msgpack::open(lua);
    bits::open(lua);
}

/// A global table of functions.
fn new_library(lua: Lua, name: &CStr, functions: &[(&CStr, Function)]) {
    lua.new_table(0, functions.len());
    for (function_name, function) in functions {
        lua.push_function(*function);
        lua.set_field(-2, function_name);
    }
    lua.set_field(GLOBALS, name);
}

/// What to return to raise the text with the caller's position.
fn raise_here(lua: Lua, text: &[u8]) -> c_int {
    lua.push_bytes(text);
    RAISE_HERE
}

fn bad_argument(lua: Lua, number: c_int, text: &[u8]) -> c_int {
    lua.push_bytes(text);
    BAD_ARGUMENT - number
}

fn bad_type(lua: Lua, number: c_int, expected: &str) -> c_int {
    lua.push_bytes(expected.as_bytes());
    BAD_TYPE - number
}

/// A text argument, or what to return instead.
fn check_bytes<'a>(lua: Lua, number: c_int) -> Result<&'a [u8], c_int> {
    lua.bytes(number).ok_or_else(|| bad_type(lua, number, "string"))
}

/// An integer argument that may be missing.
fn optional_integer(lua: Lua, number: c_int, default: i64) -> Result<i64, c_int> {
    match lua.kind(number) {
        LUA_TNONE | LUA_TNIL => Ok(default),
        _ => super::api::check_integer(lua, number),
    }
}

/// The value on the top of the stack, which is taken away. Tables of more levels than `levels` come back as too deep.
fn take_value(lua: Lua, levels: i32) -> Value {
    let value = match lua.kind(-1) {
        LUA_TNIL => Value::Nil,
        LUA_TBOOLEAN => Value::Boolean(lua.boolean(-1)),
        LUA_TNUMBER => Value::Number(lua.number(-1)),
        LUA_TSTRING => Value::Text(lua.bytes(-1).unwrap_or_default().to_vec()),
        LUA_TLIGHTUSERDATA if lua.userdata(-1).is_null() => Value::Null,
        LUA_TTABLE if levels == 0 || !lua.room(4) => Value::TooDeep,
        LUA_TTABLE => {
            let mut table = Table { entries: Vec::new(), len: lua.len(-1) };
            lua.push_nil();
            while lua.next(-2) {
                let value = take_value(lua, levels - 1);
                lua.push_copy(-1);
                let key = take_value(lua, levels - 1);
                table.entries.push((key, value));
            }
            Value::Table(table)
        }
        _ => Value::Other(lua.kind_name(-1)),
    };
    lua.pop(1);
    value
}

/// Pushes a value; false if there is no room for it.
fn push_value(lua: Lua, value: &Value) -> bool {
    if !lua.room(4) {
        return false;
    }
    match value {
        Value::Nil | Value::Other(_) | Value::TooDeep => lua.push_nil(),
        Value::Boolean(value) => lua.push_boolean(*value),
        Value::Number(number) => lua.push_number(*number),
        Value::Text(text) => lua.push_bytes(text),
        Value::Null => lua.push_pointer(std::ptr::null_mut()),
        Value::Table(table) => {
            lua.new_table(0, 0);
            for (key, value) in &table.entries {
                if !push_value(lua, key) || !push_value(lua, value) {
                    return false;
                }
                match lua.kind(-2) {
                    // Nothing can be found under these; whoever may not ignore that has looked before.
                    LUA_TNIL => lua.pop(2),
                    LUA_TNUMBER if lua.number(-2).is_nan() => lua.pop(2),
                    _ => lua.raw_set(-3),
                }
            }
        }
    }
    true
}
