//! A Lua machine, set up so that scripts can do nothing but compute and call the server.
//!
//! All that scripts share is read-only: the table of globals, every table that can be reached from it, and the
//! metatables of strings and the like. Names beyond the lists here do not get into the table of globals in the first place.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{Arc, Weak};

use skuld::scripting::cache::Script;
use skuld::scripting::libraries::{Libraries, Library};
use skuld_lua as ffi;

use super::api;
use super::libraries::{Loaded, register_function};
use super::lua::*;

/// What a machine is for. Scripts and functions never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Scripts,
    Functions,
}

/// Names that may become globals while a machine is set up.
const GLOBAL_NAMES: [&str; 37] = [
    "string",
    "cjson",
    "bit",
    "cmsgpack",
    "math",
    "table",
    "struct",
    "os",
    "server",
    "redis",
    "__redis__err__handler",
    "__server__err__handler",
    "xpcall",
    "tostring",
    "setmetatable",
    "next",
    "assert",
    "tonumber",
    "rawequal",
    "collectgarbage",
    "getmetatable",
    "rawset",
    "pcall",
    "coroutine",
    "type",
    "_G",
    "select",
    "unpack",
    "gcinfo",
    "pairs",
    "rawget",
    "loadstring",
    "ipairs",
    "_VERSION",
    "load",
    "error",
    // Taken away once the error handler has it.
    "debug",
];

/// Names that `lua-enable-insecure-api` lets in.
const INSECURE_NAMES: [&str; 3] = ["newproxy", "setfenv", "getfenv"];

/// Calls between two small collections of garbage, and how much is done then.
const COLLECT_EVERY: u32 = 50;

/// Compiled scripts beyond which those that the server forgot are looked for.
const COMPILED_MAX: usize = 2 * skuld::scripting::cache::EVAL_SCRIPTS_MAX;

/// Tells how an error came about: the source and line where it was raised, or where a function of ours was called.
const ERROR_HANDLER: &str = r"
local inspect = debug.getinfo
debug = nil
return function (problem)
  local where = inspect(2, 'nSl')
  if where and where.what == 'C' then where = inspect(3, 'nSl') end
  if type(problem) ~= 'table' then problem = {err = 'ERR ' .. tostring(problem)} end
  if where then
    problem['source'] = where.source
    problem['line'] = where.currentline
  end
  return problem
end";

/// A machine.
pub struct Vm {
    lua: Lua,
    /// The error handler's place in the registry.
    handler: c_int,
    /// Compiled scripts by id, while the server knows them.
    scripts: HashMap<u64, (c_int, Weak<Script>)>,
    /// The functions of libraries that were loaded here, by the library's id.
    pub libraries: HashMap<u64, (Weak<Library>, Loaded)>,
    /// Which set of scripts or libraries this machine belongs to; see `Scripts::epoch`.
    pub epoch: u64,
    /// Whether `lua-enable-insecure-api` was set when it was made.
    pub insecure: bool,
    calls: u32,
    /// The table that stands in for the globals while a library is loaded, and the globals themselves.
    pub library_api: c_int,
    pub globals: c_int,
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: the machine is not running: it is taken away from its owner while it is.
        unsafe { ffi::lua_close(self.lua.raw()) }
    }
}

impl Vm {
    /// Sets a machine up.
    pub fn new(purpose: Purpose, insecure: bool, epoch: u64) -> Self {
        // SAFETY: a new state, which only this thread knows.
        let lua = unsafe { Lua::new(ffi::luaL_newstate()) };
        assert!(!lua.raw().is_null(), "memory for an empty Lua state");
        let set_up = match purpose {
            Purpose::Scripts => set_up_scripts,
            Purpose::Functions => set_up_functions,
        };
        lua.push_function(set_up);
        lua.push_boolean(insecure);
        if !lua.call(1, 3, 0) {
            let message = String::from_utf8_lossy(lua.bytes(-1).unwrap_or_default()).into_owned();
            panic!("the scripts' environment could not be set up: {message}");
        }
        let globals = lua.keep();
        let library_api = lua.keep();
        let handler = lua.keep();
        Self {
            lua,
            handler,
            scripts: HashMap::new(),
            libraries: HashMap::new(),
            epoch,
            insecure,
            calls: 0,
            library_api,
            globals,
        }
    }

    pub fn lua(&self) -> Lua {
        self.lua
    }

    /// Bytes it holds.
    pub fn memory(&self) -> usize {
        self.lua.memory()
    }

    /// Compiles a script, unless it has been compiled here before. The error is Lua's message.
    pub fn compile(&mut self, script: &Arc<Script>) -> Result<c_int, Vec<u8>> {
        if let Some((reference, _)) = self.scripts.get(&script.id) {
            return Ok(*reference);
        }
        if self.scripts.len() >= COMPILED_MAX {
            self.forget_scripts();
        }
        let reference = compile(self.lua, script.code())?;
        self.scripts.insert(script.id, (reference, Arc::downgrade(script)));
        Ok(reference)
    }

    /// Compiles a script's code to see whether that works. Afterwards [`Vm::adopt`] or forget it.
    pub fn try_compile(&self, code: &[u8]) -> Result<c_int, Vec<u8>> {
        compile(self.lua, code)
    }

    /// Takes a compiled script over as that of the cache.
    pub fn adopt(&mut self, script: &Arc<Script>, reference: c_int) {
        self.scripts.insert(script.id, (reference, Arc::downgrade(script)));
    }

    fn forget_scripts(&mut self) {
        let lua = self.lua;
        self.scripts.retain(|_, (reference, script)| {
            let known = script.strong_count() > 0;
            if !known {
                lua.forget(*reference);
            }
            known
        });
    }

    /// Forgets libraries that are no longer in the server's table.
    pub fn forget_libraries(&mut self, known: &Libraries) {
        if self.libraries.len() > known.len() {
            let lua = self.lua;
            self.libraries.retain(|_, (library, loaded)| {
                let known = library.strong_count() > 0;
                if !known {
                    loaded.references.iter().for_each(|reference| lua.forget(*reference));
                }
                known
            });
        }
    }

    /// Forgets a library that was loaded in vain.
    pub fn forget(&self, loaded: Loaded) {
        loaded.references.iter().for_each(|reference| self.lua.forget(*reference));
    }

    pub fn push_handler(&self) {
        self.lua.push_kept(self.handler);
    }

    /// To be called after each run: collects a little garbage now and then, so that Lua never does a whole cycle at once.
    pub fn after_call(&mut self) {
        self.calls += 1;
        if self.calls == COLLECT_EVERY {
            self.calls = 0;
            self.lua.collect_some(COLLECT_EVERY as c_int);
        }
    }
}

fn compile(lua: Lua, code: &[u8]) -> Result<c_int, Vec<u8>> {
    if lua.load(code, c"@user_script") {
        return Ok(lua.keep());
    }
    let message = lua.c_bytes(-1).unwrap_or_default().to_vec();
    lua.pop(1);
    Err(message)
}

// What follows runs inside a protected call while nothing else knows the state.

unsafe extern "C" fn set_up_scripts(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    set_up_common(lua);
    lua.raw_field(GLOBALS, b"server");
    api::register_debugging(lua);
    lua.pop(1);
    lua.push_copy(2);
    lua.set_field(GLOBALS, c"__server__err__handler");
    lua.push_copy(2);
    lua.set_field(GLOBALS, c"__redis__err__handler");
    lock_globals(lua);
    lua.push_nil();
    lua.push_copy(GLOBALS);
    3
}

unsafe extern "C" fn set_up_functions(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    set_up_common(lua);
    lock_globals(lua);
    // What a library sees while it is loaded.
    lua.new_table(0, 0);
    lua.new_table(0, 0);
    lua.push_function(register_function);
    lua.set_field(-2, c"register_function");
    api::register_log(lua);
    api::register_versions(lua);
    set_error_metatable(lua);
    lua.push_copy(-1);
    lua.set_field(-3, c"server");
    lua.set_field(-2, c"redis");
    set_error_metatable(lua);
    protect(lua);
    // The globals behind a table of their own, whose metatable tells which of the two is seen.
    lua.push_copy(GLOBALS);
    lua.new_table(0, 0);
    lua.new_table(0, 1);
    lua.push_copy(GLOBALS);
    lua.set_field(-2, c"__index");
    lua.set_read_only(-1, true);
    lua.set_metatable(-2);
    lua.set_read_only(-1, true);
    lua.replace(GLOBALS);
    protect_metatables(lua);
    3
}

/// Leaves the error handler at index 2.
fn set_up_common(lua: Lua) {
    let insecure = lua.boolean(1);
    lua.push_copy(GLOBALS);
    lua.new_table(0, 1);
    lua.push_function(if insecure { admit_insecure_name } else { admit_name });
    lua.set_field(-2, c"__newindex");
    lua.set_metatable(-2);
    lua.pop(1);
    lua.open(ffi::luaopen_base, b"");
    lua.open(ffi::luaopen_table, b"table");
    lua.open(ffi::luaopen_string, b"string");
    lua.open(ffi::luaopen_math, b"math");
    lua.open(ffi::luaopen_debug, b"debug");
    lua.open(ffi::luaopen_os, b"os");
    super::bindings::open(lua);
    api::register(lua);
    lua.set_top(1);
    let loaded = lua.load(ERROR_HANDLER.as_bytes(), c"@err_handler_def");
    assert!(loaded && lua.call(0, 1, 0), "the error handler is well-formed");
}

/// Makes all that can be reached from the globals read-only, and names that do not exist an error.
fn lock_globals(lua: Lua) {
    lua.push_copy(GLOBALS);
    set_error_metatable(lua);
    protect(lua);
    lua.pop(1);
    protect_metatables(lua);
}

fn set_error_metatable(lua: Lua) {
    lua.new_table(0, 1);
    lua.push_function(missing_name);
    lua.set_field(-2, c"__index");
    lua.set_metatable(-2);
}

/// Makes the table on the top of the stack, and all that it leads to, read-only.
fn protect(lua: Lua) {
    if lua.is_read_only(-1) {
        return;
    }
    lua.set_read_only(-1, true);
    lua.room(4);
    lua.push_nil();
    while lua.next(-2) {
        if lua.kind(-1) == LUA_TTABLE {
            protect(lua);
        }
        lua.pop(1);
    }
    if lua.metatable(-1) {
        protect(lua);
        lua.pop(1);
    }
}

/// Makes the metatable of strings read-only, the only kind besides tables that has one.
fn protect_metatables(lua: Lua) {
    lua.push_bytes(b"");
    if lua.metatable(-1) {
        protect(lua);
        lua.pop(1);
    }
    lua.pop(1);
}

unsafe extern "C" fn admit_name(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    admit(unsafe { Lua::new(state) }, &[])
}

unsafe extern "C" fn admit_insecure_name(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    admit(unsafe { Lua::new(state) }, &INSECURE_NAMES)
}

/// A new global: kept if its name is on the list.
fn admit(lua: Lua, more: &[&str]) -> c_int {
    if lua.top() == 3 && lua.kind(2) == LUA_TSTRING {
        let name = lua.bytes(2).unwrap_or_default();
        if GLOBAL_NAMES.iter().chain(more).any(|known| known.as_bytes() == name) {
            lua.raw_set(1);
        }
    }
    0
}

/// A global that does not exist.
unsafe extern "C" fn missing_name(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 2 {
        lua.push_bytes(b"Wrong number of arguments to luaProtectedTableError");
        return RAISE_HERE;
    }
    if !lua.is_string(-1) {
        lua.push_bytes(b"Second argument to luaProtectedTableError must be a string or number");
        return RAISE_HERE;
    }
    let name = lua.c_bytes(-1).unwrap_or_default();
    let line = [b"Script attempted to access nonexistent global variable '", name, b"'"].concat();
    lua.push_bytes(&line);
    RAISE_HERE
}
