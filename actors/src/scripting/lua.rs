//! A Lua stack, as Rust functions use it.
//!
//! Invariant: only functions of Lua's interface that cannot raise an error are called here, except inside a protected
//! call; errors are raised by what a function returns.
//! Invariant: a slice of a string is used only while that string is on the stack.

use std::ffi::{CStr, c_int, c_void};

use skuld_lua::*;

pub use skuld_lua::{
    BAD_ARGUMENT, BAD_TYPE, Function, LUA_GLOBALSINDEX as GLOBALS, LUA_MULTRET,
    LUA_REGISTRYINDEX as REGISTRY, LUA_TBOOLEAN, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNONE,
    LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, RAISE, RAISE_HERE, lua_State,
};

/// A thread of a Lua state, which is alive and used by this thread alone.
#[derive(Clone, Copy)]
pub struct Lua(*mut lua_State);

// SAFETY, for all blocks of this file: the state is alive and ours, indices are those of values that the caller knows
// to be there, and room for what is pushed is either part of what every call gets (20 values) or was asked for.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lua {
    /// # Safety
    /// The state must be alive, and stay so while the result is used; no other thread uses it.
    pub unsafe fn new(state: *mut lua_State) -> Self {
        Self(state)
    }

    pub fn raw(self) -> *mut lua_State {
        self.0
    }

    pub fn top(self) -> c_int {
        unsafe { lua_gettop(self.0) }
    }

    pub fn set_top(self, top: c_int) {
        unsafe { lua_settop(self.0, top) }
    }

    pub fn pop(self, n: c_int) {
        unsafe { lua_pop(self.0, n) }
    }

    pub fn room(self, n: c_int) -> bool {
        unsafe { lua_checkstack(self.0, n) != 0 }
    }

    pub fn kind(self, index: c_int) -> c_int {
        unsafe { lua_type(self.0, index) }
    }

    /// The name of a kind of value, as messages show it.
    pub fn kind_name(self, index: c_int) -> &'static str {
        let name = unsafe { CStr::from_ptr(lua_typename(self.0, lua_type(self.0, index))) };
        name.to_str().unwrap_or("?")
    }

    /// Strings, and numbers since they can become strings.
    pub fn is_string(self, index: c_int) -> bool {
        unsafe { lua_isstring(self.0, index) != 0 }
    }

    /// Numbers, and strings that look like one.
    pub fn is_number(self, index: c_int) -> bool {
        unsafe { lua_isnumber(self.0, index) != 0 }
    }

    pub fn number(self, index: c_int) -> f64 {
        unsafe { lua_tonumber(self.0, index) }
    }

    /// A number cut to an integer as C does it.
    pub fn integer(self, index: c_int) -> i64 {
        unsafe { lua_tointeger(self.0, index) as i64 }
    }

    pub fn boolean(self, index: c_int) -> bool {
        unsafe { lua_toboolean(self.0, index) != 0 }
    }

    pub fn userdata(self, index: c_int) -> *mut c_void {
        unsafe { lua_touserdata(self.0, index) }
    }

    pub fn len(self, index: c_int) -> usize {
        unsafe { lua_objlen(self.0, index) }
    }

    /// The bytes of a string; a number there becomes its text.
    pub fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        let start = unsafe { lua_tolstring(self.0, index, &mut len) };
        if start.is_null() {
            return None;
        }
        Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    /// The bytes of a string up to its first NUL.
    pub fn c_bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        self.bytes(index).map(up_to_nul)
    }

    pub fn push_nil(self) {
        unsafe { lua_pushnil(self.0) }
    }

    pub fn push_boolean(self, value: bool) {
        unsafe { lua_pushboolean(self.0, c_int::from(value)) }
    }

    pub fn push_number(self, value: f64) {
        unsafe { lua_pushnumber(self.0, value) }
    }

    pub fn push_bytes(self, bytes: &[u8]) {
        unsafe { lua_pushlstring(self.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub fn push_pointer(self, pointer: *mut c_void) {
        unsafe { lua_pushlightuserdata(self.0, pointer) }
    }

    pub fn push_function(self, function: Function) {
        unsafe { skuld_pushfunction(self.0, function) }
    }

    /// Pushes a function with the `values` values on the top of the stack.
    pub fn push_closure(self, function: Function, values: c_int) {
        unsafe { skuld_pushclosure(self.0, function, values) }
    }

    /// Memory that Lua frees.
    pub fn new_userdata(self, size: usize) -> *mut c_void {
        unsafe { lua_newuserdata(self.0, size) }
    }

    pub fn push_copy(self, index: c_int) {
        unsafe { lua_pushvalue(self.0, index) }
    }

    pub fn new_table(self, array: usize, hash: usize) {
        let bounded = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
        unsafe { lua_createtable(self.0, bounded(array), bounded(hash)) }
    }

    pub fn insert(self, index: c_int) {
        unsafe { lua_insert(self.0, index) }
    }

    pub fn remove(self, index: c_int) {
        unsafe { lua_remove(self.0, index) }
    }

    pub fn replace(self, index: c_int) {
        unsafe { lua_replace(self.0, index) }
    }

    pub fn raw_get_at(self, table: c_int, n: c_int) {
        unsafe { lua_rawgeti(self.0, table, n) }
    }

    /// Pushes the table's field of that name, metamethods aside.
    pub fn raw_field(self, table: c_int, name: &[u8]) {
        self.push_bytes(name);
        unsafe { lua_rawget(self.0, if table < 0 && table > REGISTRY { table - 1 } else { table }) }
    }

    /// Takes a value and, below it, a key from the stack. The table is one that may be written.
    pub fn raw_set(self, table: c_int) {
        unsafe { lua_rawset(self.0, table) }
    }

    /// Takes a value from the stack. The table is one that may be written.
    pub fn raw_set_at(self, table: c_int, n: c_int) {
        unsafe { lua_rawseti(self.0, table, n) }
    }

    /// Takes a value from the stack. The table is one that may be written and has no metamethods.
    pub fn set_field(self, table: c_int, name: &CStr) {
        unsafe { lua_setfield(self.0, table, name.as_ptr()) }
    }

    pub fn next(self, table: c_int) -> bool {
        unsafe { lua_next(self.0, table) != 0 }
    }

    pub fn metatable(self, index: c_int) -> bool {
        unsafe { lua_getmetatable(self.0, index) != 0 }
    }

    pub fn set_metatable(self, index: c_int) {
        unsafe { lua_setmetatable(self.0, index) };
    }

    pub fn set_read_only(self, table: c_int, read_only: bool) {
        unsafe { lua_enablereadonlytable(self.0, table, c_int::from(read_only)) }
    }

    pub fn is_read_only(self, table: c_int) -> bool {
        unsafe { lua_isreadonlytable(self.0, table) != 0 }
    }

    /// Keeps the value on the top of the stack in the registry.
    pub fn keep(self) -> c_int {
        unsafe { luaL_ref(self.0, LUA_REGISTRYINDEX) }
    }

    pub fn forget(self, reference: c_int) {
        unsafe { luaL_unref(self.0, LUA_REGISTRYINDEX, reference) }
    }

    pub fn push_kept(self, reference: c_int) {
        self.raw_get_at(LUA_REGISTRYINDEX, reference);
    }

    /// Compiles text; the function, or the message, is pushed.
    pub fn load(self, text: &[u8], name: &CStr) -> bool {
        unsafe { luaL_loadbuffer(self.0, text.as_ptr().cast(), text.len(), name.as_ptr()) == 0 }
    }

    /// Calls what lies below its arguments. On failure the error value is pushed.
    pub fn call(self, args: c_int, results: c_int, handler: c_int) -> bool {
        unsafe { lua_pcall(self.0, args, results, handler) == 0 }
    }

    /// Bytes the state holds.
    pub fn memory(self) -> usize {
        unsafe { lua_gc(self.0, LUA_GCCOUNT, 0) as usize * 1024 + lua_gc(self.0, LUA_GCCOUNTB, 0) as usize }
    }

    /// A bounded piece of collecting garbage.
    pub fn collect_some(self, steps: c_int) {
        unsafe { lua_gc(self.0, LUA_GCSTEP, steps) };
    }

    pub fn set_hook(self, function: Option<Function>, instructions: c_int) {
        unsafe { skuld_sethook(self.0, function, instructions) }
    }

    /// What runs so many calls above the current one; `None` if nothing does.
    pub fn frame(self, level: c_int) -> Option<Frame> {
        let mut name = std::ptr::null();
        let line = unsafe { skuld_frame(self.0, level, &mut name) };
        let name =
            (line >= 0 && !name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes().to_vec());
        (line >= 0).then_some(Frame { line, name })
    }

    /// Pushes a local variable of what runs so many calls above the current one, and tells its name. The first is 1.
    pub fn push_local(self, level: c_int, number: c_int) -> Option<Vec<u8>> {
        let name = unsafe { skuld_local(self.0, level, number) };
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes().to_vec())
    }

    /// The address of what the value refers to.
    pub fn pointer(self, index: c_int) -> usize {
        unsafe { lua_topointer(self.0, index) as usize }
    }

    /// Opens one of Lua's own libraries. Only in a protected call.
    pub fn open(self, open: Function, name: &[u8]) {
        unsafe { lua_pushcclosure(self.0, open, 0) };
        self.push_bytes(name);
        self.call(1, 0, 0);
    }

    /// Pushes a table with this `err` field, which is what errors are for scripts. The text has a code word.
    pub fn push_error(self, text: &[u8]) {
        self.new_table(0, 1);
        self.push_bytes(b"err");
        self.push_bytes(text);
        self.raw_set(-3);
    }
}

/// Something that is being called.
pub struct Frame {
    /// The line of the script that it is at; 0 if it is no part of the script.
    pub line: c_int,
    /// What its caller calls it.
    pub name: Option<Vec<u8>>,
}

/// C's idea of a text.
pub fn up_to_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr(bytes)]
}

fn memchr(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len())
}
