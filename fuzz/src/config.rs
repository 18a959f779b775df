//! Configuration. The first byte says what the rest is: a file, the arguments of the program, environment variables,
//! or pairs for CONFIG SET (arguments and pairs in lines). Whatever could be loaded survives CONFIG REWRITE.

use skuld::config::split::quote;
use skuld::config::{
    Additions, CommandLine, Config, Layers, Loaded, NoFiles, SetError, SetGuard, Strictness, TABLE,
    format_fatal, get, rewrite, set,
};
use skuld::rng::Rng;

pub fn run(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    let mut layers = Layers::default();
    if kind & 0x10 != 0 {
        layers.strictness = Strictness::Lenient;
    }
    let lines = || text.split(|&b| b == b'\n');
    match kind % 4 {
        0 => layers.file = Some(("skuld.conf".into(), text.to_vec())),
        1 => {
            let arguments: Vec<Vec<u8>> = lines().map(<[u8]>::to_vec).collect();
            layers.command_line = CommandLine::parse(&arguments).text;
        }
        2 => {
            layers.environment = lines()
                .filter_map(|line| {
                    let at = line.iter().position(|&b| b == b'=')?;
                    let name = format!("SKULD_CONF_{}", String::from_utf8_lossy(&line[..at]));
                    Some((name, line[at + 1..].to_vec()))
                })
                .collect();
        }
        _ => {
            let pairs: Vec<&[u8]> = lines().collect();
            let guard = SetGuard { loading: false, protected_allowed: true };
            match set(&Config::default(), &pairs, guard) {
                Ok(outcome) => keeps(b"# a comment\n", &outcome.config),
                Err(error) => {
                    let line = error.line();
                    assert!(line.is_some() || error == SetError::Loading);
                    assert!(line.is_none_or(|line| !line.contains(&b'\n') && !line.contains(&b'\r')));
                }
            }
            return;
        }
    }
    match Config::load(&layers, &mut NoFiles) {
        Ok(Loaded { config, .. }) if kind % 4 == 0 => keeps(text, &config),
        Ok(Loaded { config, .. }) if kind % 4 == 1 => keeps(b"", &config),
        Ok(Loaded { config, .. }) => drop(get(&config, &[b"*"])),
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!format_fatal(&problems).is_empty());
        }
    }
}

/// CONFIG REWRITE writes a file that gives the same configuration, and writing it again changes nothing any more.
fn keeps(old: &[u8], config: &Config) {
    drop(get(config, &[b"*"]));
    // An old file that replaced commands' names, or users', is about more than directives.
    let users: Vec<Vec<u8>> = config
        .users
        .iter()
        .map(|words| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| quote(word.as_bytes())).collect();
            [b"user".to_vec(), words.join(&b' ')].join(&b' ')
        })
        .collect();
    for additions in [Additions::Changed, Additions::All] {
        let new = rewrite(old, config, Some(&users), additions);
        let layers = Layers { file: Some(("skuld.conf".into(), new.clone())), ..Layers::default() };
        let shown = || String::from_utf8_lossy(&new).into_owned();
        let layers = Layers { strictness: Strictness::Lenient, ..layers };
        let back = Config::load(&layers, &mut NoFiles).unwrap_or_else(|problems| {
            panic!("{}\nin what was written:\n{}", format_fatal(&problems), shown())
        });
        for row in TABLE {
            assert_eq!(
                row.get(&back.config),
                row.get(config),
                "{} after a rewrite to\n{}",
                row.name,
                shown()
            );
        }
        assert!(back.config.same_values(config), "other values after a rewrite to\n{}", shown());
        let again = rewrite(&new, config, Some(&users), additions);
        // As in the reference server, the line end of the last line counts as an empty line the next time.
        assert_eq!(again.trim_ascii_end(), new.trim_ascii_end(), "a second rewrite changed\n{}", shown());
        assert_eq!(
            rewrite(&again, config, Some(&users), additions),
            again,
            "a third rewrite changed\n{}",
            shown()
        );
    }
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let kind = rng.below(4) as u8;
    let mut data = vec![kind | (rng.below(2) as u8) << 4];
    for _ in 0..=rng.below(5) {
        let row = &TABLE[rng.below(TABLE.len() as u64) as usize];
        let own = row.get(&Config::default());
        let mut value = match rng.below(3) {
            0 => own,
            1 => crate::pick(rng, VALUES).to_vec(),
            _ => [crate::pick(rng, VALUES), crate::pick(rng, VALUES)].join(&b' '),
        };
        if kind == 0 && crate::one_in(rng, 3) {
            value = quote(&value);
        }
        let name = match row.alias {
            Some(alias) if crate::one_in(rng, 3) => alias,
            _ => row.name,
        };
        let (before, name, between) = match kind {
            0 => ("", name.to_string(), " "),
            1 => ("--", name.to_string(), "\n"),
            2 => ("", name.replace('-', "_").to_uppercase(), "="),
            _ => ("", name.to_string(), "\n"),
        };
        if data.len() > 1 {
            data.push(b'\n');
        }
        data.extend_from_slice(before.as_bytes());
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(between.as_bytes());
        data.extend_from_slice(&value);
    }
    data
}

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"1",
    b"yes",
    b"no",
    b"auto",
    b"\"\"",
    b"\"a b\"",
    b"'x'",
    b"\\x00",
    b"1gb",
    b"100mb",
    b"10%",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-2147483649",
    b"1e3",
    b"0.5",
    b"077",
    b"900 1 300 10",
    b"normal 0 0 0",
    b"replica 256mb 64mb 60 pubsub 1 1 1",
    b"KEA",
    b"127.0.0.1",
    b"-::1 *",
    b"localhost 6379",
    b"no one",
    b"/tmp/x",
    b"{title} {port}",
    b"{",
    b"\xff\xfe",
    b"#",
    b"a\tb",
    b"nosave force",
    b"50 99.9",
    b"absolute",
    b"0 200 800",
    b"user default on nopass ~* +@all",
    b"TLSv1.2 TLSv1.3",
    b"0-3,5",
];

pub fn words() -> Vec<&'static [u8]> {
    let mut words = VALUES.to_vec();
    words.extend(TABLE.iter().map(|row| row.name.as_bytes()));
    words.extend([
        &b"\n"[..],
        b"include x\n",
        b"rename-command a b\n",
        b"user ann on\n",
        b"loadmodule x\n",
        b"--",
        b"=",
        b"\"",
        b"'",
        b"_FILE",
    ]);
    words
}
