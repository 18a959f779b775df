//! Libraries on a machine: loading them, and `redis.register_function`.

use std::cell::Cell;
use std::ffi::c_int;

use skuld::scripting::ScriptFlags;
use skuld::scripting::libraries::Function;

use super::api::push_error;
use super::convert::ErrorInformation;
use super::lua::*;
use super::vm::Vm;
use crate::clock::{self, Tick};

/// Longest a library may take to register its functions, milliseconds.
const LOAD_MS_MAX: u64 = 500;
const INSTRUCTIONS_PER_LOOK: c_int = 100_000;

/// The functions of a library on one machine, in the order in which they were registered.
pub struct Loaded {
    pub references: Vec<c_int>,
}

/// A library being loaded.
struct Loading {
    functions: Vec<(Function, c_int)>,
    started: Tick,
    limited: bool,
}

thread_local! {
    /// The library that this thread is loading.
    static LOADING: Cell<*mut Loading> = const { Cell::new(std::ptr::null_mut()) };
}

/// Gives the library being loaded, if one is.
fn with_loading<T>(ask: impl FnOnce(&mut Loading) -> T) -> Option<T> {
    let loading = LOADING.get();
    // SAFETY: the pointer is set while `load` is waiting for the library's code, which calls one function at a time.
    (!loading.is_null()).then(|| ask(unsafe { &mut *loading }))
}

/// Runs a library's code, which registers its functions. `limited`: for no longer than [`LOAD_MS_MAX`].
/// The error is a line for the client without its code word.
pub fn load(vm: &Vm, code: &[u8], limited: bool) -> Result<(Vec<Function>, Loaded), Vec<u8>> {
    let lua = vm.lua();
    let top = lua.top();
    see(vm, vm.library_api);
    let result = run(vm, code, limited);
    lua.set_hook(None, 0);
    see(vm, vm.globals);
    lua.set_top(top);
    result
}

/// Makes the globals those of the registry's table `reference`.
fn see(vm: &Vm, reference: c_int) {
    let lua = vm.lua();
    if lua.metatable(GLOBALS) {
        lua.set_read_only(-1, false);
        lua.push_bytes(b"__index");
        lua.push_kept(reference);
        lua.raw_set(-3);
        lua.set_read_only(-1, true);
        lua.pop(1);
    }
}

fn run(vm: &Vm, code: &[u8], limited: bool) -> Result<(Vec<Function>, Loaded), Vec<u8>> {
    let lua = vm.lua();
    // C's idea of a text: what is behind a NUL is not seen.
    if !lua.load(up_to_nul(code), c"@user_function") {
        return Err([b"Error compiling function: ", lua.c_bytes(-1).unwrap_or_default()].concat());
    }
    let mut loading = Loading { functions: Vec::new(), started: clock::tick(), limited };
    LOADING.set(&mut loading);
    lua.set_hook(Some(look_at_clock), INSTRUCTIONS_PER_LOOK);
    let done = lua.call(0, 0, 0);
    LOADING.set(std::ptr::null_mut());
    if !done {
        loading.functions.iter().for_each(|(_, reference)| lua.forget(*reference));
        return Err([b"Error registering functions: ", &ErrorInformation::of(lua).message[..]].concat());
    }
    let (functions, references) = loading.functions.into_iter().unzip();
    Ok((functions, Loaded { references }))
}

/// Called every so many instructions of a library's code.
unsafe extern "C" fn look_at_clock(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let over = with_loading(|loading| {
        loading.limited && clock::micros_between(loading.started, clock::tick()) / 1000 > LOAD_MS_MAX
    });
    if over != Some(true) {
        return 0;
    }
    // From now on at every line, so that `pcall` does not get around it.
    lua.set_hook(Some(look_at_clock), 0);
    push_error(lua, b"FUNCTION LOAD timeout");
    RAISE
}

/// `redis.register_function`
pub unsafe extern "C" fn register_function(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let registered = if LOADING.get().is_null() {
        Err("server.register_function can only be called on FUNCTION LOAD command")
    } else {
        match lua.top() {
            1 => named(lua),
            2 => positional(lua),
            _ => Err("wrong number of arguments to server.register_function"),
        }
    };
    match registered {
        Ok((function, reference)) => {
            with_loading(|loading| loading.functions.push((function, reference)));
            0
        }
        Err(line) => {
            push_error(lua, line.as_bytes());
            RAISE
        }
    }
}

type Registered = Result<(Function, c_int), &'static str>;

fn positional(lua: Lua) -> Registered {
    if !lua.is_string(1) {
        return Err("first argument to server.register_function must be a string");
    }
    if lua.kind(2) != LUA_TFUNCTION {
        return Err("second argument to server.register_function must be a function");
    }
    let name = lua.bytes(1).unwrap_or_default().to_vec();
    let function = Function { name, description: None, flags: ScriptFlags::default() };
    Ok((function, lua.keep()))
}

fn named(lua: Lua) -> Registered {
    if lua.kind(1) != LUA_TTABLE {
        return Err(
            "calling server.register_function with a single argument is only applicable to Lua table \
                    (representing named arguments).",
        );
    }
    let mut function = Function { name: Vec::new(), description: None, flags: ScriptFlags::default() };
    let mut has_name = false;
    let mut callback = None;
    let result = named_arguments(lua, &mut function, &mut has_name, &mut callback);
    let failed = match (result, has_name, callback) {
        (Err(line), ..) => line,
        (Ok(()), false, _) => "server.register_function must get a function name argument",
        (Ok(()), true, None) => "server.register_function must get a callback argument",
        (Ok(()), true, Some(reference)) => return Ok((function, reference)),
    };
    if let Some(reference) = callback {
        lua.forget(reference);
    }
    Err(failed)
}

fn named_arguments(
    lua: Lua,
    function: &mut Function,
    has_name: &mut bool,
    callback: &mut Option<c_int>,
) -> Result<(), &'static str> {
    lua.push_nil();
    while lua.next(1) {
        match lua.kind(-2) {
            LUA_TSTRING => {}
            LUA_TNUMBER => return Err("unknown argument given to server.register_function"),
            _ => return Err("named argument key given to server.register_function is not a string"),
        }
        let key = lua.c_bytes(-2).unwrap_or_default().to_ascii_lowercase();
        match &key[..] {
            b"function_name" => {
                let name =
                    text(lua, "function_name argument given to server.register_function must be a string")?;
                function.name = name;
                *has_name = true;
            }
            b"description" => {
                let line = "description argument given to server.register_function must be a string";
                function.description = Some(text(lua, line)?);
            }
            b"callback" => {
                if lua.kind(-1) != LUA_TFUNCTION {
                    return Err("callback argument given to server.register_function must be a function");
                }
                lua.push_copy(-1);
                if let Some(earlier) = callback.replace(lua.keep()) {
                    lua.forget(earlier);
                }
            }
            b"flags" => {
                if lua.kind(-1) != LUA_TTABLE {
                    return Err(
                        "flags argument to server.register_function must be a table representing function \
                                flags",
                    );
                }
                function.flags = flags(lua).ok_or("unknown flag given")?;
            }
            _ => return Err("unknown argument given to server.register_function"),
        }
        lua.pop(1);
    }
    Ok(())
}

fn text(lua: Lua, otherwise: &'static str) -> Result<Vec<u8>, &'static str> {
    if !lua.is_string(-1) {
        return Err(otherwise);
    }
    // A copy, since a number there becomes a text.
    lua.push_copy(-1);
    let text = lua.bytes(-1).unwrap_or_default().to_vec();
    lua.pop(1);
    Ok(text)
}

/// The flags in the table on the top of the stack.
fn flags(lua: Lua) -> Option<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for index in 1.. {
        lua.raw_get_at(-1, index);
        if lua.kind(-1) == LUA_TNIL {
            lua.pop(1);
            break;
        }
        let name = if lua.is_string(-1) { lua.c_bytes(-1).map(<[u8]>::to_vec) } else { None };
        lua.pop(1);
        let name = name?;
        let known = |(_, known): &&(ScriptFlags, &str)| known.as_bytes().eq_ignore_ascii_case(&name);
        flags = flags.with(ScriptFlags::NAMES.iter().find(known)?.0);
    }
    Some(flags)
}
