//! Raw bytes in, raw bytes out: pipelines, ordering over shards, limits, slow and broken clients. Needs no reference
//! server; the expected bytes are written here.

mod support;

use std::time::Duration;

use support::client::{Client, encode};
use support::server::{Launch, Server, TempDir};
use support::text::words;

fn both_worker_counts(test: impl Fn(&Server)) {
    for workers in [1, 3] {
        test(&Launch::skuld(workers).start());
    }
}

/// Sends bytes and expects exactly these, then nothing more.
fn expect(client: &mut Client, sent: &[u8], expected: &[u8]) {
    client.send_raw(sent);
    let mut received = Vec::new();
    while received.len() < expected.len() {
        match client.read_frame() {
            Ok(frame) => received.extend_from_slice(&frame.raw),
            Err(none) => panic!("{none} after {received:?} for {:?}", String::from_utf8_lossy(sent)),
        }
    }
    assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(expected));
}

fn pipeline(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| encode(&words(line))).collect()
}

#[test]
fn inline_and_array_requests_mix() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        expect(&mut client, b"PING\r\n", b"+PONG\r\n");
        expect(&mut client, b"PING\n", b"+PONG\r\n");
        expect(&mut client, b"SET a \"x y\"\r\nGET a\r\n", b"+OK\r\n$3\r\nx y\r\n");
        expect(
            &mut client,
            b"*1\r\n$4\r\nPING\r\nECHO hi\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
            b"+PONG\r\n$2\r\nhi\r\n$3\r\nx y\r\n",
        );
        expect(&mut client, b"\r\n\r\n*0\r\n*-1\r\nPING\r\n", b"+PONG\r\n");
        assert!(client.is_silent_for(Duration::from_millis(20)));
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        for byte in encode(&words("SET slow value")) {
            client.send_raw(&[byte]);
        }
        assert_eq!(client.read_frame().expect("a reply").raw, b"+OK\r\n");
        for byte in b"GET slow\r\n" {
            client.send_raw(&[*byte]);
        }
        assert_eq!(client.read_frame().expect("a reply").raw, b"$5\r\nvalue\r\n");
    });
}

/// Replies come in the order of requests, and what they do takes effect in that order, whatever shards the keys are on.
#[test]
fn a_deep_pipeline_over_all_shards_keeps_its_order() {
    both_worker_counts(|server| {
        const KEYS: usize = 500;
        let mut client = server.connect();
        client.set_reply_timeout(Duration::from_secs(60));
        let mut lines = Vec::new();
        let mut expected = Vec::new();
        for round in 1..=20 {
            for key in 0..KEYS {
                lines.push(format!("INCR counter:{key}"));
                expected.extend_from_slice(format!(":{round}\r\n").as_bytes());
            }
            lines.push(format!("MSET counter:0 {round} counter:1 {round} counter:2 {round}"));
            expected.extend_from_slice(b"+OK\r\n");
            lines.push("MGET counter:2 counter:1 counter:0 nothing".to_owned());
            let text = round.to_string();
            let bulk = format!("${}\r\n{text}\r\n", text.len());
            expected.extend_from_slice(format!("*4\r\n{bulk}{bulk}{bulk}$-1\r\n").as_bytes());
            lines.push("DBSIZE".to_owned());
            expected.extend_from_slice(format!(":{KEYS}\r\n").as_bytes());
        }
        expect(&mut client, &pipeline(&lines), &expected);
    });
}

/// A client that writes its whole pipeline before it reads a byte must not be left waiting.
#[test]
fn unread_replies_do_not_stop_reading() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        client.set_reply_timeout(Duration::from_secs(60));
        client.ask(&format!("SET big {}", "x".repeat(100_000)));
        let count = 400;
        // 40 MB of replies against a socket buffer of a few hundred kB.
        client.send_raw(&pipeline(&vec!["GET big".to_owned(); count]));
        client.send_raw(b"PING end\r\n");
        for _ in 0..count {
            assert_eq!(client.read_frame().expect("a reply").raw.len(), 100_000 + 11);
        }
        assert_eq!(client.read_frame().expect("a reply").raw, b"$3\r\nend\r\n");
    });
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        client.send_raw(&pipeline(&["SET k v".to_owned(), "GET k".to_owned()]));
        client.shutdown_write();
        assert_eq!(client.read_to_close(), Ok(b"+OK\r\n$1\r\nv\r\n".to_vec()));
    });
}

#[test]
fn quit_answers_what_came_before_and_drops_what_comes_after() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        client.send_raw(b"SET k v\r\nQUIT\r\nSET k later\r\n");
        assert_eq!(client.read_to_close(), Ok(b"+OK\r\n+OK\r\n".to_vec()));
        assert_eq!(server.connect().ask("GET k").text(), "v");
    });
}

#[test]
fn protocol_errors_answer_and_close() {
    both_worker_counts(|server| {
        for (sent, expected) in [
            (b"*x\r\n".as_slice(), "-ERR Protocol error: invalid multibulk length\r\n"),
            (b"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
            (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
            (b"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
            (b"PING 'a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ] {
            let mut client = server.connect();
            client.send_raw(b"PING\r\n");
            client.send_raw(sent);
            let received = client.read_to_close().expect("the server closes");
            assert_eq!(String::from_utf8_lossy(&received), format!("+PONG\r\n{expected}"));
        }
        let mut client = server.connect();
        client.send_raw(&b"a".repeat(70_000));
        let received = client.read_to_close().expect("the server closes");
        assert_eq!(received, b"-ERR Protocol error: too big inline request\r\n");
        assert_eq!(server.connect().ask("PING").text(), "PONG");
    });
}

#[test]
fn strangers_may_not_send_large_requests() {
    let server = Launch::skuld(1).option("requirepass", "secret").start();
    for (sent, expected) in [
        (b"*11\r\n".as_slice(), "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*2\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut client = server.connect();
        client.send_raw(sent);
        assert_eq!(String::from_utf8_lossy(&client.read_to_close().expect("the server closes")), expected);
    }
    let mut client = server.connect();
    expect(&mut client, &encode(&words("GET k")), b"-NOAUTH Authentication required.\r\n");
    expect(&mut client, &encode(&words("AUTH secret")), b"+OK\r\n");
    expect(&mut client, &encode(&words("EXISTS 1 2 3 4 5 6 7 8 9 10 11")), b":0\r\n");
}

#[test]
fn a_request_beyond_the_query_buffer_closes() {
    let server = Launch::skuld(1).option("client-query-buffer-limit", "1mb").start();
    let mut client = server.connect();
    client.send_raw(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n");
    client.send_raw(&b"x".repeat(2_500_000));
    assert_eq!(client.read_to_close().map(|rest| rest.len()), Ok(0));
    assert_eq!(server.connect().ask("PING").text(), "PONG");
}

#[test]
fn a_reader_that_is_too_slow_is_closed() {
    let server = Launch::skuld(1).option("client-output-buffer-limit", "normal 2mb 0 0").start();
    let mut setup = server.connect();
    setup.ask(&format!("SET big {}", "x".repeat(1_000_000)));
    let mut slow = server.connect();
    slow.ask("CLIENT SETNAME slow");
    slow.send_raw(&pipeline(&vec!["GET big".to_owned(); 200]));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while setup.ask("CLIENT LIST").text().contains("name=slow") {
        assert!(std::time::Instant::now() < deadline, "the slow reader is still connected");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(setup.ask("PING").text(), "PONG");
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = Launch::skuld(1).option("maxclients", "5").start();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let mut held = Vec::new();
    // The probe of the start may still count for a moment.
    while held.len() < 5 {
        let mut client = server.connect();
        client.send(&words("PING"));
        match client.read_frame() {
            Ok(frame) if frame.raw == b"+PONG\r\n" => held.push(client),
            _ => assert!(std::time::Instant::now() < deadline, "five clients never fit"),
        }
    }
    let mut sixth = server.connect();
    assert_eq!(sixth.read_to_close(), Ok(b"-ERR max number of clients reached\r\n".to_vec()));
    assert_eq!(held[0].ask("PING").text(), "PONG");
}

#[test]
fn an_idle_client_is_closed_after_the_timeout() {
    let server = Launch::skuld(1).option("timeout", "1").start();
    let mut client = server.connect();
    client.ask("PING");
    assert_eq!(client.read_to_close(), Ok(Vec::new()));
}

#[test]
fn unix_sockets_and_ipv6_speak_the_same() {
    let dir = TempDir::new();
    let path = dir.path().join("s");
    let server = Launch::skuld(3)
        .option("unixsocket", &path.display().to_string())
        .argument("--bind")
        .argument("127.0.0.1")
        .argument("::1")
        .start();
    let mut unix = Client::connect_unix(&path).expect("the socket accepts");
    expect(&mut unix, b"SET k v\r\n", b"+OK\r\n");
    // A machine without IPv6 refuses even to make the address.
    if let Ok(mut six) = Client::connect((std::net::Ipv6Addr::LOCALHOST, server.port).into()) {
        expect(&mut six, b"GET k\r\n", b"$1\r\nv\r\n");
    }
}

#[test]
fn resp3_replies_have_their_own_shapes() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        client.ask("HELLO 3");
        expect(&mut client, b"GET nothing\r\n", b"_\r\n");
        expect(&mut client, b"CONFIG GET maxmemory\r\n", b"%1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
        client.ask("HELLO 2");
        expect(&mut client, b"GET nothing\r\n", b"$-1\r\n");
        expect(&mut client, b"CONFIG GET maxmemory\r\n", b"*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
    });
}

#[test]
fn binary_keys_and_values_of_many_sizes_come_back_whole() {
    both_worker_counts(|server| {
        let mut client = server.connect();
        let mut rng = support::rng::Rng::new(7);
        for length in
            [0, 1, 2, 43, 44, 45, 63, 64, 65, 4095, 4096, 16_383, 16_384, 65_536, 1_000_003, 5_000_000]
        {
            let (key, value) = (rng.bytes(length.min(70_000)), rng.bytes(length));
            client.send(&[b"SET".to_vec(), key.clone(), value.clone()]);
            assert_eq!(client.read_frame().expect("a reply").raw, b"+OK\r\n", "{length}");
            client.send(&[b"GET".to_vec(), key]);
            let reply = client.read_frame().expect("a reply");
            assert!(
                reply.value.bytes() == Some(value.as_slice()),
                "{length} bytes came back as {}",
                reply.raw.len()
            );
        }
    });
}

#[test]
fn killed_clients_do_nothing_more() {
    both_worker_counts(|server| {
        let mut victim = server.connect();
        let id = victim.ask("CLIENT ID").integer().expect("an id");
        let mut killer = server.connect();
        assert_eq!(killer.ask(&format!("CLIENT KILL ID {id}")).integer(), Some(1));
        assert_eq!(victim.read_to_close(), Ok(Vec::new()));
        victim.send(&words("SET from-the-dead v"));
        assert_eq!(killer.ask("EXISTS from-the-dead").integer(), Some(0));
    });
}

/// Connections that come and go in the middle of requests leave nothing behind.
#[test]
fn half_requests_and_sudden_ends_are_forgotten() {
    both_worker_counts(|server| {
        for number in 0..200 {
            let mut client = server.connect();
            client.send_raw(match number % 4 {
                0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nxx".as_slice(),
                1 => b"*100\r\n$1\r\n",
                2 => b"GET k",
                _ => b"\x00\xff\xfe*1\r\n",
            });
        }
        let mut client = server.connect();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !client.ask("INFO clients").text().contains("connected_clients:1\r\n") {
            assert!(std::time::Instant::now() < deadline, "{}", client.ask("INFO clients").text());
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(client.ask("EXISTS k").integer(), Some(0));
    });
}
