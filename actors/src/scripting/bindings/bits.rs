//! `bit`: 32-bit integers.

use std::ffi::c_int;

use super::super::lua::*;
use super::{bad_type, new_library};

/// Defines it.
pub fn open(lua: Lua) {
    new_library(
        lua,
        c"bit",
        &[
            (c"tobit", tobit),
            (c"bnot", bnot),
            (c"band", band),
            (c"bor", bor),
            (c"bxor", bxor),
            (c"lshift", lshift),
            (c"rshift", rshift),
            (c"arshift", arshift),
            (c"rol", rol),
            (c"ror", ror),
            (c"bswap", bswap),
            (c"tohex", tohex),
        ],
    );
}

/// An argument's low 32 bits. Adding this constant leaves them in the low bits of the double's mantissa.
fn bits(lua: Lua, number: c_int) -> Result<u32, c_int> {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let bits = (lua.number(number) + SHIFT).to_bits() as u32;
    if bits == 0 && !lua.is_number(number) {
        return Err(bad_type(lua, number, "number"));
    }
    Ok(bits)
}

fn answer(lua: Lua, result: Result<u32, c_int>) -> c_int {
    match result {
        Ok(bits) => {
            lua.push_number(f64::from(bits as i32));
            1
        }
        Err(raised) => raised,
    }
}

fn fold(lua: Lua, combine: fn(u32, u32) -> u32) -> c_int {
    let all = bits(lua, 1).and_then(|first| {
        (2..=lua.top()).rev().try_fold(first, |sum, number| Ok(combine(sum, bits(lua, number)?)))
    });
    answer(lua, all)
}

fn shift(lua: Lua, shift: fn(u32, u32) -> u32) -> c_int {
    let shifted = bits(lua, 1).and_then(|value| Ok(shift(value, bits(lua, 2)? & 31)));
    answer(lua, shifted)
}

macro_rules! functions {
    ($($name:ident: $lua:ident => $body:expr;)*) => {$(
        unsafe extern "C" fn $name(state: *mut lua_State) -> c_int {
            // SAFETY: called by Lua with its state.
            let $lua = unsafe { Lua::new(state) };
            $body
        }
    )*};
}

functions! {
    tobit: lua => answer(lua, bits(lua, 1));
    bnot: lua => answer(lua, bits(lua, 1).map(|b| !b));
    band: lua => fold(lua, |a, b| a & b);
    bor: lua => fold(lua, |a, b| a | b);
    bxor: lua => fold(lua, |a, b| a ^ b);
    lshift: lua => shift(lua, |b, n| b << n);
    rshift: lua => shift(lua, |b, n| b >> n);
    arshift: lua => shift(lua, |b, n| (b as i32 >> n) as u32);
    rol: lua => shift(lua, u32::rotate_left);
    ror: lua => shift(lua, u32::rotate_right);
    bswap: lua => answer(lua, bits(lua, 1).map(u32::swap_bytes));
    tohex: lua => hex(lua);
}

fn hex(lua: Lua) -> c_int {
    let value = match bits(lua, 1) {
        Ok(value) => value,
        Err(raised) => return raised,
    };
    let digits = match lua.kind(2) {
        LUA_TNONE => 8,
        _ => match bits(lua, 2) {
            Ok(digits) => digits as i32,
            Err(raised) => return raised,
        },
    };
    let all = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let count = digits.unsigned_abs().min(8) as usize;
    lua.push_bytes(&all.as_bytes()[8 - count..]);
    1
}
