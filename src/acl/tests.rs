use super::check::Place;
use super::rules::set_user;
use super::*;
use crate::commands::table;

const PLACE: Place = Place { db: 0, databases: 16 };

fn user(rules: &str) -> User {
    let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    set_user(None, b"u", &words, Fresh::default())
        .unwrap_or_else(|error| panic!("{rules}: {}", String::from_utf8_lossy(&error)))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn ask(user: &User, place: Place, request: &str) -> Option<(Denial, usize)> {
    let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    let command = table().resolve(&args).unwrap_or_else(|e| panic!("{request}: {e:?}"));
    check(user, command, &args, place).err().map(|denied| (denied.denial, denied.position))
}

/// Recorded from Valkey 9.1.2.
#[test]
fn rules_are_normalised_as_in_valkey() {
    for (rules, line) in [
        ("+get +set -get +set", "off resetchannels -@all -get +set"),
        ("+select|0 +SELECT|FOO", "off resetchannels -@all +select|0 +select|foo"),
        ("+select|0 +select", "off resetchannels -@all +select"),
        (
            "+GET -GeT +@all -GET -@READ +config|GET -CONFIG|get +SELECT|1",
            "off resetchannels +@all -get -@read -config|get +select|1",
        ),
        (
            "+@all -config|get -config +config|set -@admin +@admin",
            "off resetchannels +@all -config +config|set +@admin",
        ),
        (
            "on nopass ~a* %R~b* %W~c* %RW~d* &x +get (~z +set db=4)",
            "on nopass ~a* %R~b* %W~c* ~d* resetchannels &x -@all +get (~z resetchannels db=4 -@all +set)",
        ),
        ("%R~x %W~x db=3,1,1", "off ~x resetchannels db=1,3 -@all"),
        ("db=1 resetdbs", "off resetchannels resetdbs -@all"),
        ("db=1 reset skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
        (">", "off #e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 resetchannels -@all"),
        ("+@all ~* &* on nopass", "on nopass ~* &* +@all"),
        ("( +get ~a ) ()", "off resetchannels -@all (~a resetchannels -@all +get) (resetchannels -@all)"),
    ] {
        let user = user(rules);
        assert_eq!(text(user.rules()), line, "{rules}");
        let again = self::user(line);
        assert_eq!(text(again.rules()), line, "again");
    }
}

#[test]
fn mistakes_have_their_texts() {
    let syntax = RuleError::Syntax;
    for (rule, error) in [
        ("+foo", RuleError::Unknown),
        ("+", RuleError::Unknown),
        ("+@", RuleError::Unknown),
        ("+a|b|c", RuleError::Unknown),
        ("+@read|x", RuleError::Unknown),
        ("-get|x", RuleError::Unknown),
        ("+acl|x", RuleError::Unknown),
        ("+config|get|x", RuleError::FirstArgOfSubcommand),
        ("+get|", syntax),
        ("%", syntax),
        ("%RWR~a", syntax),
        ("%~a", syntax),
        ("zork", syntax),
        ("db=", syntax),
        ("db=1,", syntax),
        ("db=x", syntax),
        ("db=0x1", syntax),
        ("db=-1", RuleError::DatabaseOutOfRange),
        ("db=2147483648", RuleError::DatabaseOutOfRange),
        ("<abc", RuleError::NoSuchPassword),
        ("#abc", RuleError::BadHash),
    ] {
        let mut user = User::new(b"u", Fresh::default());
        assert_eq!(user.apply(rule.as_bytes(), Fresh::default()), Err(error), "{rule}");
    }
    let error = set_user(None, b"u", &[b"(+get", b"~a"], Fresh::default()).expect_err("open");
    assert_eq!(text(error), "Unmatched parenthesis in acl selector starting at '(+get'.");
}

#[test]
fn keys_need_the_access_that_the_command_has() {
    let u = user("+@all %R~a* %W~w*");
    for (request, refused) in [
        ("GET a", None),
        ("GET w", Some((Denial::Key, 1))),
        ("SET w 1", None),
        ("SET w 1 GET", Some((Denial::Key, 1))),
        ("COPY a w", None),
        ("RENAME a w", Some((Denial::Key, 1))),
        ("EXISTS w", None),
        ("BITFIELD a GET u8 0", None),
        ("BITFIELD a SET u8 0 1", Some((Denial::Key, 1))),
        ("MGET a1 a2 x y", Some((Denial::Key, 3))),
        ("PUBLISH c x", Some((Denial::Channel, 1))),
        ("PING", None),
    ] {
        assert_eq!(ask(&u, PLACE, request), refused, "{request}");
    }
}

#[test]
fn databases_come_first() {
    let u = user("~k* db=1,2 +@all");
    let elsewhere = Place { db: 1, ..PLACE };
    for (request, refused) in [
        ("GET x", Some((Denial::Database, 0))),
        ("SELECT 0", Some((Denial::Database, 1))),
        ("SELECT 1", None),
        ("SELECT 99", None),
        ("SWAPDB 1 2", None),
        ("SWAPDB 2 0", Some((Denial::Database, 2))),
        ("MOVE k 0", Some((Denial::Database, 2))),
        ("MOVE k 1", Some((Denial::Database, 0))),
        ("FLUSHALL", Some((Denial::Database, 0))),
        ("PING", None),
        ("INFO", None),
    ] {
        assert_eq!(ask(&u, PLACE, request), refused, "{request}");
    }
    assert_eq!(ask(&u, elsewhere, "GET x"), Some((Denial::Key, 1)));
    assert_eq!(ask(&u, elsewhere, "GET k"), None);
    assert_eq!(ask(&u, elsewhere, "COPY k k2 DB 1 DB 0"), Some((Denial::Database, 6)));
    assert_eq!(ask(&u, elsewhere, "FLUSHDB"), None);
}

#[test]
fn one_selector_is_enough_and_the_weightiest_refusal_counts() {
    let u = user("+get ~k* (+set ~x) (+config|get) (+select|0)");
    for (request, refused) in [
        ("GET k", None),
        ("SET x 1", None),
        ("GET y", Some((Denial::Key, 1))),
        ("SET k 1", Some((Denial::Key, 1))),
        ("DEL k", Some((Denial::Command, 0))),
        ("CONFIG GET x", None),
        ("CONFIG SET x y", Some((Denial::Command, 0))),
        ("SELECT 0", None),
        ("SELECT 1", Some((Denial::Command, 0))),
        ("AUTH x", None),
    ] {
        assert_eq!(ask(&u, PLACE, request), refused, "{request}");
    }
}

#[test]
fn patterns_of_channels_are_taken_literally() {
    let u = user("+@all &ch* &p[ab]");
    for (request, refused) in [
        ("SUBSCRIBE chx pa", None),
        ("SUBSCRIBE chx pc", Some((Denial::Channel, 2))),
        ("PSUBSCRIBE ch*", None),
        ("PSUBSCRIBE cha", Some((Denial::Channel, 1))),
        ("UNSUBSCRIBE z", None),
        ("PUBLISH pa x", None),
        ("SPUBLISH z x", Some((Denial::Channel, 1))),
    ] {
        assert_eq!(ask(&u, PLACE, request), refused, "{request}");
    }
}

#[test]
fn files_are_loaded_whole_or_not_at_all() {
    let good = b"user alice on nopass ~* +@all\n\n  user carl off (+get ~a) (+set ~b)\nuser  on\n";
    let acl = file::parse(good, "f", Fresh::default()).expect("fine");
    let lines: Vec<String> = acl.lines().into_iter().map(text).collect();
    assert_eq!(
        lines,
        [
            "user  on resetchannels -@all",
            "user alice on nopass ~* resetchannels +@all",
            "user carl off resetchannels -@all (~a resetchannels -@all +get) (~b resetchannels -@all +set)",
            "user default on nopass ~* &* +@all",
        ]
    );
    let bad = b"user a on\nuser a on\nfoo bar\nuser x y +foo z\nuser\n# c\n";
    let error = file::parse(bad, "f", Fresh::default()).expect_err("bad");
    assert_eq!(
        text(error),
        "WARNING: Duplicate user 'a' found on line 2. f:3 should start with user keyword followed by the username. \
         f:4: Syntax error. f:4: Error in applying operation '+foo': Unknown command or category name in ACL. f:5 should \
         start with user keyword followed by the username. f:6 should start with user keyword followed by the username. \
         WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    );
}

#[test]
fn like_refusals_are_counted_together() {
    let refusal = |object: &str| log::Refusal {
        denial: Denial::Key,
        context: log::Context::Toplevel,
        object: object.into(),
        user: b"u".to_vec(),
        client: String::new(),
    };
    let mut log = log::Log::default();
    let shown = |log: &log::Log| {
        let mut reply = crate::resp::Reply::new(crate::resp::Protocol::Resp2);
        log.write(10, 100_000, &mut reply);
        text(reply.into_bytes())
    };
    log.add(refusal("a"), 1_000, 2);
    log.add(refusal("b"), 2_000, 2);
    log.add(refusal("a"), 3_000, 2);
    assert!(shown(&log).starts_with("*2\r\n*20\r\n$5\r\ncount\r\n:2\r\n"), "{}", shown(&log));
    log.add(refusal("c"), 3_000, 2);
    log.add(refusal("a"), 90_000, 2);
    assert!(shown(&log).contains("entry-id\r\n:3\r\n"), "a minute later it is another entry");
    log.add(refusal("a"), 90_000, 0);
    assert_eq!(shown(&log), "*0\r\n");
}
