//! `struct`

use std::ffi::c_int;

use skuld::scripting::structs::{Arguments, Problem, pack, size, unpack};

use super::super::lua::*;
use super::{bad_argument, bad_type, check_bytes, new_library, optional_integer, push_value, raise_here};

/// Defines it.
pub fn open(lua: Lua) {
    new_library(lua, c"struct", &[(c"pack", pack_values), (c"unpack", unpack_values), (c"size", size_of)]);
}

/// The arguments on a stack.
struct OnStack(Lua);

impl Arguments for OnStack {
    fn number(&self, number: usize) -> Result<f64, Problem> {
        let index = number as c_int;
        if self.0.is_number(index) { Ok(self.0.number(index)) } else { Err(Problem::Type(number, "number")) }
    }

    fn bytes(&self, number: usize) -> Result<&[u8], Problem> {
        self.0.bytes(number as c_int).ok_or(Problem::Type(number, "string"))
    }
}

fn raised(lua: Lua, problem: Problem) -> c_int {
    match problem {
        Problem::Plain(line) => raise_here(lua, line.as_bytes()),
        Problem::Argument(number, line) => {
            let bytes: Vec<u8> = line.chars().map(|c| c as u8).collect();
            bad_argument(lua, number as c_int, &bytes)
        }
        Problem::Type(number, expected) => bad_type(lua, number as c_int, expected),
    }
}

unsafe extern "C" fn pack_values(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let packed = || {
        let format = check_bytes(lua, 1)?;
        // What is behind the last argument is nil.
        lua.push_nil();
        pack(format, &OnStack(lua)).map_err(|problem| raised(lua, problem))
    };
    match packed() {
        Ok(bytes) => {
            lua.push_bytes(&bytes);
            1
        }
        Err(raised) => raised,
    }
}

unsafe extern "C" fn unpack_values(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let unpacked = || {
        let format = check_bytes(lua, 1)?;
        let data = check_bytes(lua, 2)?;
        let start = optional_integer(lua, 3, 1)?;
        unpack(format, data, start as usize).map_err(|problem| raised(lua, problem))
    };
    match unpacked() {
        Ok(values) => {
            if !lua.room(values.len() as c_int) {
                return raise_here(lua, b"stack overflow (too many results)");
            }
            for value in &values {
                push_value(lua, value);
            }
            values.len() as c_int
        }
        Err(raised) => raised,
    }
}

unsafe extern "C" fn size_of(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let counted = || size(check_bytes(lua, 1)?).map_err(|problem| raised(lua, problem));
    match counted() {
        Ok(bytes) => {
            lua.push_number(bytes as f64);
            1
        }
        Err(raised) => raised,
    }
}
