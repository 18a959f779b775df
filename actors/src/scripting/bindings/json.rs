//! `cjson`

use std::ffi::{CStr, c_int};

use skuld::scripting::json::{DEPTH_MAX, JsonConfig, decode, encode};

use super::super::api::check_integer;
use super::super::lua::*;
use super::{bad_argument, check_bytes, push_value, raise_here, take_value};

const FUNCTIONS: [(&CStr, Function); 10] = [
    (c"encode", encode_value),
    (c"decode", decode_text),
    (c"encode_sparse_array", encode_sparse_array),
    (c"encode_max_depth", encode_max_depth),
    (c"decode_max_depth", decode_max_depth),
    (c"encode_number_precision", encode_number_precision),
    (c"encode_keep_buffer", encode_keep_buffer),
    (c"encode_invalid_numbers", encode_invalid_numbers),
    (c"decode_invalid_numbers", decode_invalid_numbers),
    (c"new", new),
];

/// Defines it.
pub fn open(lua: Lua) {
    push_library(lua);
    lua.set_field(GLOBALS, c"cjson");
}

/// Pushes a library with settings of its own.
fn push_library(lua: Lua) {
    lua.new_table(0, 0);
    let config = lua.new_userdata(size_of::<JsonConfig>()).cast::<JsonConfig>();
    // SAFETY: the memory is large enough, aligned for anything, and ours; settings need no destructor.
    unsafe { config.write(JsonConfig::default()) };
    for (name, function) in FUNCTIONS {
        lua.push_copy(-1);
        lua.push_closure(function, 1);
        lua.set_field(-3, name);
    }
    lua.pop(1);
    lua.push_pointer(std::ptr::null_mut());
    lua.set_field(-2, c"null");
    lua.push_bytes(b"cjson");
    lua.set_field(-2, c"_NAME");
    lua.push_bytes(b"2.1.0");
    lua.set_field(-2, c"_VERSION");
}

fn config<'a>(lua: Lua) -> &'a mut JsonConfig {
    let config = lua.userdata(skuld_lua::lua_upvalueindex(2)).cast::<JsonConfig>();
    // SAFETY: every function of this library has its settings there, and no two of them run at a time on one machine.
    unsafe { &mut *config }
}

/// Refuses too many arguments, and puts nil in place of missing ones.
fn arguments(lua: Lua, count: c_int) -> Result<(), c_int> {
    if lua.top() > count {
        return Err(bad_argument(lua, count + 1, b"found too many arguments"));
    }
    lua.set_top(count);
    Ok(())
}

fn integer(lua: Lua, number: c_int, setting: &mut i32, min: i32, max: i32) -> Result<(), c_int> {
    if lua.kind(number) != LUA_TNIL {
        let value = check_integer(lua, number)? as i32;
        if !(min..=max).contains(&value) {
            let line = format!("expected integer between {min} and {max}");
            return Err(bad_argument(lua, 1, line.as_bytes()));
        }
        *setting = value;
    }
    lua.push_number(f64::from(*setting));
    Ok(())
}

/// One of several words, the second of which is also `true`, and the first `false`.
fn choice(lua: Lua, number: c_int, setting: &mut i32, words: &[&str]) -> Result<(), c_int> {
    match lua.kind(number) {
        LUA_TNIL => {}
        LUA_TBOOLEAN => *setting = i32::from(lua.boolean(number)),
        _ => {
            let word = check_bytes(lua, number)?;
            match words.iter().position(|known| known.as_bytes() == up_to_nul(word)) {
                Some(at) => *setting = at as i32,
                None => {
                    let line = [b"invalid option '", up_to_nul(word), b"'"].concat();
                    return Err(bad_argument(lua, number, &line));
                }
            }
        }
    }
    match *setting {
        0 | 1 => lua.push_boolean(*setting == 1),
        other => lua.push_bytes(words[other as usize].as_bytes()),
    }
    Ok(())
}

fn on_off(lua: Lua, number: c_int, setting: &mut bool) -> Result<(), c_int> {
    let mut value = i32::from(*setting);
    choice(lua, number, &mut value, &["off", "on"])?;
    *setting = value == 1;
    Ok(())
}

fn answer(result: Result<(), c_int>, results: c_int) -> c_int {
    result.map_or_else(|raised| raised, |()| results)
}

macro_rules! settings {
    ($($name:ident($lua:ident, $config:ident, $arguments:literal): $set:expr;)*) => {$(
        unsafe extern "C" fn $name(state: *mut lua_State) -> c_int {
            // SAFETY: called by Lua with its state.
            let $lua = unsafe { Lua::new(state) };
            let $config = config($lua);
            answer(arguments($lua, $arguments).and_then(|()| $set), $arguments)
        }
    )*};
}

settings! {
    encode_sparse_array(lua, config, 3): {
        on_off(lua, 1, &mut config.sparse_convert)
            .and_then(|()| integer(lua, 2, &mut config.sparse_ratio, 0, i32::MAX))
            .and_then(|()| integer(lua, 3, &mut config.sparse_safe, 0, i32::MAX))
    };
    encode_max_depth(lua, config, 1): integer(lua, 1, &mut config.encode_max_depth, 1, i32::MAX);
    decode_max_depth(lua, config, 1): integer(lua, 1, &mut config.decode_max_depth, 1, i32::MAX);
    encode_number_precision(lua, config, 1): integer(lua, 1, &mut config.number_precision, 1, 14);
    encode_keep_buffer(lua, config, 1): on_off(lua, 1, &mut config.keep_buffer);
    encode_invalid_numbers(lua, config, 1): {
        choice(lua, 1, &mut config.encode_invalid_numbers, &["off", "on", "null"])
    };
    decode_invalid_numbers(lua, config, 1): on_off(lua, 1, &mut config.decode_invalid_numbers);
}

unsafe extern "C" fn encode_value(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 {
        return bad_argument(lua, 1, b"expected 1 argument");
    }
    let config = config(lua);
    let value = take_value(lua, config.encode_max_depth.min(DEPTH_MAX));
    match encode(config, &value) {
        Ok(text) => {
            lua.push_bytes(&text);
            1
        }
        Err(line) => raise_here(lua, line.as_bytes()),
    }
}

unsafe extern "C" fn decode_text(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 {
        return bad_argument(lua, 1, b"expected 1 argument");
    }
    let text = match check_bytes(lua, 1) {
        Ok(text) => text,
        Err(raised) => return raised,
    };
    match decode(config(lua), text) {
        Ok(value) if push_value(lua, &value) => 1,
        Ok(_) => raise_here(lua, b"stack overflow"),
        Err(line) => raise_here(lua, line.as_bytes()),
    }
}

unsafe extern "C" fn new(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    push_library(unsafe { Lua::new(state) });
    1
}
