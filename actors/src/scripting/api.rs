//! `redis.*` and `server.*`, `pcall`, and `math.random`.

use std::ffi::{CStr, c_int};

use skuld::scripting::sha1_hex;

use super::call;
use super::convert::Version;
use super::lua::*;
use super::run::{REPLICATE_ALL, Run};

/// A log level of `redis.log`.
const LOG_DEBUG: i64 = 0;
const LOG_VERBOSE: i64 = 1;
const LOG_NOTICE: i64 = 2;
const LOG_WARNING: i64 = 3;

/// Pushes an error value: `text` is `-CODE message`, or a message that gets the code `ERR`.
pub fn push_error(lua: Lua, text: &[u8]) {
    let trimmed = |text: &[u8]| {
        let end = |b: &u8| *b != b'\r' && *b != b'\n';
        let start = text.iter().position(end).unwrap_or(text.len());
        let stop = text.iter().rposition(end).map_or(start, |last| last + 1);
        text[start..stop].to_vec()
    };
    let text = up_to_nul(text);
    let line = match text.strip_prefix(b"-") {
        None => [b"ERR ", &trimmed(text)[..]].concat(),
        Some(rest) => match rest.iter().position(|&b| b == b' ') {
            None => [b"ERR ", rest].concat(),
            Some(at) => [&rest[..=at], &trimmed(&rest[at + 1..])[..]].concat(),
        },
    };
    lua.push_error(&line);
}

fn raise(lua: Lua, text: &str) -> c_int {
    push_error(lua, text.as_bytes());
    RAISE
}

fn set_number(lua: Lua, name: &CStr, value: f64) {
    lua.push_number(value);
    lua.set_field(-2, name);
}

fn set_text(lua: Lua, name: &CStr, value: &str) {
    lua.push_bytes(value.as_bytes());
    lua.set_field(-2, name);
}

fn set_function(lua: Lua, name: &CStr, function: Function) {
    lua.push_function(function);
    lua.set_field(-2, name);
}

/// Defines what both kinds of machine have.
pub fn register(lua: Lua) {
    lua.push_function(protected_call);
    lua.set_field(GLOBALS, c"pcall");
    lua.new_table(0, 0);
    set_function(lua, c"call", call::call);
    set_function(lua, c"pcall", call::pcall);
    register_log(lua);
    register_versions(lua);
    set_function(lua, c"setresp", set_resp);
    set_function(lua, c"sha1hex", sha1hex);
    set_function(lua, c"error_reply", error_reply);
    set_function(lua, c"status_reply", status_reply);
    set_function(lua, c"set_repl", set_repl);
    set_number(lua, c"REPL_NONE", 0.0);
    set_number(lua, c"REPL_AOF", 1.0);
    set_number(lua, c"REPL_SLAVE", 2.0);
    set_number(lua, c"REPL_REPLICA", 2.0);
    set_number(lua, c"REPL_ALL", 3.0);
    set_function(lua, c"acl_check_cmd", call::acl_check_cmd);
    lua.push_copy(-1);
    lua.set_field(GLOBALS, c"server");
    lua.set_field(GLOBALS, c"redis");
    lua.raw_field(GLOBALS, b"math");
    set_function(lua, c"random", random);
    set_function(lua, c"randomseed", randomseed);
    lua.pop(1);
}

/// Adds `log` and its levels to the table on the top of the stack.
pub fn register_log(lua: Lua) {
    set_function(lua, c"log", log);
    set_number(lua, c"LOG_DEBUG", LOG_DEBUG as f64);
    set_number(lua, c"LOG_VERBOSE", LOG_VERBOSE as f64);
    set_number(lua, c"LOG_NOTICE", LOG_NOTICE as f64);
    set_number(lua, c"LOG_WARNING", LOG_WARNING as f64);
}

/// Adds the versions.
pub fn register_versions(lua: Lua) {
    let number = |version: &str| {
        version.split('.').fold(0u32, |n, part| (n << 8) | (part.parse::<u32>().unwrap_or(0) & 0xff))
    };
    use skuld::version::{REDIS_VERSION, VERSION};
    set_number(lua, c"REDIS_VERSION_NUM", number(REDIS_VERSION).into());
    set_text(lua, c"REDIS_VERSION", REDIS_VERSION);
    set_number(lua, c"VALKEY_VERSION_NUM", number(VERSION).into());
    set_text(lua, c"VALKEY_VERSION", VERSION);
    set_text(lua, c"SERVER_NAME", "valkey");
}

/// Adds what only scripts have.
pub fn register_debugging(lua: Lua) {
    set_function(lua, c"breakpoint", breakpoint);
    set_function(lua, c"debug", debug);
    set_function(lua, c"replicate_commands", replicate_commands);
}

/// `pcall`, with one difference to Lua's own: of an error value that is a table with a text `err`, the text is returned.
unsafe extern "C" fn protected_call(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let args = lua.top();
    lua.push_boolean(true);
    lua.insert(1);
    // Without a function, the call fails on what it finds in its place: the marker.
    if !lua.call(args - 1, LUA_MULTRET, 0) {
        lua.remove(1);
        if lua.kind(-1) == LUA_TTABLE {
            lua.raw_field(-1, b"err");
            if lua.is_string(-1) {
                lua.replace(-2);
            }
        }
        lua.push_boolean(false);
        lua.insert(1);
    }
    lua.top()
}

unsafe extern "C" fn sha1hex(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 {
        return raise(lua, "wrong number of arguments");
    }
    let digest = sha1_hex(lua.bytes(1).unwrap_or_default());
    lua.push_bytes(&digest);
    1
}

unsafe extern "C" fn error_reply(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 || lua.kind(1) != LUA_TSTRING {
        push_error(lua, b"wrong number or type of arguments");
        return 1;
    }
    let text = lua.c_bytes(1).unwrap_or_default();
    if text.starts_with(b"-") {
        push_error(lua, text)
    } else {
        push_error(lua, &[b"-", text].concat())
    }
    1
}

unsafe extern "C" fn status_reply(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 || lua.kind(1) != LUA_TSTRING {
        push_error(lua, b"wrong number or type of arguments");
        return 1;
    }
    lua.new_table(0, 1);
    lua.push_bytes(b"ok");
    lua.push_copy(1);
    lua.raw_set(-3);
    1
}

unsafe extern "C" fn set_repl(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 {
        return raise(lua, "server.set_repl() requires one argument.");
    }
    let flags = lua.number(1) as i32;
    if flags & !i32::from(REPLICATE_ALL) != 0 {
        return raise(lua, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    }
    Run::with(|run| run.replicate = flags as u8);
    0
}

unsafe extern "C" fn set_resp(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    if lua.top() != 1 {
        return raise(lua, "server.setresp() requires one argument.");
    }
    let version = match lua.number(1) as i32 {
        2 => Version::Two,
        3 => Version::Three,
        _ => return raise(lua, "RESP version must be 2 or 3."),
    };
    Run::with(|run| run.version = version);
    0
}

unsafe extern "C" fn log(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let args = lua.top();
    if args < 2 {
        return raise(lua, "server.log() requires two arguments or more.");
    }
    if !lua.is_number(1) {
        return raise(lua, "First argument must be a number (log level).");
    }
    let level = lua.number(1) as i64;
    if !(LOG_DEBUG..=LOG_WARNING).contains(&level) {
        return raise(lua, "Invalid log level.");
    }
    let words: Vec<_> = (2..=args)
        .filter_map(|index| lua.c_bytes(index))
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let line = words.join(" ");
    match level {
        LOG_DEBUG => tracing::trace!("<lua> {line}"),
        LOG_VERBOSE => tracing::debug!("<lua> {line}"),
        LOG_NOTICE => tracing::info!("<lua> {line}"),
        _ => tracing::warn!("<lua> {line}"),
    }
    0
}

unsafe extern "C" fn breakpoint(state: *mut lua_State) -> c_int {
    let asked = Run::with(|run| run.debugger.as_mut().map(|debugger| debugger.stop_at_next_line())).is_some();
    // SAFETY: called by Lua with its state.
    unsafe { Lua::new(state) }.push_boolean(asked);
    1
}

unsafe extern "C" fn debug(state: *mut lua_State) -> c_int {
    Run::with(|run| {
        if let Some(debugger) = &mut run.debugger {
            // SAFETY: called by Lua with its state.
            debugger.tell_values(unsafe { Lua::new(state) });
        }
    });
    0
}

unsafe extern "C" fn replicate_commands(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    unsafe { Lua::new(state) }.push_boolean(true);
    1
}

/// An integer argument as Lua's own functions read it, or what to return instead.
pub fn check_integer(lua: Lua, index: c_int) -> Result<i64, c_int> {
    if lua.is_number(index) {
        return Ok(lua.integer(index));
    }
    lua.push_bytes(b"number");
    Err(BAD_TYPE - index)
}

unsafe extern "C" fn random(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    match random_number(lua) {
        Ok(number) => {
            lua.push_number(number);
            1
        }
        Err(raised) => raised,
    }
}

fn random_number(lua: Lua) -> Result<f64, c_int> {
    let unit = Run::with(|run| run.random().unit());
    let empty = |argument: c_int| {
        lua.push_bytes(b"interval is empty");
        Err(BAD_ARGUMENT - argument)
    };
    match lua.top() {
        0 => Ok(unit),
        1 => {
            let upper = check_integer(lua, 1)? as i32;
            if upper < 1 { empty(1) } else { Ok((unit * f64::from(upper)).floor() + 1.0) }
        }
        2 => {
            let lower = check_integer(lua, 1)? as i32;
            let upper = check_integer(lua, 2)? as i32;
            if lower > upper {
                return empty(2);
            }
            let span = upper.wrapping_sub(lower).wrapping_add(1);
            Ok((unit * f64::from(span)).floor() + f64::from(lower))
        }
        _ => {
            lua.push_bytes(b"wrong number of arguments");
            Err(RAISE_HERE)
        }
    }
}

unsafe extern "C" fn randomseed(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    match check_integer(lua, 1) {
        Ok(seed) => {
            Run::with(|run| run.random().seed(seed as i32));
            0
        }
        Err(raised) => raised,
    }
}
