//! Values of scripts as the debugger shows them.

use skuld::scripting::debugger::short_number;

use crate::scripting::lua::*;

/// Tables in tables that are shown; a table may contain itself.
const DEPTH_MAX: usize = 10;
/// Values in one that are shown, so that tables which contain each other many times come to an end.
const VALUES_MAX: usize = 100_000;

/// The value on the top of the stack, which stays there.
pub fn text_of_top(lua: Lua) -> Vec<u8> {
    let (mut text, mut left) = (Vec::new(), VALUES_MAX);
    put_top(lua, &mut text, 0, &mut left);
    text
}

fn put_top(lua: Lua, out: &mut Vec<u8>, depth: usize, left: &mut usize) {
    *left = left.saturating_sub(1);
    if depth == DEPTH_MAX || !lua.room(4) {
        return out.extend(b"<max recursion level reached! Nested table?>");
    }
    match lua.kind(-1) {
        LUA_TNIL => out.extend(b"nil"),
        LUA_TBOOLEAN => out.extend(if lua.boolean(-1) { b"true".as_slice() } else { b"false" }),
        LUA_TNUMBER => out.extend(short_number(lua.number(-1)).bytes()),
        LUA_TSTRING => out.extend(lua.bytes(-1).unwrap_or_default()),
        LUA_TTABLE => put_table(lua, out, depth, left),
        _ => out.extend(format!(" \"{}@{:#x}\"", lua.kind_name(-1), lua.pointer(-1)).bytes()),
    }
}

/// A table whose keys come as 1, 2, 3 ... is shown by its values alone.
fn put_table(lua: Lua, out: &mut Vec<u8>, depth: usize, left: &mut usize) {
    let (mut values, mut pairs) = (Vec::new(), Vec::new());
    let mut is_sequence = true;
    let mut expected = 1.0;
    lua.push_nil();
    while lua.next(-2) {
        let key_is_next = lua.kind(-2) == LUA_TNUMBER && lua.number(-2) == expected;
        is_sequence &= key_is_next;
        expected += 1.0;
        let mut value = Vec::new();
        put_top(lua, &mut value, depth + 1, left);
        lua.pop(1);
        pairs.push(b'[');
        put_top(lua, &mut pairs, depth + 1, left);
        pairs.extend([b"]=", value.as_slice(), b"; "].concat());
        values.extend([value.as_slice(), b"; "].concat());
        if *left == 0 {
            lua.pop(1);
            break;
        }
    }
    out.push(b'{');
    out.extend(if is_sequence { values } else { pairs });
    out.push(b'}');
}
