//! Access control lists: replies and errors of every ACL command, and decisions over random rules and requests, compared
//! with the reference server; what a change means to connected clients.

mod support;

use std::collections::BTreeMap;

use support::client::{Client, NoReply, encode};
use support::resp::Value;
use support::rng::Rng;
use support::server::{Launch, Server, TempDir, reference_binary};
use support::text::words;

/// Plays `client: command` lines and returns the raw replies. What differs between two servers of the same kind (ids,
/// addresses, times, random passwords) is cut out of them.
fn play(server: &Server, script: &str) -> Vec<String> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut transcript = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, command) = line.split_once(": ").expect("a line names its client");
        let client = clients.entry(who.to_owned()).or_insert_with(|| server.connect());
        client.send_raw(&encode(&words(command)));
        let reply = match client.read_frame() {
            Ok(frame) => settled(&String::from_utf8_lossy(&frame.raw)),
            Err(NoReply::Closed(rest)) => format!("<closed after {:?}>", String::from_utf8_lossy(&rest)),
            Err(none) => panic!("{line}: {none}"),
        };
        transcript.push(format!("{line} -> {reply}"));
    }
    transcript
}

/// A reply without what is different every time.
fn settled(raw: &str) -> String {
    let lines: Vec<&str> = raw.split("\r\n").collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        match line {
            "age-seconds" => {
                out.push(line.to_owned());
                // A bulk string or a double follows.
                at += if lines[at + 1].starts_with('$') { 3 } else { 2 };
                continue;
            }
            "timestamp-created" | "timestamp-last-updated" | "id" => {
                out.push(line.to_owned());
                at += 2;
                continue;
            }
            "client-info" => {
                out.push(line.to_owned());
                let info = lines[at + 2];
                let wanted = ["name=", "db=", "resp=", "user=", "cmd="];
                let kept: Vec<&str> =
                    info.split(' ').filter(|field| wanted.iter().any(|w| field.starts_with(w))).collect();
                out.push(kept.join(" "));
                at += 3;
                continue;
            }
            _ => out.push(line.to_owned()),
        }
        at += 1;
    }
    out.join("|")
}

fn compare(script: &str) {
    let Some(binary) = reference_binary("access control lists") else { return };
    let theirs = play(&Launch::reference(&binary).start(), script);
    for workers in [1, 3] {
        let ours = play(&Launch::skuld(workers).start(), script);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}

const USERS: &str = r#"
    a: ACL LIST
    a: ACL WHOAMI
    a: ACL USERS
    a: ACL GETUSER default
    a: ACL GETUSER nosuch
    a: ACL SETUSER u
    a: ACL LIST
    a: ACL GETUSER u
    a: ACL SETUSER u on nopass ~a* %R~b* %W~c* %RW~d* &x +get "(~z +set db=4)" skip-sanitize-payload
    a: ACL GETUSER u
    a: ACL SETUSER u db=3,1,1
    a: ACL GETUSER u
    a: ACL SETUSER u resetdbs
    a: ACL GETUSER u
    a: ACL SETUSER u alldbs (+get ~q ) clearselectors (+get)
    a: ACL LIST
    a: ACL SETUSER u (+get
    a: ACL SETUSER u () (+set
    a: ACL SETUSER u (zork)
    a: ACL SETUSER u +foo
    a: ACL SETUSER u +config|get|x
    a: ACL SETUSER u +get|
    a: ACL SETUSER u allkeys ~foo
    a: ACL SETUSER u allchannels &foo
    a: ACL SETUSER u #abc
    a: ACL SETUSER u !aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    a: ACL SETUSER u <abc
    a: ACL SETUSER u >abc >abc >def
    a: ACL SETUSER u <abc
    a: ACL GETUSER u
    a: ACL SETUSER u db=99999999999
    a: ACL SETUSER u db=x
    a: ACL SETUSER "a b" on
    a: ACL SETUSER "" on
    a: ACL SETUSER
    a: ACL LIST
    a: ACL DELUSER ""
    a: ACL DELUSER default
    a: ACL DELUSER u nosuch
    a: ACL DELUSER
    a: ACL CAT
    a: ACL CAT foo
    a: ACL CAT @read
    a: ACL CAT a b
    a: ACL GENPASS x
    a: ACL GENPASS 0
    a: ACL GENPASS 4097
    a: ACL GENPASS 1 2
    a: ACL LOG x
    a: ACL LOG -1
    a: ACL LOG 1 2
    a: ACL LOG RESET
    a: ACL LOAD
    a: ACL SAVE
    a: ACL FOO
    a: ACL
    a: ACL DRYRUN nosuch get
    a: ACL DRYRUN default nosuch
    a: ACL DRYRUN default get
    a: ACL DRYRUN default config nosuch
    a: ACL DRYRUN default get x
    a: CONFIG GET acl*
    a: CONFIG SET acl-pubsub-default allchannels
    a: ACL SETUSER v
    a: ACL LIST
"#;

#[test]
fn users_are_shown_and_changed_as_in_the_reference() {
    compare(USERS);
    let in_resp3 = format!("a: HELLO 3\n{USERS}");
    compare(&in_resp3);
}

#[test]
fn refusals_are_those_of_the_reference() {
    compare(
        r#"
        a: ACL SETUSER u on >p ~k* +@all -@dangerous db=0,1 &c*
        u: AUTH u wrong
        u: AUTH nosuch p
        u: HELLO 3 AUTH u wrong
        u: HELLO 2 AUTH u p SETNAME me
        u: ACL WHOAMI
        u: GET x
        u: GET k
        u: MGET k x
        u: FLUSHALL
        u: SELECT 1
        u: GET k
        u: SELECT 2
        u: PUBLISH d x
        u: PUBLISH c x
        u: KEYS *
        u: CONFIG GET port
        u: NOSUCH
        u: GET
        u: MULTI
        u: GET k
        u: GET x
        u: EXEC
        u: MULTI
        u: SELECT 0
        u: GET k
        u: SET k v
        u: PUBLISH c m
        a: ACL SETUSER u -get resetkeys ~y resetchannels
        u: EXEC
        u: GET y
        u: EXEC
        a: ACL LOG
        a: ACL LOG 1
        a: ACL SETUSER u +@all -exec -multi -auth -hello -reset -quit
        u: MULTI
        u: EXEC
        u: HELLO
        a: ACL SETUSER u +@all %R~a* %W~w*
        u: SORT a BY w*
        u: SORT a BY nosort
        u: SORT a GET #
        u: SORT_RO a GET x*
        u: COPY a w
        u: SET w 1 GET
        u: EXISTS w
        u: EVAL "return redis.call('get', KEYS[1])" 1 w
        u: EVAL "return redis.call('get', 'w')" 0
        u: EVAL "return redis.pcall('get', 'w')" 0
        u: EVAL "return {redis.acl_check_cmd('get', 'w'), redis.acl_check_cmd('get', 'a'), redis.acl_check_cmd('set', 'w', 1)}" 0
        u: AUTH u p
        u: RESET
        u: ACL WHOAMI
        a: ACL LOG RESET
        a: ACL LOG
        "#,
    );
}

#[test]
fn the_default_user_decides_about_strangers() {
    compare(
        r#"
        a: AUTH x
        a: AUTH default x
        a: AUTH a b c
        a: ACL SETUSER default >foo
        b: PING
        b: NOSUCH
        b: GET
        b: AUTH bar
        b: AUTH foo
        b: PING
        a: CONFIG GET requirepass
        a: CONFIG SET requirepass zap
        a: ACL LIST
        c: AUTH foo
        c: AUTH zap
        a: CONFIG SET requirepass ""
        a: ACL LIST
        a: ACL SETUSER default off
        d: PING
        d: AUTH x
        d: AUTH default x
        d: HELLO
        a: PING
        a: ACL SETUSER default on -@all +ping +acl
        e: PING
        e: GET x
        e: ACL LIST
        e: SELECT 1
        "#,
    );
}

#[test]
fn clients_end_with_their_users_and_with_lost_channels() {
    compare(
        r#"
        a: ACL SETUSER u on nopass +@all ~* &a &b*
        u: AUTH u x
        v: AUTH u x
        w: AUTH u x
        u: SUBSCRIBE a
        v: PSUBSCRIBE b*
        a: ACL SETUSER u &c
        u: PING
        v: PING
        a: ACL SETUSER u resetchannels &a
        v: PING
        u: PING
        w: GET x
        a: ACL SETUSER u allchannels
        a: ACL SETUSER u resetchannels
        u: PING
        w: GET x
        a: CLIENT LIST USER nosuch
        a: ACL SETUSER u off
        w: GET x
        a: ACL DELUSER u
        w: GET x
        x: ACL SETUSER me on nopass +@all
        x: AUTH me x
        x: ACL DELUSER me
        x: PING
        "#,
    );
}

/// A user file as both servers load, save and refuse it.
#[test]
fn acl_files_are_loaded_and_saved_as_in_the_reference() {
    let Some(binary) = reference_binary("ACL files") else { return };
    let run = |launch: Launch| {
        let dir = TempDir::new();
        let path = dir.path().join("users.acl");
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        write("user alice on nopass ~* +@all\nuser bob on nopass +@all\n");
        let server = launch.option("aclfile", &path.display().to_string()).start();
        let (mut admin, mut bob) = (server.connect(), server.connect());
        let mut seen = Vec::new();
        let mut ask = |client: &mut Client, line: &str| {
            let reply = match client.call(&words(line)) {
                Ok(frame) => String::from_utf8_lossy(&frame.raw).into_owned(),
                Err(none) => none.to_string(),
            };
            seen.push(format!("{line}: {}", reply.replace(&path.display().to_string(), "FILE")));
        };
        ask(&mut admin, "ACL LIST");
        ask(&mut bob, "AUTH bob x");
        ask(&mut admin, "ACL SETUSER carl on >x (+get ~k)");
        ask(&mut admin, "ACL SAVE");
        let saved = std::fs::read_to_string(&path).expect("there");
        write(
            "user alice on nopass ~* +@all\n\n  user carl off (+get ~a) (+set ~b)\nuser alice on\nfoo bar\nuser x y +foo \
             +bar z\nuser x2 +foo z\nuser\n# c\nuser y  on   +get\n",
        );
        ask(&mut admin, "ACL LOAD");
        ask(&mut admin, "ACL USERS");
        ask(&mut bob, "ACL WHOAMI");
        write("user alice on nopass ~* +@all\n");
        ask(&mut admin, "ACL LOAD");
        ask(&mut admin, "ACL LIST");
        ask(&mut bob, "ACL WHOAMI");
        std::fs::remove_file(&path).expect("removed");
        ask(&mut admin, "ACL LOAD");
        seen.push(saved);
        seen
    };
    let theirs = run(Launch::reference(&binary));
    for workers in [1, 3] {
        assert_eq!(run(Launch::skuld(workers)), theirs);
    }
}

#[test]
fn users_of_the_configuration_are_rewritten() {
    let text = "user alice on nopass ~k* +@read\nuser default on nopass ~* &* +@all\n";
    let server = Launch::skuld(1).config(text).start();
    let path = server.dir().join("server.conf");
    let mut client = server.connect();
    client.ask("ACL SETUSER bob on >x db=2");
    assert_eq!(client.ask("CONFIG REWRITE").text(), "OK");
    let text = std::fs::read_to_string(&path).expect("there");
    assert!(text.contains("user alice on nopass ~k* resetchannels -@all +@read\n"), "{text}");
    assert!(text.contains("user bob on #2d7116"), "{text}");
    assert!(text.contains(" db=2 -@all\n"), "{text}");
}

/// Random users and requests: ACL DRYRUN answers the same on both, and a user made again from ACL LIST is the same.
#[test]
fn decisions_are_those_of_the_reference() {
    let Some(binary) = reference_binary("ACL decisions") else { return };
    let seed = std::env::var("SKULD_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    let rounds = std::env::var("SKULD_ACL_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(150);
    println!("SKULD_SEED={seed} SKULD_ACL_ROUNDS={rounds}");
    let (reference, subject) = (Launch::reference(&binary).start(), Launch::skuld(1).start());
    let (mut theirs, mut ours) = (reference.connect(), subject.connect());
    let mut rng = Rng::new(seed);
    let names = commands(&mut theirs, &mut ours);
    let mut decisions = 0;
    for _ in 0..rounds {
        let db = rng.below(4).to_string();
        for client in [&mut theirs, &mut ours] {
            client.ask(&format!("SELECT {db}"));
        }
        let mut rules: Vec<String> = vec!["ACL".into(), "SETUSER".into(), "u".into()];
        if rng.one_in(3) {
            rules.push("reset".into());
        }
        rules.extend((0..1 + rng.below(6)).map(|_| rule(&mut rng, &names, true)));
        same(&mut theirs, &mut ours, &rules);
        for line in [["ACL", "LIST"].as_slice(), &["ACL", "GETUSER", "u"]] {
            same(&mut theirs, &mut ours, &line.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        }
        round_trip(&mut ours);
        if !ours.ask("ACL GETUSER u").items().is_empty() {
            for _ in 0..12 {
                let mut request: Vec<String> = vec!["ACL".into(), "DRYRUN".into(), "u".into()];
                request.extend(random_request(&mut rng, &names));
                same(&mut theirs, &mut ours, &request);
                decisions += 1;
            }
        }
    }
    println!("{decisions} decisions");
    assert!(decisions > rounds);
}

/// What ACL LIST says of the user makes the same user again.
fn round_trip(client: &mut Client) {
    let list = client.ask("ACL LIST");
    let line =
        list.items().iter().map(Value::text).find(|line| line.starts_with("user u ")).unwrap_or_default();
    if line.is_empty() {
        return;
    }
    let rules: Vec<&str> = line.split(' ').skip(2).collect();
    let mut command: Vec<Vec<u8>> =
        ["ACL", "SETUSER", "again"].iter().map(|w| w.as_bytes().to_vec()).collect();
    command.extend(rules.iter().map(|rule| rule.as_bytes().to_vec()));
    client.ask("ACL DELUSER again");
    let reply = client.call(&command).expect("a reply");
    assert_eq!(reply.raw, b"+OK\r\n", "{line}");
    let list = client.ask("ACL LIST");
    let again = list.items().iter().map(Value::text).find(|line| line.starts_with("user again "));
    assert_eq!(again.unwrap_or_default()["user again ".len()..], line["user u ".len()..]);
    client.ask("ACL DELUSER again");
}

fn same(theirs: &mut Client, ours: &mut Client, command: &[String]) {
    let words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
    let expected = theirs.call(&words).unwrap_or_else(|none| panic!("reference: {command:?}: {none}"));
    let found = ours.call(&words).unwrap_or_else(|none| panic!("skuld: {command:?}: {none}"));
    assert_eq!(
        String::from_utf8_lossy(&found.raw),
        String::from_utf8_lossy(&expected.raw),
        "skuld is left: {command:?}"
    );
}

/// Names and arities of the commands that both servers list, subcommands included.
fn commands(theirs: &mut Client, ours: &mut Client) -> Vec<(String, i64)> {
    let list = |client: &mut Client| {
        let mut all = BTreeMap::new();
        for row in client.ask("COMMAND").items() {
            let subcommands = row.items()[9].items();
            if subcommands.is_empty() {
                all.insert(row.items()[0].text(), row.items()[1].integer().expect("an arity"));
            }
            for sub in subcommands {
                all.insert(sub.items()[0].text(), sub.items()[1].integer().expect("an arity"));
            }
        }
        all
    };
    let ours = list(ours);
    // Without sources PFMERGE is asked for the right to its target only here: see docs/compatibility.md.
    list(theirs).into_iter().filter(|(name, _)| ours.contains_key(name) && name != "pfmerge").collect()
}

const CATEGORIES: [&str; 24] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "all",
    "READ",
    "nosuch",
];

fn rule(rng: &mut Rng, names: &[(String, i64)], with_selectors: bool) -> String {
    let sign = if rng.one_in(3) { "-" } else { "+" };
    match rng.below(16) {
        0..4 => format!("{sign}{}", rng.pick(names).0),
        4..6 => format!("{sign}@{}", rng.pick(&CATEGORIES)),
        6 => format!("+{}|{}", rng.pick(names).0, rng.pick(&["0", "1", "get", "KEY"])),
        7 => (*rng.pick(&[
            "allkeys",
            "resetkeys",
            "~*",
            "allcommands",
            "nocommands",
            "resetchannels",
            "allchannels",
        ]))
        .to_owned(),
        8..10 => {
            let kind = rng.pick(&["~", "~", "%R~", "%W~", "%RW~", "%r~", "%", "%X~"]);
            format!("{kind}{}", rng.pick(&["k*", "*", "a", "k[1-3]", "?1", "", "1*"]))
        }
        10 => format!("&{}", rng.pick(&["k*", "*", "1", "a?", ""])),
        11..13 => {
            (*rng.pick(&["db=0", "db=0,1", "db=3,2", "alldbs", "resetdbs", "db=x", "db=77"])).to_owned()
        }
        13 => (*rng.pick(&["on", "off", "nopass", "resetpass", ">p", "<p", "clearselectors", "zork", ""]))
            .to_owned(),
        _ if with_selectors => {
            let inner: Vec<String> = (0..1 + rng.below(4)).map(|_| rule(rng, names, false)).collect();
            format!("({})", inner.join(" "))
        }
        _ => "+@all".to_owned(),
    }
}

fn random_request(rng: &mut Rng, names: &[(String, i64)]) -> Vec<String> {
    const WORDS: [&str; 16] = [
        "k1", "k2", "a", "1", "0", "2", "3", "k7", "STORE", "GET", "DB", "KEYS", "STREAMS", "99", "x",
        "REPLACE",
    ];
    let (name, arity) = rng.pick(names);
    let mut words: Vec<String> = name.split('|').map(str::to_owned).collect();
    let least = arity.unsigned_abs() as usize;
    let wanted = if *arity > 0 { least } else { least + rng.below(5) };
    while words.len() < wanted {
        words.push((*rng.pick(&WORDS)).to_owned());
    }
    words
}
