//! Scripts and functions as a whole server shows them: scripts that run for long, what is propagated, what INFO counts, payloads
//! of libraries that both servers read. What single calls answer stands in `tests/cases/scripting*.txt`.

mod support;

use std::time::{Duration, Instant};

use support::client::{Client, encode};
use support::resp::Value;
use support::server::{Launch, Server, reference_binary};

const LOOP: &str = "while true do end";
const BUSY: &str = "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                          either wait the script termination or kill the server in a hard way using the SHUTDOWN \
                          NOSAVE command.";
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL. script: on @user_script:1.";

fn start(workers: usize) -> Server {
    Launch::skuld(workers)
        .option("save", "")
        .option("enable-debug-command", "yes")
        .option("busy-reply-threshold", "50")
        .start()
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn text_of(value: &Value) -> String {
    match (value, value.integer()) {
        (Value::Error(line), _) => String::from_utf8_lossy(line).into_owned(),
        (_, Some(number)) => number.to_string(),
        (other, None) => other.text(),
    }
}

fn text(client: &mut Client, request: &[&str]) -> String {
    text_of(&client.call(&words(request)).expect("a reply").value)
}

fn next_text(client: &mut Client) -> String {
    text_of(&client.read_reply().expect("a reply").value)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn info(client: &mut Client, field: &str) -> u64 {
    let all = text(client, &["INFO", "everything"]);
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in {all}"))
}

#[test]
fn with_one_worker_a_long_script_makes_the_server_busy_until_it_is_killed() {
    let server = start(1);
    let (mut runner, mut other) = (server.connect(), server.connect());
    text(&mut other, &["SET", "k", "v"]);
    runner.send(&words(&["EVAL", LOOP, "0"]));
    wait_until("the server is busy", || text(&mut other, &["PING"]) == BUSY);
    for refused in
        [&["GET", "k"][..], &["INFO"], &["EVAL", "return 1", "0"], &["SHUTDOWN"], &["CLIENT", "LIST"]]
    {
        assert_eq!(text(&mut other, refused), BUSY, "{refused:?}");
    }
    assert_eq!(text(&mut other, &["MULTI"]), "OK");
    assert_eq!(text(&mut other, &["GET", "k"]), BUSY);
    assert_eq!(text(&mut other, &["EXEC"]), format!("EXECABORT Transaction discarded because of: {BUSY}"));
    assert_eq!(text(&mut other, &["FUNCTION", "KILL"]), BUSY);
    assert_eq!(text(&mut other, &["FUNCTION", "STATS"]), BUSY);
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert_eq!(next_text(&mut runner), KILLED);
    wait_until("the server answers again", || text(&mut other, &["GET", "k"]) == "v");
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), "NOTBUSY No scripts in execution right now.");
    assert!(server.log().contains("You can try killing the script using the SCRIPT KILL command."));
}

#[test]
fn catching_the_error_does_not_keep_a_killed_script_alive() {
    let server = start(1);
    let (mut runner, mut other) = (server.connect(), server.connect());
    let script = "while true do pcall(function() while true do end end) end";
    // What follows in the pipeline finds the data in place.
    text(&mut other, &["SET", "k", "v"]);
    runner.send(&words(&["EVAL", script, "0"]));
    runner.send(&words(&["GET", "k"]));
    wait_until("the server is busy", || text(&mut other, &["PING"]) == BUSY);
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert_eq!(next_text(&mut runner), KILLED);
    assert_eq!(next_text(&mut runner), "v");
}

#[test]
fn a_script_that_wrote_cannot_be_killed_and_others_see_all_of_it_or_nothing() {
    // It must run for much longer than `busy-reply-threshold` on any machine: before, nobody is answered.
    for workers in [1, 3] {
        let server = start(workers);
        let (mut runner, mut other) = (server.connect(), server.connect());
        let script = "redis.call('set', KEYS[1], 'half') local n = 0 while n < 3e7 do n = n + 1 end \
                      redis.call('set', KEYS[1], 'whole') return n";
        runner.send(&words(&["EVAL", script, "1", "k"]));
        wait_until("the script cannot be killed", || text(&mut other, &["SCRIPT", "KILL"]) == UNKILLABLE);
        wait_until("the script has ended", || {
            let seen = text(&mut other, &["GET", "k"]);
            assert!(seen == BUSY || seen == "whole", "{workers} workers: {seen}");
            seen == "whole"
        });
        assert_eq!(next_text(&mut runner), "30000000");
    }
}

#[test]
fn commands_wait_for_a_script_that_ends_in_time() {
    for workers in [1, 3] {
        let server = start(workers);
        let (mut runner, mut other) = (server.connect(), server.connect());
        text(&mut other, &["CONFIG", "SET", "busy-reply-threshold", "60000"]);
        let script = "local n = 0 while n < 3e7 do n = n + 1 end return redis.call('incr', KEYS[1])";
        runner.send(&words(&["EVAL", script, "1", "counter"]));
        wait_until("the script is running or over", || {
            text(&mut other, &["INCR", "counter"]).parse::<u32>().expect("a number") >= 2
        });
        let first: u32 = next_text(&mut runner).parse().expect("a number");
        let last: u32 = text(&mut other, &["GET", "counter"]).parse().expect("a number");
        assert!(first >= 1 && last >= 2);
    }
}

#[test]
fn a_long_function_is_shown_and_killed() {
    let server = start(1);
    let (mut runner, mut other) = (server.connect(), server.connect());
    let library = "#!lua name=l\nredis.register_function('spin', function() while true do end end)";
    assert_eq!(text(&mut other, &["FUNCTION", "LOAD", library]), "l");
    runner.send(&words(&["FCALL", "spin", "1", "key", "arg"]));
    let busy = BUSY.replace("SCRIPT KILL", "FUNCTION KILL");
    wait_until("the server is busy", || text(&mut other, &["PING"]) == busy);
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), busy);
    let stats = other.ask("FUNCTION STATS");
    let shown: Vec<String> = stats.items()[1].items()[3].items().iter().map(Value::text).collect();
    assert_eq!(stats.items()[1].items()[1].text(), "spin");
    assert_eq!(shown, ["FCALL", "spin", "1", "key", "arg"]);
    assert_eq!(text(&mut other, &["FUNCTION", "KILL"]), "OK");
    assert_eq!(
        next_text(&mut runner),
        "ERR Script killed by user with FUNCTION KILL. script: on @user_function:2."
    );
}

#[test]
fn shutdown_nosave_ends_a_busy_server() {
    let mut server = start(1);
    let (mut runner, mut other) = (server.connect(), server.connect());
    runner.send(&words(&["EVAL", LOOP, "0"]));
    wait_until("the server is busy", || text(&mut other, &["PING"]) == BUSY);
    other.send(&words(&["SHUTDOWN", "NOSAVE"]));
    assert!(server.wait_for_exit().success());
}

/// The longest time, over many attempts, until the client's command is answered.
fn slowest(client: &mut Client, request: &[&str], expected: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..60 {
        let begin = Instant::now();
        assert_eq!(text(client, request), expected);
        slowest = slowest.max(begin.elapsed());
    }
    slowest
}

#[test]
fn with_several_workers_the_others_go_on_beside_an_endless_script() {
    let server = start(3);
    let mut runner = server.connect();
    let mut clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    for key in ["a", "b", "c", "x2"] {
        text(&mut clients[0], &["SET", key, "v"]);
    }
    // Workers by slot modulo three: a, b, c are of one worker, x1 of another.
    text(&mut clients[0], &["SET", "x1", "v"]);
    runner.send(&words(&["EVAL", "redis.call('get', KEYS[1]) while true do end", "1", "a"]));
    wait_until("the script has timed out", || text(&mut clients[0], &["GET", "a"]) == BUSY);
    let mut worst = Duration::ZERO;
    for client in &mut clients {
        worst = worst.max(slowest(client, &["PING"], "PONG"));
        for key in ["x1", "x2", "b"] {
            worst = worst.max(slowest(client, &["GET", key], "v"));
        }
    }
    println!("slowest answer beside an endless script: {worst:?}");
    // Generous for a busy machine; on an idle one it is below 2 ms.
    assert!(worst < Duration::from_millis(250), "{worst:?}");
    assert_eq!(text(&mut clients[0], &["GET", "a"]), BUSY);
    assert_eq!(text(&mut clients[0], &["MSET", "a", "1", "x1", "2"]), BUSY);
    assert_eq!(text(&mut clients[0], &["SCRIPT", "KILL"]), "OK");
    assert_eq!(next_text(&mut runner), KILLED);
    wait_until("the key is free again", || text(&mut clients[0], &["GET", "a"]) == "v");
    assert_eq!(text(&mut clients[0], &["DBSIZE"]), "5");
}

#[test]
fn a_script_that_may_touch_anything_makes_everybody_wait_and_then_busy() {
    let server = start(3);
    let (mut runner, mut other) = (server.connect(), server.connect());
    runner.send(&words(&["EVAL", LOOP, "0"]));
    wait_until("the server is busy", || text(&mut other, &["PING"]) == BUSY);
    for refused in [&["GET", "k"][..], &["INFO"], &["CLIENT", "LIST"], &["SCRIPT", "FLUSH"]] {
        assert_eq!(text(&mut other, refused), BUSY, "{refused:?}");
    }
    assert_eq!(text(&mut other, &["MULTI"]), "OK");
    assert_eq!(text(&mut other, &["INCR", "k"]), BUSY);
    assert_eq!(text(&mut other, &["EXEC"]), format!("EXECABORT Transaction discarded because of: {BUSY}"));
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert_eq!(next_text(&mut runner), KILLED);
    assert_eq!(text(&mut other, &["PING"]), "PONG");
    // One that has written holds all keys.
    let script = "redis.call('set', KEYS[1], 'y') while redis.call('time')[1] ~= ARGV[1] do end";
    runner.send(&words(&["EVAL", script, "1", "x", "never"]));
    wait_until("the server is busy", || text(&mut other, &["PING"]) == BUSY);
    assert_eq!(text(&mut other, &["SCRIPT", "KILL"]), UNKILLABLE);
    assert_eq!(text(&mut other, &["GET", "elsewhere"]), BUSY);
}

#[test]
fn monitors_see_a_script_and_its_calls_once() {
    let server = start(3);
    let (mut client, mut monitor) = (server.connect(), server.connect());
    assert_eq!(text(&mut monitor, &["MONITOR"]), "OK");
    // Both would be begun again: one writes, the other reads what it has not declared.
    let scripts =
        ["return redis.call('set', 'a', 1)", "redis.call('get', 'a') return redis.call('get', 'b')"];
    for script in scripts {
        client.call(&words(&["EVAL", script, "0"])).expect("a reply");
    }
    client.ask("ECHO end");
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains("ECHO")) {
        let line = next_text(&mut monitor);
        seen.push(line.split_once("] ").expect("a client in brackets").1.to_owned());
    }
    let expected = [
        "\"EVAL\" \"return redis.call('set', 'a', 1)\" \"0\"",
        "\"set\" \"a\" \"1\"",
        "\"EVAL\" \"redis.call('get', 'a') return redis.call('get', 'b')\" \"0\"",
        "\"get\" \"a\"",
        "\"get\" \"b\"",
        "\"ECHO\" \"end\"",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn with_several_workers_scripts_may_touch_any_key() {
    let server = start(3);
    let mut client = server.connect();
    let script = "for n = 1, 20 do redis.call('set', 'key' .. n, n) end \
                  local sum = 0 for n = 1, 20 do sum = sum + redis.call('get', 'key' .. n) end return sum";
    for _ in 0..3 {
        assert_eq!(text(&mut client, &["EVAL", script, "0"]), "210");
        assert_eq!(text(&mut client, &["EVAL", script, "1", "key1"]), "210");
        assert_eq!(text(&mut client, &["EVAL", script, "2", "key1", "key2"]), "210");
    }
    // A key is read first, then others are written: the run is begun again, and nothing happens twice.
    let script = "redis.call('get', KEYS[1]) for n = 1, 20 do redis.call('incr', 'count' .. n) end \
                  return redis.call('mget', 'count1', 'count2', 'count20')";
    for n in 1..4 {
        let value = client.call(&words(&["EVAL", script, "1", "key1"])).expect("a reply").value;
        let counts: Vec<String> = value.items().iter().map(text_of).collect();
        assert_eq!(counts, [n.to_string(), n.to_string(), n.to_string()]);
    }
    assert_eq!(text(&mut client, &["DBSIZE"]), "40");
}

#[test]
fn scripts_of_many_clients_on_many_workers_lose_nothing() {
    let server = start(3);
    let transfer = "local from, to = KEYS[1], KEYS[2] \
                    if tonumber(redis.call('get', from) or 0) > 0 then \
                    redis.call('decr', from) redis.call('incr', to) end return 1";
    let mut client = server.connect();
    for n in 0..8 {
        text(&mut client, &["SET", &format!("account{n}"), "100"]);
    }
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let mut client = server.connect();
            std::thread::spawn(move || {
                for step in 0..150 {
                    let (from, to) = ((step * 3 + thread) % 8, (step * 5 + thread * 3 + 1) % 8);
                    let (from, to) = (format!("account{from}"), format!("account{to}"));
                    assert_eq!(text(&mut client, &["EVAL", transfer, "2", &from, &to]), "1");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no reply was wrong"));
    let sum = "local sum = 0 for n = 0, 7 do sum = sum + redis.call('get', 'account' .. n) end return sum";
    assert_eq!(text(&mut client, &["EVAL", sum, "0"]), "800");
}

/// What was propagated since the last call, one command per line. Which database the first is for is not shown.
fn effects(client: &mut Client) -> Vec<String> {
    let value = client.ask("ACTOR EFFECTS");
    value
        .items()
        .iter()
        .map(|command| command.items().iter().map(Value::text).collect::<Vec<_>>().join(" "))
        .filter(|command| command != "SELECT 0")
        .collect()
}

#[test]
fn a_scripts_effects_are_propagated_together_and_not_the_script() {
    for workers in [1, 3] {
        let server = start(workers);
        let mut client = server.connect();
        effects(&mut client);
        let script = "redis.call('set', 'a', 1) redis.call('get', 'a') redis.call('incr', 'a') \
                      redis.call('select', 2) redis.call('set', 'b', 2)";
        text(&mut client, &["EVAL", script, "0"]);
        assert_eq!(
            effects(&mut client),
            ["MULTI", "set a 1", "incr a", "SELECT 2", "set b 2", "EXEC"],
            "{workers} workers"
        );
        text(&mut client, &["EVAL", "redis.call('set', 'a', 1)", "0"]);
        assert_eq!(effects(&mut client), ["set a 1"]);
        text(&mut client, &["EVAL", "return redis.call('get', 'a')", "0"]);
        assert!(effects(&mut client).is_empty());
        let silent = "redis.set_repl(redis.REPL_NONE) redis.call('set', 'a', 2) redis.set_repl(redis.REPL_ALL) \
                      redis.call('set', 'a', 3)";
        text(&mut client, &["EVAL", silent, "0"]);
        assert_eq!(effects(&mut client), ["set a 3"]);
        // What was done before an error stays done.
        text(&mut client, &["EVAL", "redis.call('set', 'a', 4) error('x')", "0"]);
        assert_eq!(effects(&mut client), ["set a 4"]);
        let library =
            "#!lua name=l\nredis.register_function('f', function() return redis.call('set', 'a', 5) end)";
        text(&mut client, &["FUNCTION", "LOAD", library]);
        text(&mut client, &["FCALL", "f", "0"]);
        text(&mut client, &["FUNCTION", "DELETE", "l"]);
        let seen = effects(&mut client);
        assert_eq!(seen[0], format!("FUNCTION LOAD {library}"));
        assert_eq!(&seen[1..], ["set a 5", "FUNCTION DELETE l"]);
    }
}

#[test]
fn scripts_left_by_eval_are_limited() {
    let server = start(1);
    let mut client = server.connect();
    let kept = text(&mut client, &["SCRIPT", "LOAD", "return 'kept'"]);
    for n in 0..501 {
        text(&mut client, &["EVAL", &format!("return {n}"), "0"]);
    }
    assert_eq!(info(&mut client, "evicted_scripts"), 1);
    assert_eq!(info(&mut client, "number_of_cached_scripts"), 501);
    assert_eq!(text(&mut client, &["EVALSHA", &kept, "0"]), "kept");
    assert!(info(&mut client, "used_memory_vm_eval") > 0);
    text(&mut client, &["SCRIPT", "FLUSH"]);
    assert_eq!(info(&mut client, "number_of_cached_scripts"), 0);
    assert_eq!(text(&mut client, &["EVALSHA", &kept, "0"]), "NOSCRIPT No matching script.");
}

#[test]
fn what_scripts_call_is_counted_as_by_the_reference() {
    let Some(reference) = reference_binary("counters of scripts") else { return };
    let run = |launch: Launch| {
        let server = launch.option("save", "").start();
        let mut client = server.connect();
        for request in [
            &["SET", "s", "x"][..],
            &["CONFIG", "RESETSTAT"],
            &["EVAL", "return redis.call('incr', 's')", "0"],
            &["EVAL", "redis.pcall('incr', 's') return 1", "0"],
            &["EVAL", "return redis.pcall('nosuch')", "0"],
            &["EVAL", "return redis.call('get')", "0"],
            &["EVAL", "return redis.call('eval', 'x', 0)", "0"],
            &["EVAL", "error('mine')", "0"],
            &["EVAL", "return {err='MINE x'}", "0"],
            &["EVAL", "return redis.call('get', 's')", "0"],
            &["EVAL_RO", "return redis.call('set', 's', 1)", "0"],
            &["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"],
        ] {
            let _ = client.call(&words(request));
        }
        let stats = text(&mut client, &["INFO", "commandstats"]);
        let figures = |name: &str| {
            let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
            let line = line.unwrap_or_else(|| panic!("{name} is not in {stats}"));
            line.split([':', ','])
                .filter(|part| part.contains("calls"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let commands = ["eval", "eval_ro", "evalsha", "incr", "get", "set"];
        let figures: Vec<String> = commands.iter().map(|name| format!("{name} {}", figures(name))).collect();
        let errors = text(&mut client, &["INFO", "errorstats"]);
        (figures, errors, info(&mut client, "total_error_replies"))
    };
    assert_eq!(run(Launch::skuld(1)), run(Launch::reference(&reference)));
}

#[test]
fn libraries_travel_between_the_servers() {
    let Some(reference) = reference_binary("payloads of libraries") else { return };
    let ours = start(1);
    let theirs = Launch::reference(&reference).option("save", "").start();
    let library = "#!lua name=travels\nredis.register_function('f', function(keys, args) return args[1] end)\n\
                   redis.register_function{function_name='g', callback=function() return 'g' end, \
                   flags={'no-writes'}, description='second'}";
    let carry = |from: &mut Client, to: &mut Client| {
        text(from, &["FUNCTION", "FLUSH"]);
        assert_eq!(text(from, &["FUNCTION", "LOAD", library]), "travels");
        let payload = from.ask("FUNCTION DUMP").bytes().expect("a payload").to_vec();
        text(to, &["FUNCTION", "FLUSH"]);
        let restore = vec![b"FUNCTION".to_vec(), b"RESTORE".to_vec(), payload.clone()];
        assert_eq!(text_of(&to.call(&restore).expect("a reply").value), "OK");
        assert_eq!(text_of(&to.call(&restore).expect("a reply").value), "ERR Library travels already exists");
        let again = [restore, vec![b"REPLACE".to_vec()]].concat();
        assert_eq!(text_of(&to.call(&again).expect("a reply").value), "OK");
        assert_eq!(text(to, &["FCALL", "f", "0", "there"]), "there");
        assert_eq!(text(to, &["FCALL_RO", "g", "0"]), "g");
    };
    let (mut our, mut their) = (ours.connect(), theirs.connect());
    carry(&mut our, &mut their);
    carry(&mut their, &mut our);
}

#[test]
fn the_insecure_names_come_with_the_directive() {
    let server = Launch::skuld(1).option("save", "").option("lua-enable-insecure-api", "yes").start();
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["EVAL", "return type(getfenv)", "0"]), "function");
    let server = start(1);
    let mut client = server.connect();
    assert!(
        text(&mut client, &["EVAL", "return getfenv", "0"]).contains("nonexistent global variable 'getfenv'")
    );
    // Changed while the server runs: scripts are forgotten, libraries stay as they are until all of them are removed.
    let server = Launch::skuld(2).option("save", "").option("enable-protected-configs", "yes").start();
    let mut client = server.connect();
    let library = "#!lua name=l\nserver.register_function('f', function() return type(getfenv) end)";
    let keys = ["a", "b", "c", "d", "e"];
    for setting in ["yes", "no", "yes", "yes"] {
        let sha = text(&mut client, &["SCRIPT", "LOAD", "return 1"]);
        let changes = client.ask("CONFIG GET lua-enable-insecure-api").items()[1].text() != setting;
        text(&mut client, &["FUNCTION", "LOAD", "REPLACE", library]);
        let before = text(&mut client, &["FCALL", "f", "0"]);
        assert_eq!(text(&mut client, &["CONFIG", "SET", "lua-enable-insecure-api", setting]), "OK");
        assert_eq!(text(&mut client, &["FCALL", "f", "0"]), before);
        let known = client.ask(&format!("SCRIPT EXISTS {sha}")).items()[0].integer();
        assert_eq!(known, Some(i64::from(!changes)), "{setting}");
        for key in keys {
            let answer = text(&mut client, &["EVAL", "return type(getfenv)", "1", key]);
            assert_eq!(answer == "function", setting == "yes", "{answer}");
        }
        text(&mut client, &["FUNCTION", "FLUSH"]);
    }
}

/// A conversation with the debugger of scripts: what is asked, and lines of the answer, joined. Both servers must say all
/// of it, word for word, except for what stands after a tilde, which the answer only contains.
const DEBUGGED: &str = "local function double(x)
  local y = x * 2
  redis.breakpoint()
  return y
end
local t = {1, 'two', {3}, [5] = {k = 1.5}}
redis.call('set', KEYS[1], ARGV[1])
redis.debug('here', t)
local d = double(21)
redis.pcall('nosuch')
for i = 1, 3 do
  d = d + i
end
return d";

const CONVERSATION: &[(&[&str], &str)] = &[
    (&["next"], "* Stopped at 6, stop reason = step over|-> 6   local t = {1, 'two', {3}, [5] = {k = 1.5}}"),
    (&["s"], "* Stopped at 7, stop reason = step over|-> 7   redis.call('set', KEYS[1], ARGV[1])"),
    (&["p", "t"], "<value> {[1]=1; [2]=two; [3]={3; }; [5]={[k]=1.5; }; }"),
    (&["p", "KEYS"], "<value> {k; }"),
    (&["p", "nobody"], "No such variable."),
    (&["e", "#KEYS", "+", "1"], "<retval> 2"),
    (&["e", "nobody"], "<error> ldb_eval:1: Script attempted to access nonexistent global variable 'nobody'"),
    (&["e", "= 1"], "Error compiling code: ldb_eval:1: unexpected symbol near '='"),
    (&["valkey", "rpush", "list", "a", "b"], "<command> rpush list a b|<reply> 2"),
    (&["r", "lrange", "list", "0", "-1"], "<command> lrange list 0 -1|<reply> [\"a\",\"b\"]"),
    (&["r", "get", "list"], "~<error> -WRONGTYPE Operation against a key holding the wrong kind of value  "),
    (&["r", "subscribe", "x"], "~<reply> \"-ERR command 'subscribe' is not allowed on script mode\""),
    (
        &["l", "2", "1"],
        "   1   local function double(x)|   2     local y = x * 2|   3     redis.breakpoint()",
    ),
    (&["b", "12"], "   11  for i = 1, 3 do|  #12    d = d + i|   13  end"),
    (&["b", "99"], "Wrong line number."),
    (&["b", "-3"], "No breakpoint in the specified line."),
    (&["b"], "1 breakpoints set:|  #12    d = d + i"),
    (&["maxlen", "10"], "<value> replies are truncated at 60 bytes."),
    (&["sit"], "<error> Unknown debugger command or wrong number of arguments."),
    (&["step"], "~<command> set k v|<reply> \"+OK\"|* Stopped at 8"),
    (&["step"], "~<debug> line 8: here, {[1]=1; [2]=two; [3]={3; }; [5]={[k]=1.5; }; }|* Stopped at 9"),
    (&["c"], "* Stopped at 4, stop reason = server.breakpoint() called|-> 4     return y"),
    (&["trace"], "In double:|-> 4     return y|From top level:|   9   local d = double(21)"),
    (&["print"], "<value> x = 21|<value> y = 42"),
    (&["s"], "~* Stopped at 10"),
    (&["s"], "~<command> nosuch|<reply> \"-ERR unknown command 'nosuch', with args beginning  ..."),
    (&["C"], "* Stopped at 12, stop reason = break point|->#12    d = d + i"),
    (&["b", "0"], "All breakpoints removed."),
];

fn debug(client: &mut Client, script: &str) -> String {
    debug_in_mode(client, "SYNC", script)
}

fn debug_in_mode(client: &mut Client, mode: &str, script: &str) -> String {
    assert_eq!(text(client, &["SCRIPT", "DEBUG", mode]), "OK");
    lines(client, &["EVAL", script, "1", "k", "v"])
}

fn lines(client: &mut Client, request: &[&str]) -> String {
    let reply = client.call(&words(request)).expect("a reply").value;
    reply.items().iter().map(text_of).collect::<Vec<_>>().join("|")
}

/// Goes through the conversation above to its end.
fn converse(client: &mut Client, mode: &str) {
    assert_eq!(debug_in_mode(client, mode, DEBUGGED), "* Stopped at 5, stop reason = step over|-> 5   end");
    for (request, expected) in CONVERSATION {
        let answer = lines(client, request);
        match expected.strip_prefix('~') {
            Some(part) => assert!(answer.contains(part), "{request:?}: {answer}"),
            None => assert_eq!(answer, *expected, "{request:?}"),
        }
    }
    assert_eq!(lines(client, &["continue"]), "<endsession>");
    assert_eq!(next_text(client), "48");
    assert!(client.read_to_close().is_ok(), "the session was the client's last");
}

#[test]
fn scripts_are_debugged_line_by_line() {
    let mut servers = vec![start(1), start(3)];
    servers
        .extend(reference_binary("the debugger of scripts").map(|binary| Launch::reference(&binary).start()));
    for server in &servers {
        converse(&mut server.connect(), "SYNC");
        assert_eq!(text(&mut server.connect(), &["GET", "k"]), "v");
        assert!(server.log().contains("synchronous debugging eval session ended"));
    }
}

#[test]
fn sessions_end_early_and_other_clients_wait_for_them() {
    let mut servers = vec![start(1), start(3)];
    servers.extend(reference_binary("the end of debugging").map(|binary| Launch::reference(&binary).start()));
    let script = "redis.call('set', 'k', '1')\nredis.call('set', 'k', '2')\nreturn 1";
    for server in &servers {
        let mut other = server.connect();
        let mut client = server.connect();
        debug(&mut client, script);
        lines(&mut client, &["s"]);
        other.send(&words(&["GET", "k"]));
        assert!(other.is_silent_for(Duration::from_millis(100)));
        assert_eq!(lines(&mut client, &["abort"]), "<endsession>");
        let reply = next_text(&mut client);
        assert_eq!(reply, "ERR script aborted for user request script: on @user_script:2.");
        assert!(client.read_to_close().is_ok());
        assert_eq!(next_text(&mut other), "1");
        // What is no request.
        let mut client = server.connect();
        debug(&mut client, script);
        client.send_raw(b"step\r\n");
        assert_eq!(client.read_reply().expect("a reply").value.items().len(), 1);
        assert_eq!(next_text(&mut client), "ERR protocol error script: on @user_script:1.");
        // A client that goes away: then the script runs to its end.
        let mut client = server.connect();
        debug(&mut client, script);
        drop(client);
        wait_until("the script has ended", || text(&mut other, &["GET", "k"]) == "2");
        // The same before the script has begun.
        for _ in 0..10 {
            text(&mut other, &["DEL", "k"]);
            let mut client = server.connect();
            client.send_raw(
                &[encode(&words(&["SCRIPT", "DEBUG", "SYNC"])), encode(&words(&["EVAL", script, "0"]))]
                    .concat(),
            );
            drop(client);
            wait_until("the script has ended", || text(&mut other, &["GET", "k"]) == "2");
        }
        // What cannot be debugged.
        let mut client = server.connect();
        assert_eq!(debug(&mut client, "return ("), "<endsession>");
        assert!(next_text(&mut client).starts_with("ERR Error compiling script"));
        let mut client = server.connect();
        let sha = text(&mut client, &["SCRIPT", "LOAD", "return 5"]);
        text(&mut client, &["SCRIPT", "DEBUG", "SYNC"]);
        let refused = "ERR Please use EVAL instead of EVALSHA for debugging";
        assert_eq!(text(&mut client, &["EVALSHA", &sha, "0"]), refused);
        assert_eq!(text(&mut client, &["SCRIPT", "DEBUG", "NO"]), "OK");
        assert_eq!(text(&mut client, &["EVALSHA", &sha, "0"]), "5");
        let pipeline = [words(&["PING"]), words(&["SCRIPT", "DEBUG", "SYNC"])];
        let replies = client.pipeline(&pipeline);
        let last = text_of(&replies[1].as_ref().expect("a reply").value);
        assert_eq!(last, "ERR SCRIPT DEBUG must be called outside a pipeline");
    }
}

#[test]
fn scripts_are_debugged_on_a_copy_that_is_forgotten() {
    let mut servers = vec![start(1), start(3)];
    servers.extend(reference_binary("debugging a copy").map(|binary| Launch::reference(&binary).start()));
    for server in &mut servers {
        let mut other = server.connect();
        text(&mut other, &["SET", "k", "kept"]);
        converse(&mut server.connect(), "YES");
        assert_eq!(text(&mut other, &["GET", "k"]), "kept");
        assert_eq!(text(&mut other, &["EXISTS", "list"]), "0");

        // Nobody waits, and what others do is not seen. Database and protocol are the client's.
        let script = "redis.call('set', 'k', 'x')\nredis.setresp(3)\nreturn redis.call('hgetall', 'h')";
        text(&mut other, &["SELECT", "3"]);
        text(&mut other, &["HSET", "h", "f", "v"]);
        let mut client = server.connect();
        text(&mut client, &["HELLO", "3"]);
        text(&mut client, &["SELECT", "3"]);
        debug_in_mode(&mut client, "YES", script);
        text(&mut other, &["HSET", "h", "g", "w"]);
        assert_eq!(text(&mut other, &["SET", "k", "mine"]), "OK");
        assert_eq!(lines(&mut client, &["r", "hlen", "h"]), "<command> hlen h|<reply> 1");
        assert_eq!(lines(&mut client, &["c"]), "<endsession>");
        assert_eq!(client.read_reply().expect("a reply").raw, b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
        assert_eq!(text(&mut other, &["GET", "k"]), "mine");

        // What the user may not do, a script that is debugged may not either.
        text(&mut other, &["ACL", "SETUSER", "guest", "on", ">p", "~k", "+@all", "-hgetall"]);
        let mut client = server.connect();
        text(&mut client, &["AUTH", "guest", "p"]);
        debug_in_mode(&mut client, "YES", "return 1");
        for request in [["r", "get", "other"], ["r", "hgetall", "k"]] {
            let answer = lines(&mut client, &request);
            assert!(answer.contains("ermission"), "{request:?}: {answer}");
        }
        assert_eq!(lines(&mut client, &["r", "get", "k"]), "<command> get k|<reply> \"kept\"");
        drop(client);

        // Clients that go away leave nothing behind, however far it has come.
        for delay in [0, 10, 30, 100] {
            let mut client = server.connect();
            assert_eq!(text(&mut client, &["SCRIPT", "DEBUG", "YES"]), "OK");
            client.send(&words(&["EVAL", "return 1", "0"]));
            std::thread::sleep(Duration::from_millis(delay));
        }
        wait_until("all sessions are over", || temporary_files(server).is_empty());

        // What cannot be debugged, and a session that the server's end finds open.
        let mut client = server.connect();
        assert_eq!(debug_in_mode(&mut client, "YES", "return ("), "<endsession>");
        assert!(next_text(&mut client).starts_with("ERR Error compiling script"));
        let mut open = server.connect();
        debug_in_mode(&mut open, "YES", "return 1");
        other.send(&words(&["SHUTDOWN", "NOSAVE"]));
        assert!(server.wait_for_exit().success());
        assert!(open.read_to_close().is_ok());
        assert!(server.log().contains("Killing debugging session"));
        assert_eq!(temporary_files(server), Vec::<String>::new());
    }
}

fn temporary_files(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.dir()).expect("its directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("temp-")).collect()
}
