//! Access control lists: each line is a rule for one user, and the whole is a file of users.

use skuld::acl::{Fresh, Place, User, check, command_named, file};
use skuld::rng::Rng;

pub fn run(data: &[u8]) {
    let mut user = User::new(b"u", Fresh::NoChannels);
    for rule in data.split(|&b| b == b'\n') {
        let before = user.clone();
        if user.apply(rule, Fresh::NoChannels).is_err() {
            user = before;
        }
    }
    let rules = user.rules();
    // What is printed makes the same user, and one that is judged in the same way. Quoted selectors and first arguments
    // may bring blanks into a rule, which no line can hold; they are left out.
    let plain = !data.iter().any(|b| b"\"'|".contains(b));
    if plain && is_printable(&user) {
        let again = remade(&rules);
        assert_eq!(again.rules(), rules, "{}", String::from_utf8_lossy(&rules));
        for request in
            [[b"get".as_slice(), b"k"], [b"select", b"1"], [b"publish", b"c"], [b"flushall", b"sync"]]
        {
            let command = command_named(request[0]).expect("a command");
            let args = [request[0], request[1], b"x"];
            for db in 0..3 {
                let place = Place { db, databases: 16 };
                assert_eq!(
                    check(&user, command, &args, place),
                    check(&again, command, &args, place),
                    "{} and {}",
                    String::from_utf8_lossy(&rules),
                    String::from_utf8_lossy(request[0])
                );
            }
        }
    }
    let acl = file::parse(data, "f", Fresh::NoChannels);
    if let Some(acl) = acl.ok().filter(|acl| plain && acl.users().all(|user| is_printable(user))) {
        let lines = acl.lines().join(&b'\n');
        let again = file::parse(&lines, "f", Fresh::NoChannels);
        let again = again.unwrap_or_else(|e| panic!("{}", String::from_utf8_lossy(&e)));
        assert_eq!(again.lines().join(&b'\n'), lines);
    }
}

/// Whether the selectors in parentheses can be told apart in a line: a pattern with a parenthesis ends one too early, as
/// in the reference server.
fn is_printable(user: &User) -> bool {
    user.selectors()[1..].iter().all(|selector| {
        let rules = [selector.key_rules(), selector.channel_rules()].concat();
        !rules.contains(&b')')
    })
}

/// The user that the printed rules make.
fn remade(rules: &[u8]) -> User {
    let words: Vec<&[u8]> = rules.split(|&b| b == b' ').collect();
    let mut user = User::new(b"u", Fresh::NoChannels);
    for rule in skuld::acl::rules::merge_selectors(&words).expect("what is printed is closed") {
        user.apply(&rule, Fresh::NoChannels).unwrap_or_else(|error| {
            panic!("{error}: {} of {}", String::from_utf8_lossy(&rule), String::from_utf8_lossy(rules))
        });
    }
    user
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut data = Vec::new();
    let as_file = crate::one_in(rng, 3);
    for _ in 0..1 + rng.below(8) {
        if as_file {
            data.extend_from_slice(b"user ");
            data.push(b'a' + rng.below(4) as u8);
            for _ in 0..rng.below(5) {
                data.push(b' ');
                data.extend_from_slice(crate::pick(rng, WORDS));
            }
        } else {
            data.extend_from_slice(crate::pick(rng, WORDS));
        }
        data.push(b'\n');
    }
    data
}

const WORDS: &[&[u8]] = &[
    b"on",
    b"off",
    b"nopass",
    b"resetpass",
    b"reset",
    b">p",
    b"<p",
    b"#",
    b"!",
    b"~*",
    b"~k*",
    b"~",
    b"%R~a",
    b"%W~a",
    b"%RW~b",
    b"%",
    b"&*",
    b"&c",
    b"allkeys",
    b"resetkeys",
    b"allchannels",
    b"resetchannels",
    b"+@all",
    b"-@all",
    b"+@read",
    b"-@write",
    b"+get",
    b"-get",
    b"+config|get",
    b"-config",
    b"+select|0",
    b"+get|",
    b"db=0,1",
    b"db=",
    b"db=9999999999",
    b"alldbs",
    b"resetdbs",
    b"(+get ~x)",
    b"(+set",
    b"db=2)",
    b"()",
    b"clearselectors",
    b"skip-sanitize-payload",
    b"user a on",
];

pub fn words() -> Vec<&'static [u8]> {
    WORDS.to_vec()
}
