//! `cmsgpack`

use std::ffi::c_int;

use skuld::scripting::msgpack::{NESTING_MAX, pack, unpack};
use skuld::scripting::value::Value;

use super::super::lua::*;
use super::{bad_argument, check_bytes, new_library, optional_integer, push_value, raise_here, take_value};

/// Defines it.
pub fn open(lua: Lua) {
    new_library(
        lua,
        c"cmsgpack",
        &[
            (c"pack", pack_all),
            (c"unpack", unpack_all),
            (c"unpack_one", unpack_one),
            (c"unpack_limit", unpack_limit),
        ],
    );
    lua.raw_field(GLOBALS, b"cmsgpack");
    for (name, text) in [
        (c"_NAME", "cmsgpack"),
        (c"_VERSION", "lua-cmsgpack 0.4.0"),
        (c"_COPYRIGHT", "Copyright (C) 2012, Redis Ltd."),
        (c"_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        lua.push_bytes(text.as_bytes());
        lua.set_field(-2, name);
    }
    lua.pop(1);
}

unsafe extern "C" fn pack_all(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let count = lua.top();
    if count == 0 {
        return bad_argument(lua, 0, b"MessagePack pack needs input.");
    }
    let mut out = Vec::new();
    for number in 1..=count {
        lua.push_copy(number);
        pack(&mut out, &take_value(lua, NESTING_MAX as i32));
    }
    lua.push_bytes(&out);
    1
}

unsafe extern "C" fn unpack_all(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    unpack_some(unsafe { Lua::new(state) }, 0, 0).unwrap_or_else(|raised| raised)
}

unsafe extern "C" fn unpack_one(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    optional_integer(lua, 2, 0).and_then(|offset| unpack_some(lua, 1, offset)).unwrap_or_else(|raised| raised)
}

unsafe extern "C" fn unpack_limit(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let run = || {
        let limit = super::super::api::check_integer(lua, 2)?;
        unpack_some(lua, limit, optional_integer(lua, 3, 0)?)
    };
    run().unwrap_or_else(|raised| raised)
}

/// Unpacks up to `limit` values from an offset on; all, if both are 0.
fn unpack_some(lua: Lua, limit: i64, offset: i64) -> Result<c_int, c_int> {
    let bytes = check_bytes(lua, 1)?;
    lua.set_top(1);
    let all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let line = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            bytes.len() as i32
        );
        return Err(raise_here(lua, line.as_bytes()));
    }
    if offset as u64 > bytes.len() as u64 {
        let line =
            format!("Start offset {} greater than input length {}.", offset as i32, bytes.len() as i32);
        return Err(raise_here(lua, line.as_bytes()));
    }
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut at = offset as usize;
    let mut results: c_int = 0;
    while at < bytes.len() && i64::from(results) < limit {
        let (value, len) =
            unpack(&bytes[at..]).map_err(|problem| raise_here(lua, problem.to_string().as_bytes()))?;
        if has_bad_key(&value) {
            lua.push_bytes(b"table index is nil");
            return Err(RAISE);
        }
        if !push_value(lua, &value) {
            lua.set_top(1);
            let line =
                b"stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
            return Err(raise_here(lua, line));
        }
        at += len;
        results += 1;
    }
    if !all {
        lua.push_number(if at == bytes.len() { -1.0 } else { at as f64 });
        lua.insert(2);
        results += 1;
    }
    Ok(results)
}

/// Whether a table has an entry under nil.
fn has_bad_key(value: &Value) -> bool {
    let Value::Table(table) = value else { return false };
    table.entries.iter().any(|(key, value)| {
        matches!(key, Value::Nil)
            || matches!(key, Value::Number(number) if number.is_nan())
            || has_bad_key(key)
            || has_bad_key(value)
    })
}
