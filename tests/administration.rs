//! Commands about the server and its clients, as their users meet them. Needs no reference server: what can be
//! compared with one is in `parity_cases`.

mod support;

use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::server::{Launch, Server, free_port};
use support::text::words;

fn for_each_worker_count(test: impl Fn(&Server)) {
    for workers in [1, 2, 4] {
        test(&Launch::skuld(workers).option("enable-debug-command", "yes").start());
    }
}

fn text(client: &mut Client, request: &str) -> String {
    client.ask(request).text()
}

/// A request with blanks inside its words.
fn call(client: &mut Client, request: &[&str]) -> Value {
    let request: Vec<Vec<u8>> = request.iter().map(|word| word.as_bytes().to_vec()).collect();
    client.call(&request).expect("a reply").value
}

fn info(client: &mut Client, field: &str) -> String {
    let all = text(client, "INFO everything");
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {all}")).to_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Keys on all shards, and a multi-key write over them.
const WRITES: [&str; 4] = ["SET a 1", "MSET b 1 c 2 d 3 e 4 f 5", "DEL a b c d", "FLUSHALL"];

#[test]
fn a_pause_of_writes_holds_writes_on_every_shard_until_it_ends() {
    for_each_worker_count(|server| {
        let mut admin = server.connect();
        assert_eq!(text(&mut admin, "CLIENT PAUSE 100000 WRITE"), "OK");
        let mut writers: Vec<Client> = WRITES.iter().map(|_| server.connect()).collect();
        for (writer, write) in writers.iter_mut().zip(WRITES) {
            writer.send(&words(write));
        }
        wait_until("all writers wait", || info(&mut admin, "blocked_clients") == WRITES.len().to_string());
        assert_eq!(info(&mut admin, "paused_actions"), "write");
        // Reading goes on, and nothing has been written.
        assert_eq!(admin.ask("EXISTS a b c d e f").integer(), Some(0));
        assert!(writers.iter_mut().all(|writer| writer.is_silent_for(Duration::from_millis(10))));
        assert_eq!(text(&mut admin, "CLIENT UNPAUSE"), "OK");
        for writer in &mut writers {
            writer.read_frame().expect("the writer is served after the pause");
        }
        assert_eq!(info(&mut admin, "blocked_clients"), "0");
    });
}

#[test]
fn a_pause_of_writes_knows_what_transactions_and_scripts_may_do() {
    for_each_worker_count(|server| {
        let mut admin = server.connect();
        let library = "#!lua name=l\nserver.register_function{function_name='reads', \
                       callback=function() return 3 end, flags={'no-writes'}}";
        call(&mut admin, &["FUNCTION", "LOAD", library]);
        let queue = |request: &[&str]| {
            let mut client = server.connect();
            client.ask("MULTI");
            assert_eq!(call(&mut client, request).text(), "QUEUED");
            client
        };
        let mut writer = queue(&["SET", "k", "1"]);
        let mut runner = queue(&["EVAL", "return 5", "0"]);
        let mut reader = queue(&["EVAL", "#!lua flags=no-writes\nreturn 6", "0"]);
        assert_eq!(text(&mut admin, "CLIENT PAUSE 100000 WRITE"), "OK");
        for waiting in [&mut writer, &mut runner] {
            waiting.send(&words("EXEC"));
        }
        wait_until("both transactions wait", || info(&mut admin, "blocked_clients") == "2");
        // What says that it only reads goes on.
        assert_eq!(reader.ask("EXEC").items()[0].integer(), Some(6));
        let script = "#!lua flags=no-writes\nreturn 1";
        assert_eq!(call(&mut reader, &["EVAL", script, "0"]).integer(), Some(1));
        assert_eq!(call(&mut reader, &["EVAL_RO", "return 2", "0"]).integer(), Some(2));
        assert_eq!(reader.ask("FCALL reads 0").integer(), Some(3));
        assert_eq!(text(&mut admin, "CLIENT UNPAUSE"), "OK");
        for waiting in [&mut writer, &mut runner] {
            waiting.read_frame().expect("served after the pause");
        }
    });
}

#[test]
fn a_pause_of_everything_ends_by_itself_and_keeps_the_order() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        let start = Instant::now();
        for request in ["CLIENT PAUSE 300", "SET a 1", "INCR a", "GET a"] {
            client.send(&words(request));
        }
        let replies: Vec<String> = (0..4)
            .map(|_| String::from_utf8_lossy(&client.read_frame().expect("a reply").raw).into_owned())
            .collect();
        assert_eq!(replies, ["+OK\r\n", "+OK\r\n", ":2\r\n", "$1\r\n2\r\n"]);
        assert!(start.elapsed() >= Duration::from_millis(299), "{:?}", start.elapsed());
    });
}

#[test]
fn keys_do_not_expire_while_writes_are_paused() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        client.ask("SET k v PX 30");
        client.ask("CLIENT PAUSE 100000 WRITE");
        wait_until("the key looks expired", || client.ask("EXISTS k").integer() == Some(0));
        assert_eq!(client.ask("DBSIZE").integer(), Some(1));
        client.ask("CLIENT UNPAUSE");
        wait_until("the key is removed", || client.ask("DBSIZE").integer() == Some(0));
    });
}

#[test]
fn debug_sleep_stops_every_shard() {
    for_each_worker_count(|server| {
        let mut sleeper = server.connect();
        let mut others: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for other in &mut others {
            other.ask("PING");
        }
        let start = Instant::now();
        sleeper.send(&words("DEBUG SLEEP 0.4"));
        std::thread::sleep(Duration::from_millis(100));
        for other in &mut others {
            other.ask("GET k");
        }
        assert!(start.elapsed() >= Duration::from_millis(390), "{:?}", start.elapsed());
        sleeper.read_frame().expect("the sleeper is answered");
    });
}

#[test]
fn the_port_can_be_changed_while_clients_stay() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        let (first, second) = (server.address().port(), free_port());
        let connects = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert_eq!(text(&mut client, &format!("CONFIG SET port {second}")), "OK");
        assert!(connects(second) && !connects(first));
        // A port that is taken changes nothing.
        let taken = std::net::TcpListener::bind(("0.0.0.0", free_port())).expect("a free port");
        let taken_port = taken.local_addr().expect("bound").port();
        let refusal = client.ask(&format!("CONFIG SET hz 77 port {taken_port}"));
        assert!(refusal.is_error(), "{refusal:?}");
        assert!(connects(second));
        assert!(!client.ask("CONFIG GET hz").to_string().contains("77"));
        // Inside a transaction, too.
        for request in ["MULTI".to_owned(), format!("CONFIG SET port {first}"), "SET moved 1".to_owned()] {
            client.ask(&request);
        }
        assert_eq!(client.ask("EXEC").to_string().matches("OK").count(), 2);
        assert!(connects(first) && !connects(second));
        assert_eq!(text(&mut client, "GET moved"), "1");
    });
}

#[test]
fn keys_move_to_another_server_in_the_middle_of_a_transaction_and_of_a_script() {
    let target = Launch::skuld(1).start();
    for_each_worker_count(|server| {
        let (mut client, mut there) = (server.connect(), target.connect());
        let port = target.address().port().to_string();
        for request in ["MSET a 1 b 2 c 3", "MULTI", "INCR a"] {
            client.ask(request);
        }
        let order = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", "a", "b", "none"];
        call(&mut client, &order);
        client.ask("EXISTS a b c");
        let ended = client.ask("EXEC");
        assert_eq!((ended.items()[1].text(), ended.items()[2].integer()), ("OK".to_owned(), Some(1)));
        assert_eq!(client.ask("EXISTS a b c").integer(), Some(1));
        assert_eq!((text(&mut there, "GET a"), text(&mut there, "GET b")), ("2".into(), "2".into()));
        assert_eq!(info(&mut client, "migrate_cached_sockets"), "1");
        let script = "redis.call('incr', 'c') \
                      return redis.call('migrate', '127.0.0.1', ARGV[1], 'c', 0, 5000, 'replace')";
        assert_eq!(call(&mut client, &["EVAL", script, "0", &port]).text(), "OK");
        assert_eq!(client.ask("EXISTS c").integer(), Some(0));
        assert_eq!(text(&mut there, "GET c"), "4");
        there.ask("FLUSHALL");
    });
}

#[test]
fn a_command_whose_wait_ends_is_logged_without_the_wait() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        client.ask("CONFIG SET commandlog-execution-slower-than 0");
        client.ask("BLPOP nothing 0.1");
        client.ask("WAIT 1 100");
        let logged = client.ask("SLOWLOG GET 2");
        for (entry, name) in logged.items().iter().zip(["WAIT", "BLPOP"]) {
            assert_eq!(entry.items()[3].items()[0].text(), name);
            let micros = entry.items()[2].integer().expect("a time");
            assert!(micros < 90_000, "{name} took {micros} us");
        }
    });
}

#[test]
fn room_for_requests_is_kept_while_it_is_of_use() {
    let server = Launch::skuld(2).start();
    let (mut admin, mut client) = (server.connect(), server.connect());
    client.ask("CLIENT SETNAME one");
    let room = |admin: &mut Client| -> usize {
        let list = text(admin, "CLIENT LIST");
        let line = list.lines().find(|line| line.contains("name=one ")).expect("connected").to_owned();
        let field = |name: &str| {
            let word = line.split(' ').find_map(|word| word.strip_prefix(name)).expect("a field");
            word.parse::<usize>().expect("a number")
        };
        field("qbuf=") + field("qbuf-free=")
    };
    assert_eq!(room(&mut admin), 0, "small requests need no room of their own");
    client.ask(&format!("SET x {}", "A".repeat(400_000)));
    wait_until("the room of a long request is shown", || room(&mut admin) >= 400_000);
    client.ask("SET x short");
    wait_until("a short request gives it back", || room(&mut admin) < 32_768);
    client.send_raw(b"*3\r\n$3\r\nset\r\n$2\r\na");
    wait_until("what is to come has room", || (16_384..32_768).contains(&room(&mut admin)));
    wait_until("an idle client gives it back", || room(&mut admin) < 4096);
}

#[test]
fn slow_and_large_commands_are_logged_from_every_shard() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        client.ask("CONFIG SET commandlog-execution-slower-than 0 commandlog-reply-larger-than 1000");
        client.ask("COMMANDLOG RESET slow");
        for key in 0..20 {
            client.ask(&format!("SET key:{key} {}", "x".repeat(300)));
        }
        client.ask("SET large y");
        client.ask(&format!("SETRANGE large 2000 {}", "z".repeat(200)));
        client.ask("GET large");
        let logged = client.ask("COMMANDLOG LEN slow").integer();
        assert_eq!(logged, Some(24), "20 SETs, SET, SETRANGE, GET, and the reset itself");
        assert_eq!(client.ask("COMMANDLOG LEN large-reply").integer(), Some(1));
        let newest = client.ask("SLOWLOG GET 30").to_string();
        assert!(
            newest.contains("... (172 more bytes)") && newest.contains("... (72 more bytes)"),
            "{newest}"
        );
    });
}

#[test]
fn counters_add_up_over_shards_and_can_be_reset() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        for key in 0..50 {
            client.ask(&format!("SET key:{key} v"));
        }
        client.ask("NOSUCH");
        client.ask("LLEN key:1");
        let sets = info(&mut client, "cmdstat_set");
        assert!(
            sets.starts_with("calls=50,") && sets.ends_with(",rejected_calls=0,failed_calls=0"),
            "{sets}"
        );
        assert!(info(&mut client, "latency_percentiles_usec_set").starts_with("p50="));
        assert_eq!(info(&mut client, "errorstat_ERR"), "count=1");
        assert_eq!(info(&mut client, "errorstat_WRONGTYPE"), "count=1");
        assert_eq!(info(&mut client, "db0"), "keys=50,expires=0,avg_ttl=0,keys_with_volatile_items=0");
        assert_eq!(text(&mut client, "CONFIG RESETSTAT"), "OK");
        let all = text(&mut client, "INFO everything");
        assert!(!all.contains("cmdstat_set:") && !all.contains("errorstat_"), "{all}");
        assert!(all.contains("total_error_replies:0\r\n"));
    });
}

#[test]
fn clients_are_found_and_ended_by_their_properties() {
    for_each_worker_count(|server| {
        let mut admin = server.connect();
        let mut victims: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        for (number, victim) in victims.iter_mut().enumerate() {
            victim.ask(&format!("CLIENT SETNAME victim-{}", number % 2));
            victim.ask(&format!("SELECT {number}"));
        }
        let count =
            |admin: &mut Client, filter: &str| text(admin, &format!("CLIENT LIST {filter}")).lines().count();
        assert_eq!(count(&mut admin, "NAME victim-0"), 2);
        assert_eq!(count(&mut admin, "NAME victim-0 NOT-DB 0"), 1);
        assert_eq!(count(&mut admin, "NOT-NAME victim-0 SKIPME yes"), 1);
        assert_eq!(count(&mut admin, "TYPE normal"), 4);
        let line = text(&mut admin, "CLIENT LIST DB 2");
        assert!(line.contains(" name=victim-0 ") && line.contains(" cmd=select "), "{line}");
        assert_eq!(admin.ask("CLIENT KILL NAME victim-0").integer(), Some(2));
        assert!(victims[0].read_frame().is_err() && victims[2].read_frame().is_err());
        assert_eq!(text(&mut victims[1], "PING"), "PONG");
        wait_until("the dead are gone", || info(&mut admin, "connected_clients") == "2");
        // One's own connection is spared unless it is asked for, and then answers first.
        assert_eq!(admin.ask("CLIENT KILL TYPE normal SKIPME no").integer(), Some(2));
        assert!(admin.read_frame().is_err());
    });
}

#[test]
fn signatures_of_the_data_do_not_depend_on_the_number_of_workers() {
    let digests: Vec<String> = [1, 2, 4]
        .map(|workers| {
            let server = Launch::skuld(workers).option("enable-debug-command", "yes").start();
            let mut client = server.connect();
            client.ask("DEBUG POPULATE 100");
            client.ask("SELECT 3");
            client.ask("MSET a 1 b 2 c 3");
            assert_eq!(client.ask("DEBUG OBJECT nokey").to_string(), "-ERR no such key");
            assert!(text(&mut client, "DEBUG OBJECT a").starts_with("Value at:0x"));
            text(&mut client, "DEBUG DIGEST")
        })
        .to_vec();
    assert_eq!(digests[0].len(), 40);
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn debug_is_gated() {
    let closed = Launch::skuld(1).option("enable-debug-command", "no").start();
    let refusal = closed.connect().ask("DEBUG HELP").to_string();
    assert!(refusal.starts_with("-ERR DEBUG command not allowed."), "{refusal}");
    let local = Launch::skuld(1).option("enable-debug-command", "local").start();
    assert_eq!(text(&mut local.connect(), "DEBUG SET-ACTIVE-EXPIRE 1"), "OK");
}

#[test]
fn memory_is_accounted_for() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        let before: u64 = info(&mut client, "used_memory").parse().expect("a number");
        client.ask("DEBUG POPULATE 20000 key 500");
        let after: u64 = info(&mut client, "used_memory").parse().expect("a number");
        assert!(after > before + 20_000 * 500, "{before} {after}");
        let usage = client.ask("MEMORY USAGE key:7").integer().expect("bytes");
        assert!((500..700).contains(&usage), "{usage}");
        assert!(text(&mut client, "MEMORY DOCTOR").len() > 10);
        assert_eq!(text(&mut client, "MEMORY PURGE"), "OK");
    });
}

#[test]
fn a_password_that_is_taken_away_lets_strangers_in() {
    for_each_worker_count(|server| {
        let mut admin = server.connect();
        assert_eq!(text(&mut admin, "CONFIG SET requirepass secret"), "OK");
        let mut stranger = server.connect();
        assert_eq!(stranger.ask("GET").to_string(), "-NOAUTH Authentication required.");
        admin
            .call(&[b"CONFIG".to_vec(), b"SET".to_vec(), b"requirepass".to_vec(), Vec::new()])
            .expect("a reply");
        assert_eq!(text(&mut stranger, "PING"), "PONG");
    });
}

#[test]
fn a_shutdown_that_cannot_save_is_refused() {
    let mut server = Launch::skuld(2).start();
    let mut client = server.connect();
    // A directory of that name cannot be replaced by the file.
    let dir = client.ask("CONFIG GET dir").items()[1].text();
    std::fs::create_dir(std::path::Path::new(&dir).join("dump.rdb")).expect("a directory");
    assert_eq!(client.ask("SHUTDOWN SAVE").to_string(), "-ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(text(&mut client, "PING"), "PONG");
    client.send(&words("SHUTDOWN SAVE FORCE"));
    assert!(server.wait_for_exit().success());
}

#[test]
fn replies_beyond_the_output_limit_are_not_sent_at_all() {
    for_each_worker_count(|server| {
        let mut admin = server.connect();
        let mut reader = server.connect();
        let value = "x".repeat(10_000);
        assert_eq!(text(&mut admin, &format!("SET k {value}")), "OK");
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"];
        assert_eq!(call(&mut admin, &limit).text(), "OK");
        // What every client has a buffer for does not count.
        assert_eq!(reader.ask("GET k").text().len(), 10_000);
        // A pipeline's replies count together.
        let pipeline: Vec<_> = (0..20).map(|_| words("GET k")).collect();
        reader.send_raw(
            &pipeline.iter().flat_map(|request| support::client::encode(request)).collect::<Vec<_>>(),
        );
        assert_eq!(reader.read_to_close(), Ok(Vec::new()));
        assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), "1");
        // Nobody makes a reply of gigabytes that is not sent.
        for request in ["HSET h a b", "SADD s a", "SADD t 1", "ZADD z 1 a"] {
            admin.ask(request);
        }
        for request in ["HRANDFIELD h", "SRANDMEMBER s", "SRANDMEMBER t", "ZRANDMEMBER z"] {
            let mut reader = server.connect();
            reader.send(&words(&format!("{request} -999999999999")));
            assert_eq!(reader.read_to_close(), Ok(Vec::new()), "{request}");
        }
        assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), "5");
        assert!(server.log().contains("scheduled to be closed ASAP for overcoming of output buffer limits."));
    });
}

#[test]
fn clients_that_do_not_read_go_before_keys_do() {
    for workers in [1, 2] {
        let server = Launch::skuld(workers)
            .option("maxmemory", "70mb")
            .option("maxmemory-policy", "allkeys-lru")
            .option("maxmemory-clients", "3mb")
            .start();
        let mut admin = server.connect();
        admin.ask("CLIENT NO-EVICT on");
        for key in 0..50 {
            admin.ask(&format!("SETRANGE {key} 100000 x"));
        }
        // Ten megabytes of replies in one pipeline, which count while it is being run.
        let pipeline = support::client::encode(&words("MGET 1")).repeat(100);
        let mut readers: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        readers.iter_mut().for_each(|reader| reader.send_raw(&pipeline));
        wait_until("clients are evicted", || info(&mut admin, "evicted_clients") != "0");
        wait_until("the others are served", || {
            info(&mut admin, "mem_clients_normal").parse::<u64>().is_ok_and(|n| n < 3 << 20)
        });
        assert_eq!(
            (info(&mut admin, "evicted_keys").as_str(), admin.ask("DBSIZE").integer()),
            ("0", Some(50))
        );
    }
}

#[test]
fn of_clients_that_take_the_same_as_many_go_as_must() {
    const MB: usize = 1 << 20;
    let server = Launch::skuld(2).start();
    let mut admin = server.connect();
    admin.ask("CLIENT SETNAME control");
    admin.ask("CLIENT NO-EVICT on");
    let taken = |admin: &mut Client, name: &str| -> Vec<usize> {
        let list = text(admin, "CLIENT LIST");
        let lines = list.lines().filter(|line| line.contains(&format!(" name={name} ")));
        let field = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("tot-mem=")?.parse().ok());
        lines.map(|line| field(line).expect("a number")).collect()
    };
    let clients: Vec<Client> = (0..6)
        .map(|n| {
            let mut client = server.connect();
            client.ask(&format!("CLIENT SETNAME size{}", n / 3));
            client
                .send_raw(format!("*2\r\n${0}\r\n{1}", MB << (n / 3), "v".repeat(MB << (n / 3))).as_bytes());
            client
        })
        .collect();
    for (name, bytes) in [("size0", MB), ("size1", 2 * MB)] {
        wait_until("what they sent has arrived", || taken(&mut admin, name).iter().all(|n| *n >= bytes));
    }
    // Exactly what the small ones and this connection take is allowed.
    let small: usize = taken(&mut admin, "size0").iter().sum();
    let limit = small + taken(&mut admin, "control")[0];
    admin.ask(&format!("CONFIG SET maxmemory-clients {limit}"));
    assert_eq!((taken(&mut admin, "size0").len(), taken(&mut admin, "size1").len()), (3, 0));
    drop(clients);
}

#[test]
fn a_request_of_many_arguments_leaves_nothing_behind() {
    let server = Launch::skuld(2).start();
    let mut client = server.connect();
    let used = |client: &mut Client| info(client, "used_memory").parse::<u64>().expect("a number");
    let before = used(&mut client);
    let members: Vec<String> = (0..100_000).map(|n: u32| n.to_string()).collect();
    client.ask(&format!("SADD s {}", members.join(" ")));
    client.ask("UNLINK s");
    wait_until("its memory is free", || used(&mut client) < 2 * before);
}

#[test]
fn invented_error_codes_are_counted_together_once_there_are_many() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        for number in 0..200 {
            let script = "return server.error_reply(ARGV[1])";
            call(&mut client, &["EVAL", script, "0", &format!("E{number} x")]);
        }
        assert_eq!(info(&mut client, "errorstat_ERRORSTATS_OVERFLOW"), "count=72");
        client.ask("SET a");
        assert_eq!(info(&mut client, "errorstat_ERR"), "count=1");
    });
}

#[test]
fn commands_inside_others_are_logged_and_secrets_in_them_are_not() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        client.ask("CONFIG SET slowlog-log-slower-than 0");
        let newest = |client: &mut Client| -> Vec<String> {
            let entries = client.ask("SLOWLOG GET 4");
            let line = |entry: &Value| {
                entry.items()[3].items().iter().map(Value::text).collect::<Vec<_>>().join(" ")
            };
            entries.items().iter().map(line).collect()
        };
        call(&mut client, &["EVAL", "return redis.call('get', KEYS[1])", "1", "k"]);
        assert!(newest(&mut client).iter().any(|words| words.contains("get") && !words.contains("EVAL")));
        for request in ["MULTI", "SET a 1", "EXEC"] {
            client.ask(request);
        }
        assert!(newest(&mut client).iter().any(|words| words.contains("SET")));
        client.ask("MIGRATE 127.0.0.1 1 k 0 10 AUTH2 someone hunter2");
        client.ask("ACL SETUSER someone >hunter2");
        let seen = newest(&mut client).concat();
        assert!(seen.contains("MIGRATE") && seen.contains("(redacted)"), "{seen}");
        assert!(!seen.contains("hunter2") && !seen.contains("someone"), "{seen}");
    });
}

#[test]
fn a_few_keys_take_little_memory_and_flushing_gives_it_back() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        let used = |client: &mut Client| info(client, "used_memory").parse::<i64>().expect("a number");
        client.ask("FLUSHALL SYNC");
        used(&mut client);
        let empty = used(&mut client);
        client.ask("SET k v");
        let one = used(&mut client) - empty;
        assert!(one < 64 * 1024, "{one} bytes for one key");
        client.ask("DEBUG POPULATE 50000 key 100");
        client.ask("FLUSHALL SYNC");
        wait_until("the memory is given back", || used(&mut client) - empty < 256 * 1024);
    });
}

#[test]
fn debug_works_inside_transactions_and_scripts_that_are_allowed_to_call_it() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        let outside = ["DEBUG DIGEST", "DEBUG DIGEST-VALUE a b", "DEBUG LISTPACK h"];
        for request in ["SET a 1", "SET b text", "HSET h f v", "RPUSH l 1", "MSET c 1 d 2 e 3"] {
            client.ask(request);
        }
        let expected: Vec<String> = outside.iter().map(|request| client.ask(request).to_string()).collect();
        client.ask("MULTI");
        for request in
            outside.iter().chain(&["DEBUG OBJECT a", "DEBUG OBJECT none", "DEBUG SLEEP 0.01", "DEBUG RELOAD"])
        {
            assert_eq!(text(&mut client, request), "QUEUED");
        }
        for request in ["DEBUG POPULATE 50 p", "DBSIZE", "DEBUG HTSTATS 0"] {
            client.ask(request);
        }
        let replies = client.ask("EXEC");
        for (reply, expected) in replies.items().iter().zip(&expected) {
            assert_eq!(&reply.to_string(), expected);
        }
        let rest: Vec<String> =
            replies.items().iter().skip(expected.len()).map(ToString::to_string).collect();
        assert!(rest[0].contains("encoding:int"), "{rest:?}");
        assert!(rest[1].contains("no such key"), "{rest:?}");
        assert!(rest[5].contains("57"), "{rest:?}");
        assert!(rest[6].contains("number of entries: 57"), "{rest:?}");
        let script = "EVAL return(redis.pcall('debug','digest-value','a')) 0";
        assert!(client.ask(script).to_string().contains("not allowed from script"));
        client.ask("DEBUG SET-DISABLE-DENY-SCRIPTS 1");
        assert_eq!(client.ask(script).to_string(), client.ask("DEBUG DIGEST-VALUE a").to_string());
    });
}

#[test]
fn saving_and_rewriting_asked_for_in_a_transaction_happen_when_it_is_over() {
    for_each_worker_count(|server| {
        let mut client = server.connect();
        client.ask("SET a 1");
        client.ask("MULTI");
        for request in ["BGSAVE", "BGREWRITEAOF", "CONFIG SET appendonly yes"] {
            client.ask(request);
        }
        let replies: Vec<String> = client.ask("EXEC").items().iter().map(|reply| reply.text()).collect();
        let expected =
            ["Background saving scheduled", "Background append only file rewriting scheduled", "OK"];
        assert_eq!(replies, expected);
        wait_until("both jobs have begun", || {
            info(&mut client, "total_forks").parse::<u32>().expect("a number") >= 2
        });
        wait_until("a snapshot was saved", || {
            let changes = info(&mut client, "rdb_changes_since_last_save");
            changes == "0" && info(&mut client, "rdb_bgsave_in_progress") == "0"
        });
        wait_until("commands are appended", || {
            info(&mut client, "aof_enabled") == "1" && info(&mut client, "aof_rewrite_in_progress") == "0"
        });
    });
}
