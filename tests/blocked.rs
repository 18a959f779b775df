//! Blocked clients: conversations whose bytes are compared with the reference server, what replicas are told, and what
//! INFO and CLIENT say of those who wait.

mod support;

use std::time::{Duration, Instant};

use support::client::{Client, encode};
use support::server::{Launch, Server};
use support::text::words;
use support::transcript::compare;

#[test]
fn lists_are_waited_for_as_in_the_reference() {
    compare(
        "blocked clients",
        "a: BLPOP k 0
         b: LPUSH k x
         a: BLPOP k 0; PING; LPUSH z 1
         b: RPUSH k 1 2 3
         b: LRANGE k 0 -1; DEL k
         a: BLPOP k 0
         c: BRPOP k 0
         d: BLMOVE k l LEFT RIGHT 0
         b: RPUSH k 1 2
         b: RPUSH k 5; LRANGE l 0 -1; LRANGE k 0 -1
         a: BLPOP k1 k2 k3 0
         b: LPUSH k2 v
         a: BLPOP k1{t} k2{t} k1{t} 0
         b: MULTI; LPUSH k2{t} v2; LPUSH k1{t} v1; EXEC
         b: LRANGE k2{t} 0 -1; DEL k1{t} k2{t}
         a: BLPOP k1 0
         b: MULTI; LPUSH k1 x; DEL k1; EXEC
         b: MULTI; LPUSH k1 x; LPUSH k1 y; EXEC
         b: LRANGE k1 0 -1
         a: BLMPOP 0 2 m1 m2 LEFT COUNT 10
         b: RPUSH m2 1 2 3
         a: BLMPOP 0 2 m1 m2 RIGHT
         b: RPUSH m1 1 2 3
         a: BLPOP dup dup 0
         b: LPUSH dup 1 2; LRANGE dup 0 -1
         b: DEBUG SET-ACTIVE-EXPIRE 0
         a: BLPOP past 0
         b: MULTI; RPUSH past 1; PEXPIRE past 20; DEBUG SLEEP 0.05; EXEC
         b: RPUSH past 2",
    );
}

#[test]
fn moves_chain_rotate_and_fail_as_in_the_reference() {
    compare(
        "blocked clients",
        "a: BRPOPLPUSH q1 q2 0
         c: BRPOPLPUSH q2 q3 0
         d: BLPOP q3 0
         b: LPUSH q1 chain
         a: BLMOVE r r LEFT RIGHT 0
         b: RPUSH r 1 2
         b: LRANGE r 0 -1
         a: BRPOPLPUSH c1 c2 0
         c: BRPOPLPUSH c2 c1 0
         b: RPUSH c1 circle
         b: LRANGE c1 0 -1; LRANGE c2 0 -1; EXISTS c1 c2
         a: BLMOVE bs bd LEFT LEFT 0
         c: BLMOVE bs be LEFT LEFT 0
         b: SET bd x
         b: LPUSH bs 1
         b: LRANGE bs 0 -1; LRANGE be 0 -1
         a: BLMOVE ma mb LEFT LEFT 0
         c: BLMOVE ma mb LEFT LEFT 0
         d: BLPOP ma 0
         b: RPUSH ma 1
         b: RPUSH ma 2 3 4
         b: LRANGE mb 0 -1; LRANGE ma 0 -1
         a: MULTI; BLPOP k 0; BLMOVE k d LEFT LEFT 0; BRPOPLPUSH k d 0; BZPOPMIN k 0; BLMPOP 0 1 k LEFT; EXEC
         a: MULTI; BZMPOP 0 1 k MIN; XREAD BLOCK 0 STREAMS k $; RPUSH k 1; BLPOP k 0; EXEC
         a: WATCH w2
         c: BRPOPLPUSH w1 w2 0
         b: LPUSH w1 v
         a: MULTI; PING; EXEC",
    );
}

#[test]
fn sorted_sets_and_streams_are_waited_for_as_in_the_reference() {
    let sorted_sets = "a: BZPOPMIN z1 z2 0
         b: ZADD z2 1 a 2 b
         a: BZPOPMAX z1 z3 0
         b: ZADD z3 1 a 2.5 b
         a: BZMPOP 0 1 z4 MIN COUNT 5
         b: ZADD z4 1 a 2 b
         a: BZPOPMIN zz 0
         b: ZUNIONSTORE zz 1 z2
         a: BZPOPMIN zz 0
         c: BLPOP zz 0
         b: RPUSH zz 1; ZADD zz 1 x";
    compare("blocked clients", sorted_sets);
    compare("blocked clients", &format!("a: CLIENT REPLY SKIP; HELLO 3\n{sorted_sets}"));
    let streams = "b: XADD s 1-1 f v
         a: XREAD BLOCK 0 STREAMS s s2 $ $
         b: XADD s 2-1 f v
         a: XREAD BLOCK 0 STREAMS s s2 $ 0
         b: XADD s2 3-1 f v
         b: XGROUP CREATE s g $
         a: XREADGROUP GROUP g c1 BLOCK 0 STREAMS s >
         c: XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >
         b: XADD s 4-1 f v
         b: XADD s 5-1 f v
         a: XREAD COUNT 1 BLOCK 0 STREAMS s 5-1
         c: XREAD BLOCK 0 STREAMS s 5-5
         b: XADD s 5-3 f v
         b: XADD s 6-1 f v; XADD s 7-1 f v
         a: XREAD BLOCK 0 STREAMS none{t} +
         b: XADD none{t} 1-1 f v";
    compare("blocked clients", streams);
    compare("blocked clients", &format!("a: CLIENT REPLY SKIP; HELLO 3\n{streams}"));
}

#[test]
fn readers_of_a_group_hear_of_its_end_as_in_the_reference() {
    let make = "b: XGROUP CREATE s g $ MKSTREAM\na: XREADGROUP GROUP g c1 BLOCK 0 STREAMS s >\n";
    let ends = [
        "b: DEL s",
        "b: SET s x\nb: DEL s",
        "b: XGROUP DESTROY s g\nb: DEL s",
        "b: FLUSHALL",
        "b: FLUSHDB",
        "b: SELECT 1; XADD s 1-1 f v; SELECT 0; SWAPDB 0 1\nb: FLUSHALL",
        "b: RENAME s t\nb: DEL t",
        "b: MOVE s 1\nb: FLUSHALL",
        "b: PEXPIREAT s 1",
        "b: XADD s 9-9 f v; XDEL s 9-9\nb: DEL s",
        "b: RPUSH l 1; RENAME l s",
    ];
    let script: String = ends.iter().map(|end| format!("{make}{end}\n")).collect();
    compare("blocked clients", &script);
}

#[test]
fn keys_that_appear_by_any_way_are_seen_as_in_the_reference() {
    compare(
        "blocked clients",
        "a: BLPOP rn 0
         b: RPUSH other 1
         b: RENAME other rn
         a: BLPOP sw 0
         b: SELECT 1; RPUSH sw v; SELECT 0
         b: SWAPDB 0 1
         b: SWAPDB 0 1
         a: BLPOP mv 0
         b: SELECT 1; RPUSH mv v; MOVE mv 0; SELECT 0
         a: BLPOP cp 0
         b: RPUSH src v; COPY src cp
         a: BLPOP srt 0
         b: SORT src STORE srt
         a: BLPOP ins 0
         b: SET ins x; DEL ins; LPUSHX ins x; RPUSH ins y
         a: SELECT 3; BLPOP db3 0
         b: RPUSH db3 0
         b: SELECT 3; RPUSH db3 3
         b: FLUSHALL",
    );
}

#[test]
fn arguments_and_timeouts_are_judged_as_in_the_reference() {
    compare(
        "blocked clients",
        "a: BLPOP k -1; BLPOP k x; BLPOP k 1e300; BLPOP k inf; BLPOP k nan; BLPOP k 9223372036854775
         a: BLPOP k 9223372036854776; BLPOP k -0x1; BLPOP k -inf; BLPOP k ''; BLPOP 0; BLPOP
         a: BLMOVE k d FOO LEFT x; BLMOVE k d LEFT LEFT x; BLMOVE k d LEFT UP 0; BRPOPLPUSH k d -2
         a: BLMPOP x 0 k LEFT; BLMPOP 1 0 k LEFT; BZMPOP 1 1 k MIN COUNT 0; BZMPOP 1 1 k MIN COUNT; BLMPOP x 1 k LEFT
         a: XREAD BLOCK -1 STREAMS k $; XREAD BLOCK x STREAMS k $; XREAD BLOCK 9223372036854775807 STREAMS k $
         a: SET s x; BLPOP k s 0; BLMOVE s k LEFT LEFT 0; BZPOPMIN s 0; BZMPOP 0 2 k s MIN; BLMPOP 0 1 s LEFT
         a: XREAD BLOCK 0 STREAMS s $; XREADGROUP GROUP g c BLOCK 0 STREAMS s >
         a: SET s 1; BLPOP nope 0.02; GET s
         await: a
         a: BLMOVE k s LEFT LEFT 0.01; BRPOPLPUSH k d 0.01; BZPOPMIN k 0.01; BLMPOP 0.01 1 k LEFT
         await: a
         a: XREAD BLOCK 10 STREAMS k $; BZMPOP 0.01 1 k MAX COUNT 3; BLPOP k 0.0000001
         await: a
         a: CLIENT REPLY SKIP; HELLO 3
         a: BLMOVE k d LEFT LEFT 0.01; BLPOP k 0.01; CLIENT REPLY SKIP; BLPOP k 0.01; XREAD BLOCK 10 STREAMS k $
         await: a",
    );
}

/// Waits until a client of this server is blocked.
fn wait_until_blocked(control: &mut Client, id: i64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let line = control.ask(&format!("CLIENT LIST ID {id}")).text();
        if line.contains(" flags=b ") {
            return;
        }
        assert!(Instant::now() < deadline, "never blocked: {line}");
    }
}

fn info(control: &mut Client, section: &str, field: &str) -> i64 {
    let text = control.ask(&format!("INFO {section}")).text();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or_else(|| panic!("no {field} in {text}"))
}

fn blocked_client(server: &Server, control: &mut Client, line: &str) -> (Client, i64) {
    let mut client = server.connect();
    let id = client.ask("CLIENT ID").integer().expect("an id");
    client.send_raw(&encode(&words(line)));
    wait_until_blocked(control, id);
    (client, id)
}

#[test]
fn a_wait_is_ended_by_request_and_counted() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut control = server.connect();
        let (mut a, a_id) = blocked_client(&server, &mut control, "BLPOP k1 k2 k3 100");
        let (mut b, b_id) = blocked_client(&server, &mut control, "BLPOP k1 0");
        control.ask("XGROUP CREATE s g $ MKSTREAM");
        let (c, c_id) = blocked_client(&server, &mut control, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        assert_eq!(info(&mut control, "clients", "blocked_clients"), 3);
        assert_eq!(info(&mut control, "clients", "total_blocking_keys"), 4);
        assert_eq!(info(&mut control, "clients", "total_blocking_keys_on_nokey"), 1);
        assert_eq!(info(&mut control, "clients", "clients_in_timeout_table"), 1);
        let ended = |control: &mut Client, line: String| control.ask(&line).integer();
        assert_eq!(ended(&mut control, format!("CLIENT UNBLOCK {a_id}")), Some(1));
        assert_eq!(a.read_frame().expect("a reply").raw, b"*-1\r\n");
        assert_eq!(ended(&mut control, format!("CLIENT UNBLOCK {a_id}")), Some(0));
        assert_eq!(ended(&mut control, format!("CLIENT UNBLOCK {b_id} ERROR")), Some(1));
        let line = b.read_frame().expect("a reply").raw;
        assert_eq!(line, b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
        // One that hangs up is forgotten, and what comes then stays.
        drop(c);
        let deadline = Instant::now() + Duration::from_secs(20);
        while info(&mut control, "clients", "blocked_clients") > 0 {
            assert!(Instant::now() < deadline, "client {c_id} is still blocked");
        }
        assert_eq!(info(&mut control, "clients", "total_blocking_keys"), 0);
        let (mut d, d_id) = blocked_client(&server, &mut control, "BLPOP k1 k2 0");
        assert_eq!(control.ask(&format!("CLIENT KILL ID {d_id}")).integer(), Some(1));
        assert_eq!(d.read_to_close().expect("closed"), b"");
        control.ask("RPUSH k1 stays");
        assert_eq!(control.ask("LLEN k1").integer(), Some(1));
        let stats = control.ask("INFO commandstats").text();
        assert!(stats.contains("cmdstat_blpop:calls=2,usec="), "{stats}");
        // As the reference counts it: being unblocked with an error is no failure of the command.
        assert!(stats.contains("rejected_calls=1,failed_calls=0"), "{stats}");
    }
}

#[test]
fn replicas_are_told_of_what_was_taken_not_of_the_wait() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut control = server.connect();
        control.ask("ACTOR EFFECTS");
        let (mut a, _) = blocked_client(&server, &mut control, "BLPOP k{t} other{t} 0");
        let (mut b, _) = blocked_client(&server, &mut control, "BLMOVE src{t} dst{t} LEFT RIGHT 0");
        let (mut c, _) = blocked_client(&server, &mut control, "BZPOPMIN z{t} 0");
        control.ask("MULTI");
        control.ask("RPUSH k{t} 1 2");
        control.ask("RPUSH src{t} v");
        control.ask("EXEC");
        control.ask("ZADD z{t} 1 m");
        for client in [&mut a, &mut b, &mut c] {
            client.read_frame().expect("served");
        }
        let verbs: Vec<String> = control
            .ask("ACTOR EFFECTS")
            .items()
            .iter()
            .map(|command| command.items().iter().map(|word| word.text()).collect::<Vec<_>>().join(" "))
            .filter(|command: &String| command != "SELECT 0")
            .collect();
        let expected = [
            "MULTI",
            "RPUSH k{t} 1 2",
            "RPUSH src{t} v",
            "EXEC",
            "LPOP k{t}",
            "LMOVE src{t} dst{t} LEFT RIGHT",
            "ZADD z{t} 1 m",
            "ZPOPMIN z{t}",
        ];
        assert_eq!(verbs, expected, "with {workers} workers");
    }
}

#[test]
fn many_waiting_clients_are_served_in_the_order_they_came() {
    const CLIENTS: usize = 300;
    let server = Launch::skuld(3).start();
    let mut control = server.connect();
    let mut waiting: Vec<(Client, i64)> = (0..CLIENTS)
        .map(|i| blocked_client(&server, &mut control, &format!("BLPOP queue q{i} 100")))
        .collect();
    for i in 0..CLIENTS {
        control.ask(&format!("RPUSH queue {i}"));
    }
    for (i, (client, _)) in waiting.iter_mut().enumerate() {
        let expected = format!("*2\r\n$5\r\nqueue\r\n${}\r\n{i}\r\n", i.to_string().len());
        assert_eq!(String::from_utf8_lossy(&client.read_frame().expect("served").raw), expected);
    }
    assert_eq!(control.ask("EXISTS queue").integer(), Some(0));
    assert_eq!(info(&mut control, "clients", "blocked_clients"), 0);
}

/// Clients that wait on keys of several shards while others push to them: every element goes to exactly one of them.
#[test]
fn nothing_is_lost_or_given_twice_over_several_shards() {
    const ELEMENTS: usize = 400;
    let server = Launch::skuld(3).start();
    let address = server.address();
    let consumers: Vec<_> = (0..6)
        .map(|number: usize| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address).expect("connects");
                let mut got = Vec::new();
                loop {
                    let line = match number % 3 {
                        0 => "BLPOP a b c 0",
                        1 => "BLMPOP 0 3 c b a LEFT COUNT 2",
                        _ => "BRPOP b a 0",
                    };
                    let reply = client.ask(line);
                    let items = match number % 3 {
                        1 => reply.items()[1].items().iter().map(|item| item.text()).collect::<Vec<_>>(),
                        _ => vec![reply.items()[1].text()],
                    };
                    let ends = items.iter().any(|item| item == "end");
                    got.extend(items.into_iter().filter(|item| item != "end"));
                    if ends {
                        return got;
                    }
                }
            })
        })
        .collect();
    let mut producer = server.connect();
    for i in 0..ELEMENTS {
        let key = ["a", "b", "c"][i % 3];
        match i % 5 {
            0 => {
                producer.ask("MULTI");
                producer.ask(&format!("RPUSH {key} {i}"));
                producer.ask("SET x y");
                producer.ask("EXEC");
            }
            1 => {
                producer.ask(&format!("RPUSH tmp {i}"));
                producer.ask(&format!("BLMOVE tmp {key} LEFT RIGHT 0"));
            }
            _ => {
                producer.ask(&format!("RPUSH {key} {i}"));
            }
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while info(&mut producer, "clients", "blocked_clients") < 6 {
        assert!(Instant::now() < deadline, "somebody is still busy");
    }
    for _ in 0..6 {
        let blocked = info(&mut producer, "clients", "blocked_clients");
        producer.ask("RPUSH b end");
        while info(&mut producer, "clients", "blocked_clients") >= blocked {
            assert!(Instant::now() < deadline, "nobody took the end");
        }
    }
    let mut all: Vec<usize> = Vec::new();
    for consumer in consumers {
        all.extend(
            consumer.join().expect("ends").iter().map(|item| item.parse::<usize>().expect("a number")),
        );
    }
    all.sort_unstable();
    assert_eq!(all, (0..ELEMENTS).collect::<Vec<_>>());
}

/// A reader of two streams on different shards that is looked at in vain for one of them does not miss the other, and its
/// time does not begin anew.
#[test]
fn a_reader_looked_at_in_vain_keeps_all_its_keys_and_its_deadline() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut control = server.connect();
        let (mut reader, id) =
            blocked_client(&server, &mut control, "XREAD BLOCK 0 STREAMS a b c 9-0 9-0 9-0");
        for key in ["a", "b", "c", "a"] {
            control.ask(&format!("XADD {key} 1-* f v"));
            wait_until_blocked(&mut control, id);
        }
        control.ask("XADD b 9-1 f v");
        let reply = String::from_utf8_lossy(&reader.read_frame().expect("served").raw).into_owned();
        assert!(reply.starts_with("*1\r\n*2\r\n$1\r\nb\r\n"), "{reply}");
        let started = Instant::now();
        let (mut timed, id) =
            blocked_client(&server, &mut control, "XREAD BLOCK 400 STREAMS a b c 99-0 99-0 99-0");
        let mut looks = 0;
        while started.elapsed() < Duration::from_millis(300) {
            control.ask("XADD c 9-* f v");
            looks += 1;
        }
        assert_eq!(timed.read_frame().expect("over").raw, b"*-1\r\n");
        let took = started.elapsed();
        assert!(took < Duration::from_millis(650), "client {id} waited {took:?} after {looks} looks");
    }
}
