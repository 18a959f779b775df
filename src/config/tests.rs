//! Tests of the configuration as a whole.

use super::*;
use proptest::prelude::*;

/// Loads a file's text, and nothing else.
fn load(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    load_bytes(text.as_bytes())
}

fn load_bytes(text: &[u8]) -> Result<Config, Vec<ConfigProblem>> {
    let layers = Layers { file: Some(("x.conf".to_string(), text.to_vec())), ..Layers::default() };
    Config::load(&layers, &mut NoFiles).map(|loaded| loaded.config)
}

fn value(config: &Config, name: &str) -> String {
    let row = find(name.as_bytes()).expect("known directive");
    String::from_utf8_lossy(&row.get(config)).into_owned()
}

/// The value of a directive after loading a text.
fn loaded(text: &str, name: &str) -> String {
    value(&load(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}")), name)
}

/// The first reason for which a text is refused.
fn reason(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(problems) => problems[0].reason.clone(),
    }
}

const FREE: SetGuard = SetGuard { loading: false, protected_allowed: true };

fn set_line(config: &Config, arguments: &[&str]) -> Result<SetOutcome, String> {
    let arguments: Vec<&[u8]> = arguments.iter().map(|text| text.as_bytes()).collect();
    set(config, &arguments, FREE)
        .map_err(|error| String::from_utf8(error.line().expect("not loading")).expect("text"))
}

mod table_rows {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut names: Vec<&str> =
            TABLE.iter().flat_map(|row| [Some(row.name), row.alias]).flatten().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
    }

    #[test]
    fn defaults_are_accepted_as_values() {
        let default = Config::default();
        for row in TABLE {
            let value = row.get(&default);
            let words: Vec<&[u8]> = if row.flags.has(Flags::MULTI) {
                value.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect()
            } else {
                vec![&value]
            };
            // Being no replica and having no addresses has no words.
            if !(row.name == "replicaof" || row.name == "rdma-bind") {
                let mut config = Config::default();
                let done = row.set(&mut config, &words, directive::Earlier::Replace);
                assert_eq!(done, Ok(()), "{}", row.name);
                assert!(config.same_values(&default), "{}", row.name);
            }
        }
    }
}

mod files {
    use super::*;

    #[test]
    fn grammar() {
        assert_eq!(loaded("\ttimeout\t5\t\r", "timeout"), "5");
        assert_eq!(loaded("# a\n\n  MAXMEMORY 1mb", "maxmemory"), "1048576");
        assert_eq!(loaded("logfile a\"b c\"d", "logfile"), "ab cd");
        assert_eq!(loaded("slave-priority 7", "replica-priority"), "7");
        assert_eq!(loaded("hash-max-ziplist-entries 3", "hash-max-listpack-entries"), "3");
        assert_eq!(loaded("dynamic-hz yes\nsanitize-dump-payload no", "hz"), "10");
        assert_eq!(loaded("hz 1000", "hz"), "500");
        assert_eq!(loaded("unixsocketperm 700", "unixsocketperm"), "700");
        assert_eq!(loaded("maxmemory-clients 5%", "maxmemory-clients"), "5%");
        assert_eq!(loaded("bind \"127.0.0.1 ::1\"", "bind"), "127.0.0.1 ::1");
        assert_eq!(loaded("shutdown-on-sigterm now 'SAVE'", "shutdown-on-sigterm"), "save now");
        assert_eq!(loaded("replicaof no one", "replicaof"), "");
        assert_eq!(loaded("slaveof host 1", "replicaof"), "host 1");
        assert_eq!(
            loaded("latency-tracking-info-percentiles .5 1e1", "latency-tracking-info-percentiles"),
            "0.5 10"
        );
    }

    #[test]
    fn accumulation() {
        assert_eq!(loaded("save 900 1\nsave 60 5", "save"), "900 1 60 5");
        assert_eq!(loaded("save 900 1\nsave ''", "save"), "");
        assert_eq!(loaded("save ''\nsave 900 1", "save"), "900 1");
        assert_eq!(loaded("save \"900 1 60 5\"", "save"), "900 1 60 5");
        assert_eq!(
            loaded(
                "client-output-buffer-limit replica 1 2 3\nclient-output-buffer-limit normal 4kb 5 6",
                "client-output-buffer-limit"
            ),
            "normal 4096 5 6 slave 1 2 3 pubsub 33554432 8388608 60"
        );
        let config = load("user a on\nuser b off ~*\nrename-command get \"\"").expect("fine");
        assert_eq!(
            config.users,
            [vec!["a".into(), "on".into()], vec![Text::from("b"), "off".into(), "~*".into()]]
        );
        assert_eq!(config.renamed_commands, [("get".into(), "".into())]);
    }

    #[test]
    fn refusals_in_the_reference_servers_words() {
        for (text, expected) in [
            ("foo bar", "Bad directive or wrong number of arguments"),
            ("maxmemory", "wrong number of arguments"),
            ("timeout 1 2", "wrong number of arguments"),
            ("maxmemory xx", "argument must be a memory value"),
            ("port 'abc", "Unbalanced quotes in configuration line"),
            ("databases 0", "argument must be between 1 and 2147483647 inclusive"),
            ("save 1", "Invalid save parameters"),
            ("include", "Bad directive or wrong number of arguments"),
            ("rename-command get", "Bad directive or wrong number of arguments"),
            ("replicaof a b", "Invalid primary port"),
            ("replicaof a", "wrong number of arguments"),
            ("unixsocketperm 999", "argument couldn't be parsed as an octal number"),
            ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
            ("oom-score-adj-values 1 2", "wrong number of arguments"),
            ("mod.conf", "Module config specified without value"),
            ("sentinel a b", "sentinel directive while not in sentinel mode"),
            ("dir ''", "dir can't be empty"),
            ("always-show-logo maybe", "argument must be 'yes' or 'no'"),
            ("replicaof 1.2.3.4 1\ncluster-enabled yes", "replicaof directive not allowed in cluster mode"),
            (
                "loglevel foo",
                "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
            ),
            (
                "shutdown-on-sigterm save nosave",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
        ] {
            assert_eq!(reason(text), expected, "{text}");
        }
    }

    #[test]
    fn all_problems_are_told_in_order_with_the_nearest_name() {
        let problems = load("port x\nmaxmemroy 1\nbind 'a\ntimeout 5").expect_err("three problems");
        let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.nearest)).collect();
        assert_eq!(told, [(1, None), (2, Some("maxmemory")), (3, None)]);
        let text = format_fatal(&problems);
        assert!(text.starts_with(
            "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration file, at line 1\n>>> 'port \
             x'\nargument couldn't be parsed into an integer\n"
        ));
        assert!(text.contains("x.conf, line 2, 'maxmemroy 1': Bad directive or wrong number of arguments; did you mean maxmemory?"));
        assert!(text.contains("port takes a number from 0 to 65535"));
    }

    #[test]
    fn unknown_directives_are_warnings_when_lenient() {
        let layers = Layers {
            file: Some(("x".to_string(), b"foo bar\ntimeout 5".to_vec())),
            strictness: Strictness::Lenient,
            ..Layers::default()
        };
        let loaded = Config::load(&layers, &mut NoFiles).expect("lenient");
        assert_eq!((loaded.config.timeout, loaded.warnings.len()), (5, 1));
    }

    struct Shelf;

    impl Files for Shelf {
        fn include(&mut self, pattern: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
            match pattern {
                b"loop" => Ok(vec![("loop".to_string(), b"include loop".to_vec())]),
                b"two" => Ok(vec![
                    ("one".to_string(), b"timeout 1\nhz 20".to_vec()),
                    ("two".to_string(), b"timeout 2\nbogus".to_vec()),
                ]),
                _ => Err("No such file or directory".to_string()),
            }
        }

        fn secret(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
            if path == b"/run/x" {
                Ok(b"pass word\n".to_vec())
            } else {
                Err("No such file or directory".to_string())
            }
        }
    }

    #[test]
    fn includes_stand_where_their_line_stands() {
        let load = |text: &str| {
            let layers =
                Layers { file: Some(("x".to_string(), text.as_bytes().to_vec())), ..Layers::default() };
            Config::load(&layers, &mut Shelf)
        };
        let problems = load("include two\ntimeout 3").expect_err("bogus line");
        assert_eq!((problems.len(), problems[0].line), (1, 2));
        assert_eq!(problems[0].origin, Some(Origin::File("two".to_string())));
        let problems = load("include gone").expect_err("no such file");
        assert_eq!(
            problems[0].reason,
            "Fatal error, can't open config file 'gone': No such file or directory"
        );
        assert!(load("include loop").is_err());
    }

    #[test]
    fn later_layers_win() {
        let layers = Layers {
            file: Some(("x".to_string(), b"timeout 1\nhz 11\nmaxclients 100\nport 1\nsave 1 1\n".to_vec())),
            stdin: Some(b"port 2".to_vec()),
            environment: vec![
                ("SKULD_CONF_HZ".to_string(), b"22".to_vec()),
                ("SKULD_CONF_TIMEOUT".to_string(), b"2".to_vec()),
                ("SKULD_CONF_REQUIREPASS_FILE".to_string(), b"/run/x".to_vec()),
                ("SKULD_CONF_TLS_CERT_FILE".to_string(), b"a b.pem".to_vec()),
                ("SKULD_CONF_SAVE".to_string(), b"60 5".to_vec()),
                ("SKULD_PORT".to_string(), b"tcp://x".to_vec()),
            ],
            command_line: b"timeout \"3\"\nsave 7 7".to_vec(),
            ..Layers::default()
        };
        let config = Config::load(&layers, &mut Shelf).expect("fine").config;
        assert_eq!((config.timeout, config.hz, config.maxclients, config.port), (3, 22, 100, 2));
        assert_eq!(config.save, [(60, 5), (7, 7)]);
        assert_eq!(config.requirepass, "pass word");
        assert_eq!(config.tls_cert_file, "a b.pem");
        assert_eq!(config.sources.of("hz"), Source::Environment);
        assert_eq!(config.sources.of("timeout"), Source::CommandLine);
    }

    #[test]
    fn environment_problems_do_not_tell_secrets() {
        let layers = Layers {
            environment: vec![
                ("SKULD_CONF_MAXMEMROY".to_string(), b"1".to_vec()),
                ("SKULD_CONF_PORT".to_string(), b"x".to_vec()),
                ("SKULD_CONF_REQUIREPASS_FILE".to_string(), b"/gone".to_vec()),
            ],
            ..Layers::default()
        };
        let problems = Config::load(&layers, &mut Shelf).expect_err("three problems");
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0].nearest, Some("maxmemory"));
        assert_eq!(problems[1].reason, "argument couldn't be parsed into an integer");
        assert_eq!(problems[2].reason, "can't read '/gone': No such file or directory");
    }

    #[test]
    fn io_threads_decide_when_worker_threads_do_not() {
        let workers = |text: &str| load(text).expect("fine").requested_workers();
        assert_eq!(workers(""), None);
        assert_eq!(workers("io-threads 1"), Some(1));
        assert_eq!(workers("io-threads 4"), Some(4));
        assert_eq!(workers("io-threads 4\nworker-threads 2"), Some(2));
        assert_eq!(workers("worker-threads auto"), None);
    }

    #[test]
    fn lines_of_options_are_numbered_behind_the_file() {
        let layers = Layers {
            file: Some(("x".to_string(), b"# a\n# b\nport 7991\n".to_vec())),
            command_line: b"timeout \"1\" \nport \"x\" ".to_vec(),
            ..Layers::default()
        };
        let problems = Config::load(&layers, &mut NoFiles).expect_err("bad port");
        assert_eq!((problems[0].line, problems[0].text.as_str()), (6, "port \"x\""));
    }
}

mod getting_and_setting {
    use super::*;

    fn got(config: &Config, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|text| text.as_bytes()).collect();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        get(config, &patterns).into_iter().flat_map(|(name, value)| [text(name), text(value)]).collect()
    }

    #[test]
    fn patterns_names_and_aliases() {
        let config = Config::default();
        assert_eq!(
            got(&config, &["slaveof", "maxmemory", "aclfile", "MAXMEMORY-POLICY", "*max*clients"]),
            [
                "MAXMEMORY-POLICY",
                "noeviction",
                "aclfile",
                "",
                "maxclients",
                "10000",
                "maxmemory",
                "0",
                "maxmemory-clients",
                "0",
                "slaveof",
                ""
            ]
        );
        assert_eq!(got(&config, &["slaveof", "SLAVEOF"]), ["slaveof", ""]);
        assert_eq!(got(&config, &["debug-context", "use-exit*"]), ["debug-context", ""]);
        assert_eq!(got(&config, &["nosuch", "*nosuch*"]), [] as [&str; 0]);
    }

    #[test]
    fn all_pairs_or_none() {
        let config = Config::default();
        let outcome =
            set_line(&config, &["maxmemory", "1mb", "timeout", "0", "slave-priority", "5"]).expect("fine");
        let names: Vec<_> = outcome.changed.iter().map(|row| row.name).collect();
        assert_eq!(names, ["maxmemory", "replica-priority"]);
        assert_eq!((outcome.config.maxmemory, config.maxmemory), (1 << 20, 0));
        assert!(set_line(&config, &["maxmemory", "1mb", "timeout", "x"]).is_err());
    }

    #[test]
    fn refusals() {
        let config = Config::default();
        let failed = |name: &str, reason: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
        };
        for (arguments, expected) in [
            (
                &["nosuch", "1"][..],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".to_string(),
            ),
            (&["maxmemory", "1", "maxmemory"], "ERR syntax error".to_string()),
            (&["maxmemory", "1", "MAXMEMORY", "2"], failed("MAXMEMORY", "duplicate parameter")),
            (&["maxmemory", "x", "daemonize", "1"], failed("daemonize", "can't set immutable config")),
            (&["MaxMemory", "x"], failed("maxmemory", "argument must be a memory value")),
            (&["save", "900  1"], failed("save", "Invalid save parameters")),
            (
                &["include", "x"],
                "ERR Unknown option or number of arguments for CONFIG SET - 'include'".to_string(),
            ),
        ] {
            assert_eq!(set_line(&config, arguments).map(|_| ()), Err(expected), "{arguments:?}");
        }
        let arguments: [&[u8]; 2] = [b"dir", b"/"];
        let loading = SetGuard { loading: true, protected_allowed: true };
        assert!(matches!(set(&config, &arguments, loading), Err(SetError::Loading)));
        let guarded = SetGuard { loading: false, protected_allowed: false };
        assert!(matches!(set(&config, &arguments, guarded), Err(SetError::Refused { reason, .. })
            if reason == "can't set protected config"));
    }

    #[test]
    fn values_that_replace_and_bytes_that_are_no_text() {
        let config = load("save 900 1").expect("fine");
        let config = set_line(&config, &["save", "60 5 1 0"]).expect("fine").config;
        assert_eq!(config.save, [(60, 5), (1, 0)]);
        let arguments: [&[u8]; 4] = [b"masterauth", b"a\0b\xff", b"primaryuser", b"a\0b"];
        let config = set(&config, &arguments, FREE).expect("fine").config;
        assert_eq!(config.primaryauth.as_bytes(), b"a\0b\xff");
        assert_eq!(config.primaryuser, "a");
    }
}

mod rewriting {
    use super::*;

    fn rewritten(old: &str, config: &Config, users: &[&str]) -> String {
        let users: Vec<Vec<u8>> = users.iter().map(|line| line.as_bytes().to_vec()).collect();
        String::from_utf8(rewrite(old.as_bytes(), config, Some(&users), Additions::Changed)).expect("text")
    }

    #[test]
    fn lines_are_replaced_where_they_stand() {
        let old = "# head\n  # indented\nport 7991\n\n\ntimeout 5\n# two timeouts\n\ntimeout 7\nslave-priority 50\n\
                   save 900 1\nsave 60 100\nbind 127.0.0.1\nclient-output-buffer-limit pubsub 1 2 3\nlogfile \"\"\n\
                   dynamic-hz yes\ninclude /dev/null\nrename-command debug dbg\nloglevel notice\nuser alice on\n\
                   notify-keyspace-events \"\"\nrequirepass \"\"\n";
        let mut layers = Layers {
            file: Some(("x".to_string(), old.replace("include /dev/null\n", "").into_bytes())),
            ..Layers::default()
        };
        layers.strictness = Strictness::Strict;
        let config = Config::load(&layers, &mut NoFiles).expect("fine").config;
        let config =
            set_line(&config, &["hz", "20", "client-output-buffer-limit", "normal 1 2kb 3", "dir", "/data"])
                .expect("fine")
                .config;
        let new = rewritten(old, &config, &["user alice on nopass", "user default on"]);
        assert_eq!(
            new,
            "# head\n# indented\nport 7991\n\ntimeout 7\n# two timeouts\n\nreplica-priority 50\nsave 900 1 60 100\n\n\
             bind 127.0.0.1\nclient-output-buffer-limit normal 1 2kb 3\nlogfile \"\"\n# ??? dynamic-hz yes\n\
             include /dev/null\nrename-command debug dbg\nloglevel notice\nuser alice on nopass\n\
             notify-keyspace-events \"\"\n\n# Generated by CONFIG REWRITE\ndir \"/data\"\nhz 20\n\
             client-output-buffer-limit pubsub 1 2 3\nlatency-tracking-info-percentiles 50 99 99.9\nuser default on\n"
        );
    }

    #[test]
    fn environment_values_are_never_written() {
        let layers = Layers {
            file: Some(("x".to_string(), b"timeout 5\nrequirepass old\n".to_vec())),
            environment: vec![
                ("SKULD_CONF_TIMEOUT".to_string(), b"9".to_vec()),
                ("SKULD_CONF_REQUIREPASS".to_string(), b"secret".to_vec()),
            ],
            ..Layers::default()
        };
        let config = Config::load(&layers, &mut NoFiles).expect("fine").config;
        let new =
            rewritten("timeout 5\nrequirepass old\n", &config, &["user default on >secret", "user bob off"]);
        assert!(new.starts_with("timeout 5\nrequirepass old\n"), "{new}");
        assert!(!new.contains("secret") && new.contains("user bob off"), "{new}");
        let config = set_line(&config, &["timeout", "8"]).expect("fine").config;
        assert!(rewritten("timeout 5\n", &config, &[]).starts_with("timeout 8\n"));
    }

    #[test]
    fn rewriting_again_changes_nothing() {
        let config =
            set_line(&Config::default(), &["dir", "/d", "maxmemory", "1500000"]).expect("fine").config;
        let once = rewritten("port 6379\n", &config, &[]);
        let twice = rewritten(&once, &config, &[]);
        let thrice = rewritten(&twice, &config, &[]);
        assert_eq!(twice, thrice);
        assert_eq!(twice.trim_end(), once.trim_end());
    }
}

/// The texts that are made from the table. If one of these fails, run
/// `cargo test -p skuld --lib regenerate_documents -- --ignored` and look at the difference.
mod documents {
    use super::*;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn read(name: &str) -> String {
        std::fs::read_to_string(path(name)).expect("a file of this project")
    }

    /// The page with the section about directives made anew.
    fn page_with_table(page: &str) -> String {
        const BEGIN: &str = "<!-- begin directives (made from src/config/table.rs) -->\n";
        const END: &str = "<!-- end directives -->";
        let (before, rest) = page.split_once(BEGIN).expect("a mark before the table");
        let (_, after) = rest.split_once(END).expect("a mark behind the table");
        format!("{before}{BEGIN}{}{END}{after}", docs::compatibility_table())
    }

    #[test]
    fn the_commented_file_is_in_step_and_changes_nothing() {
        let text = read("valkey.conf");
        assert_eq!(text, docs::configuration_file());
        let config = load(&text).expect("it loads");
        assert!(config.same_values(&Config::default()));
        assert_eq!(config.requested_workers(), None);
    }

    #[test]
    fn the_compatibility_page_is_in_step() {
        let page = read("docs/compatibility.md");
        assert_eq!(page, page_with_table(&page));
    }

    #[test]
    #[ignore = "writes files"]
    fn regenerate_documents() {
        std::fs::write(path("valkey.conf"), docs::configuration_file()).expect("writable");
        let page = page_with_table(&read("docs/compatibility.md"));
        std::fs::write(path("docs/compatibility.md"), page).expect("writable");
    }
}

mod random {
    use super::*;

    /// A value that has a fair chance to be accepted.
    fn any_value(row: &'static Directive) -> BoxedStrategy<Vec<u8>> {
        let default = row.get(&Config::default());
        let words: Vec<Vec<u8>> = match &row.kind {
            Kind::Bool { .. } => vec![b"yes".to_vec(), b"no".to_vec()],
            Kind::Choice { names, .. } => names().iter().map(|name| name.as_bytes().to_vec()).collect(),
            Kind::Number { low, high, .. } => [*low, *high, low + 1, high - 1, 1 << 20, 1 << 30, 7]
                .map(|n| n.to_string().into_bytes())
                .to_vec(),
            Kind::Text { .. } => {
                [&b"a"[..], b"with blank", b"\"'\\\n\x01\xff", b"", b"x.y"].map(<[u8]>::to_vec).to_vec()
            }
            Kind::Special(_) => [
                &b"1 2 3"[..],
                b"60 5",
                b"host 7",
                b"",
                b"save now",
                b"\"\'a 7",
                b"\xff\n 7",
                b"K",
                b"normal 1kb 2 3",
                b"5",
                b"auto",
            ]
            .map(<[u8]>::to_vec)
            .to_vec(),
        };
        prop_oneof![3 => proptest::sample::select(words), 1 => Just(default)].boxed()
    }

    fn any_change() -> impl Strategy<Value = (&'static Directive, Vec<u8>)> {
        (0..TABLE.len()).prop_flat_map(|at| any_value(&TABLE[at]).prop_map(move |value| (&TABLE[at], value)))
    }

    proptest! {
        #[test]
        fn any_bytes_load_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = load_bytes(&text);
        }

        #[test]
        fn almost_right_lines_load_without_panic(
            lines in proptest::collection::vec((0..TABLE.len(), "[ -~]{0,20}"), 0..20)
        ) {
            let text: String = lines.iter().map(|(at, value)| format!("{} {value}\n", TABLE[*at].name)).collect();
            if let Err(problems) = load(&text) {
                prop_assert!(format_fatal(&problems).contains("problem"));
            }
        }

        #[test]
        fn rewritten_files_read_back(
            changes in proptest::collection::vec(any_change(), 0..40),
            old in proptest::collection::vec((0..TABLE.len(), "[ -~]{0,10}"), 0..20),
            additions in proptest::sample::select(vec![Additions::Changed, Additions::All]),
        ) {
            let mut config = Config::default();
            for (row, value) in &changes {
                let words: Vec<&[u8]> = if row.flags.has(Flags::MULTI) {
                    value.split(|byte| *byte == b' ').collect()
                } else {
                    vec![value]
                };
                let _ = row.set(&mut config, &words, directive::Earlier::Replace);
            }
            // The reference server does not write the primary of a cluster node.
            if config.cluster_enabled {
                config.replicaof = None;
            }
            let old: String = old.iter().map(|(at, value)| format!("{} {value}\n", TABLE[*at].name)).collect();
            let new = rewrite(old.as_bytes(), &config, None, additions);
            let back = load_bytes(&new);
            let back = back.unwrap_or_else(|problems| panic!("{problems:?} in {}", String::from_utf8_lossy(&new)));
            prop_assert!(back.same_values(&config), "{}", String::from_utf8_lossy(&new));
        }

        #[test]
        fn setting_never_panics(name in 0..TABLE.len(), value in proptest::collection::vec(any::<u8>(), 0..30)) {
            let arguments: [&[u8]; 2] = [TABLE[name].name.as_bytes(), &value];
            if let Err(error) = set(&Config::default(), &arguments, FREE) {
                prop_assert!(error.line().is_some_and(|line| !line.contains(&b'\n')));
            }
        }
    }
}
