/*
** Lets Rust functions be called from Lua, and raise errors, without longjmp over Rust frames: they return a negative
** number, and the jump begins here.
*/

#include <string.h>

#include "lua.h"
#include "lauxlib.h"

typedef int (*rust_function) (lua_State *L);

/* What a Rust function returns instead of a count of results; the text or error value is on the top of the stack. */
#define RAISE (-1)             /* the value as it is */
#define RAISE_HERE (-2)        /* the text, with the position of the caller in front */
#define BAD_ARGUMENT (-1000)   /* less the argument's number: the text says what is wrong with it */
#define BAD_TYPE (-2000)       /* less the argument's number: the text names the expected type */

/* Takes the text on the top of the stack away, since the message tells what lies there. */
static int bad_type (lua_State *L, int argument) {
  char expected[32];
  strncpy(expected, lua_tostring(L, -1), sizeof(expected) - 1);
  expected[sizeof(expected) - 1] = '\0';
  lua_pop(L, 1);
  return luaL_typerror(L, argument, expected);
}

static int call_rust (lua_State *L) {
  rust_function function = (rust_function)lua_touserdata(L, lua_upvalueindex(1));
  int results = function(L);
  if (results >= 0)
    return results;
  if (results <= BAD_TYPE)
    return bad_type(L, BAD_TYPE - results);
  if (results <= BAD_ARGUMENT)
    return luaL_argerror(L, BAD_ARGUMENT - results, lua_tostring(L, -1));
  if (results == RAISE_HERE) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

void skuld_pushfunction (lua_State *L, rust_function function) {
  lua_pushlightuserdata(L, (void *)function);
  lua_pushcclosure(L, call_rust, 1);
}

/* Likewise with the `values` values on the top of the stack, which become the closure's values from number 2 on. */
void skuld_pushclosure (lua_State *L, rust_function function, int values) {
  lua_pushlightuserdata(L, (void *)function);
  lua_insert(L, -values - 1);
  lua_pushcclosure(L, call_rust, values + 1);
}

/* The hook's function is kept in the registry under the address of this. */
static char hook_key;

static void hook (lua_State *L, lua_Debug *ar) {
  rust_function function;
  (void)ar;
  lua_pushlightuserdata(L, &hook_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  function = (rust_function)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (function != 0 && function(L) < 0)
    lua_error(L);
}

/*
** What runs `level` calls above the current one: the line of the user's script it is at, 0 if it is something else, -1 if
** there is no such call. `name` becomes what the caller called it, or 0.
*/
int skuld_frame (lua_State *L, int level, const char **name) {
  lua_Debug ar;
  if (!lua_getstack(L, level, &ar))
    return -1;
  lua_getinfo(L, "nSl", &ar);
  *name = ar.name;
  return strcmp(ar.source, "@user_script") == 0 && ar.currentline > 0 ? ar.currentline : 0;
}

/* Pushes the value of local variable `n` of that call and tells its name; 0, and nothing pushed, if there is none. */
const char *skuld_local (lua_State *L, int level, int n) {
  lua_Debug ar;
  return lua_getstack(L, level, &ar) ? lua_getlocal(L, &ar, n) : 0;
}

/* The hook is called every `count` instructions, or at every line if `count` is 0. */
void skuld_sethook (lua_State *L, rust_function function, int count) {
  if (function == 0) {
    lua_sethook(L, 0, 0, 0);
    return;
  }
  lua_pushlightuserdata(L, &hook_key);
  lua_pushlightuserdata(L, (void *)function);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_sethook(L, hook, count > 0 ? LUA_MASKCOUNT : LUA_MASKLINE, count);
}
