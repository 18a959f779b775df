//! The raw interface to Lua 5.1 with read-only tables. `c/README.md` says what was changed.
//!
//! Invariant: functions handed to [`skuld_pushfunction`] raise errors by returning [`RAISE`] and its kin, never by a
//! Lua function that jumps, so that no Rust frame is ever jumped over.

#![allow(non_camel_case_types, missing_docs)]

use std::ffi::{c_char, c_int, c_void};

/// A Lua thread.
#[repr(C)]
pub struct lua_State {
    _private: [u8; 0],
}

/// A function that Lua can call: takes its arguments from the stack, leaves its results there and returns how many,
/// or a negative number to raise an error.
pub type Function = unsafe extern "C" fn(*mut lua_State) -> c_int;

/// Raises the value on the top of the stack.
pub const RAISE: c_int = -1;
/// Raises the text on the top of the stack with the caller's position in front.
pub const RAISE_HERE: c_int = -2;
/// Less the argument's number: raises "bad argument", the text on the top of the stack says why.
pub const BAD_ARGUMENT: c_int = -1000;
/// Less the argument's number: raises "bad argument", the text on the top of the stack names the expected type.
pub const BAD_TYPE: c_int = -2000;

pub const LUA_REGISTRYINDEX: c_int = -10000;
pub const LUA_GLOBALSINDEX: c_int = -10002;
pub const LUA_MULTRET: c_int = -1;

pub const LUA_TNONE: c_int = -1;
pub const LUA_TNIL: c_int = 0;
pub const LUA_TBOOLEAN: c_int = 1;
pub const LUA_TLIGHTUSERDATA: c_int = 2;
pub const LUA_TNUMBER: c_int = 3;
pub const LUA_TSTRING: c_int = 4;
pub const LUA_TTABLE: c_int = 5;
pub const LUA_TFUNCTION: c_int = 6;
pub const LUA_TUSERDATA: c_int = 7;
pub const LUA_TTHREAD: c_int = 8;

pub const LUA_GCCOLLECT: c_int = 2;
pub const LUA_GCCOUNT: c_int = 3;
pub const LUA_GCCOUNTB: c_int = 4;
pub const LUA_GCSTEP: c_int = 5;

/// The pseudo-index of a closure's value number `n`, the first being 1. Functions of [`skuld_pushfunction`] have
/// none of their own.
pub const fn lua_upvalueindex(n: c_int) -> c_int {
    LUA_GLOBALSINDEX - n
}

unsafe extern "C" {
    pub fn luaL_newstate() -> *mut lua_State;
    pub fn lua_close(state: *mut lua_State);
    pub fn lua_newthread(state: *mut lua_State) -> *mut lua_State;

    pub fn lua_gettop(state: *mut lua_State) -> c_int;
    pub fn lua_settop(state: *mut lua_State, index: c_int);
    pub fn lua_pushvalue(state: *mut lua_State, index: c_int);
    pub fn lua_remove(state: *mut lua_State, index: c_int);
    pub fn lua_insert(state: *mut lua_State, index: c_int);
    pub fn lua_replace(state: *mut lua_State, index: c_int);
    pub fn lua_checkstack(state: *mut lua_State, extra: c_int) -> c_int;
    pub fn lua_xmove(from: *mut lua_State, to: *mut lua_State, n: c_int);

    pub fn lua_isnumber(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_isstring(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_type(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_typename(state: *mut lua_State, kind: c_int) -> *const c_char;
    pub fn lua_tonumber(state: *mut lua_State, index: c_int) -> f64;
    pub fn lua_tointeger(state: *mut lua_State, index: c_int) -> isize;
    pub fn lua_toboolean(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_tolstring(state: *mut lua_State, index: c_int, len: *mut usize) -> *const c_char;
    pub fn lua_objlen(state: *mut lua_State, index: c_int) -> usize;
    pub fn lua_touserdata(state: *mut lua_State, index: c_int) -> *mut c_void;
    pub fn lua_topointer(state: *mut lua_State, index: c_int) -> *const c_void;

    pub fn lua_pushnil(state: *mut lua_State);
    pub fn lua_pushnumber(state: *mut lua_State, number: f64);
    pub fn lua_pushlstring(state: *mut lua_State, text: *const c_char, len: usize);
    pub fn lua_pushboolean(state: *mut lua_State, value: c_int);
    pub fn lua_pushlightuserdata(state: *mut lua_State, pointer: *mut c_void);

    pub fn lua_rawget(state: *mut lua_State, index: c_int);
    pub fn lua_rawgeti(state: *mut lua_State, index: c_int, n: c_int);
    pub fn lua_createtable(state: *mut lua_State, array: c_int, hash: c_int);
    pub fn lua_getmetatable(state: *mut lua_State, index: c_int) -> c_int;
    /// May call a metamethod: only on tables without any, or protected.
    pub fn lua_getfield(state: *mut lua_State, index: c_int, name: *const c_char);
    /// Only on tables that may be written and have no metamethods, or protected.
    pub fn lua_setfield(state: *mut lua_State, index: c_int, name: *const c_char);
    /// Only on tables that may be written.
    pub fn lua_rawset(state: *mut lua_State, index: c_int);
    /// Only on tables that may be written.
    pub fn lua_rawseti(state: *mut lua_State, index: c_int, n: c_int);
    /// Only on tables that may be written.
    pub fn lua_setmetatable(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_enablereadonlytable(state: *mut lua_State, index: c_int, enabled: c_int);
    pub fn lua_isreadonlytable(state: *mut lua_State, index: c_int) -> c_int;

    pub fn lua_pcall(state: *mut lua_State, args: c_int, results: c_int, handler: c_int) -> c_int;
    pub fn lua_next(state: *mut lua_State, index: c_int) -> c_int;
    pub fn lua_gc(state: *mut lua_State, what: c_int, data: c_int) -> c_int;

    pub fn luaL_loadbuffer(
        state: *mut lua_State,
        text: *const c_char,
        len: usize,
        name: *const c_char,
    ) -> c_int;
    pub fn luaL_ref(state: *mut lua_State, table: c_int) -> c_int;
    pub fn luaL_unref(state: *mut lua_State, table: c_int, reference: c_int);

    pub fn luaopen_base(state: *mut lua_State) -> c_int;
    pub fn luaopen_table(state: *mut lua_State) -> c_int;
    pub fn luaopen_string(state: *mut lua_State) -> c_int;
    pub fn luaopen_math(state: *mut lua_State) -> c_int;
    pub fn luaopen_debug(state: *mut lua_State) -> c_int;
    pub fn luaopen_os(state: *mut lua_State) -> c_int;

    /// Pushes a Rust function.
    pub fn skuld_pushfunction(state: *mut lua_State, function: Function);
    /// Pushes a Rust function with values from the stack, which it finds at [`lua_upvalueindex`] from 2 on.
    pub fn skuld_pushclosure(state: *mut lua_State, function: Function, values: c_int);
    /// Memory that Lua frees; `size` bytes, aligned for anything.
    pub fn lua_newuserdata(state: *mut lua_State, size: usize) -> *mut c_void;
    /// Joins the `n` values on the top of the stack, which are strings.
    pub fn lua_concat(state: *mut lua_State, n: c_int);
    /// Has `function` called every `count` instructions, or at every line if `count` is 0; `None` ends it.
    pub fn skuld_sethook(state: *mut lua_State, function: Option<Function>, count: c_int);
    /// The line of the user's script that runs `level` calls above the current one, 0 if something else runs there, -1
    /// if nothing does. `name` becomes what its caller calls it, or null; valid until Lua runs again.
    pub fn skuld_frame(state: *mut lua_State, level: c_int, name: *mut *const c_char) -> c_int;
    /// Pushes a local variable of that call and tells its name; null, and nothing pushed, if there is none.
    pub fn skuld_local(state: *mut lua_State, level: c_int, n: c_int) -> *const c_char;
    pub fn lua_pushcclosure(state: *mut lua_State, function: Function, values: c_int);
}

/// Drops the `n` values on the top of the stack.
///
/// # Safety
/// The stack has that many.
pub unsafe fn lua_pop(state: *mut lua_State, n: c_int) {
    // SAFETY: the caller vouches for the stack.
    unsafe { lua_settop(state, -n - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn fails(state: *mut lua_State) -> c_int {
        // SAFETY: called by Lua with room for a value.
        unsafe { lua_pushlstring(state, c"no".as_ptr(), 2) };
        RAISE_HERE
    }

    /// The result of a script, or its error, as text.
    fn run(script: &str) -> String {
        // SAFETY: a state of its own, used by one thread; every index is one that was pushed.
        unsafe {
            let state = luaL_newstate();
            lua_pushcclosure(state, luaopen_base, 0);
            lua_pcall(state, 0, 0, 0);
            skuld_pushfunction(state, fails);
            lua_setfield(state, LUA_GLOBALSINDEX, c"fails".as_ptr());
            lua_createtable(state, 0, 0);
            lua_enablereadonlytable(state, -1, 1);
            lua_setfield(state, LUA_GLOBALSINDEX, c"fixed".as_ptr());
            let failed = luaL_loadbuffer(state, script.as_ptr().cast(), script.len(), c"@s".as_ptr());
            if failed == 0 {
                lua_pcall(state, 0, 1, 0);
            }
            let mut len = 0;
            let text = lua_tolstring(state, -1, &mut len);
            let text = std::slice::from_raw_parts(text.cast::<u8>(), len).to_vec();
            lua_close(state);
            String::from_utf8(text).expect("tests print ASCII")
        }
    }

    #[test]
    fn tables_can_be_read_only() {
        for write in ["fixed.x = 1", "rawset(fixed, 'x', 1)", "setmetatable(fixed, {})"] {
            assert!(run(write).ends_with("Attempt to modify a readonly table"), "{write}");
        }
        assert_eq!(run("return tostring(fixed.x)"), "nil");
    }

    #[test]
    fn rust_functions_raise_errors_with_a_position() {
        assert_eq!(run("local ok, e = pcall(fails) return e"), "no");
        assert_eq!(run("local function f() fails() end f()"), "s:1: no");
    }

    #[test]
    fn binary_chunks_are_no_scripts() {
        assert!(run("\u{1b}Lua").contains("unexpected symbol"));
    }
}
