//! The configuration without a process around it: what is written comes out
//! typed, and what is wrong is said. Files here are only text with a path.

// Snapshots are rewritten with them.
#![allow(clippy::needless_raw_string_hashes)]

mod problems;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use expect_test::expect;

use super::{
    Config, FlagSetting, KEYS, Key, Kind, Loaded, LogLevel, Origin, Problem, Value, assemble, file,
    keys::{Found, WILDCARD, find},
};

fn read(
    file: &[u8],
    variables: &[(&str, &str)],
    flags: &[FlagSetting],
) -> Result<Loaded, Vec<Problem>> {
    let found = Some((PathBuf::from("/etc/x/llmspell.toml"), file.to_owned()));
    let variables: Vec<(OsString, OsString)> =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    assemble(file::Search { found, looked: Vec::new() }, &variables, flags)
}

fn good(file: &str) -> Loaded {
    read(file.as_bytes(), &[], &[]).unwrap_or_else(|problems| panic!("{}", said(&problems)))
}

fn said(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n") + "\n"
}

#[test]
fn every_default_can_be_read_and_is_what_an_empty_file_gives() {
    let loaded = good("");
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let value = key.kind.parse(default, Path::new("/")).unwrap();
        assert_eq!(value.to_string(), default, "{}", key.path);
        let row = loaded.rows().into_iter().find(|row| row.key == key.path).unwrap();
        assert_eq!((row.value.as_str(), row.origin), (default, Origin::Default));
    }
    let Config { kernel, logging, dap, .. } = loaded.config;
    assert_eq!((kernel.port, kernel.host.as_str(), kernel.idle_timeout), (9555, "127.0.0.1", None));
    assert_eq!((kernel.limits.max_memory, kernel.limits.max_message_size), (None, 16 << 20));
    assert_eq!((logging.max_size, logging.keep, dap.enabled), (10 << 20, 5, true));
}

/// A value for a key, as TOML, that is not its default.
fn sample(key: &Key) -> &'static str {
    match key.kind {
        Kind::LogLevel => "'trace'",
        Kind::Host | Kind::Name | Kind::Token => "'sample'",
        Kind::Integer { .. } => "77",
        Kind::Bool if key.default == Some("true") => "false",
        Kind::Bool => "true",
        Kind::Path => "'some/file'",
        Kind::Seconds { .. } => "7.5",
        Kind::Size => "'3MB'",
    }
}

#[test]
fn every_key_fills_a_field_of_its_own() {
    let plain = good("");
    let mut seen = BTreeSet::new();
    let mut all = String::new();
    for key in KEYS {
        let path = key.path.replace(WILDCARD, "big");
        let line = format!("{path} = {}\n", sample(key));
        let loaded = good(&line);
        assert_ne!(loaded.config, plain.config, "{path} fills no field");
        assert!(seen.insert(format!("{:?}", loaded.config)), "{path} fills another's field");
        let changes = plain.changes(&loaded);
        assert_eq!(changes.len(), 1, "{path}");
        assert_eq!((&changes[0].key, changes[0].reloadable), (&path, key.reloadable));
        all += &line;
    }
    // What arrives there.
    expect![[r#"
        Config {
            global: Global {
                log_level: Trace,
            },
            kernel: Kernel {
                port: 77,
                host: "sample",
                id: Some(
                    "sample",
                ),
                connection_file: Some(
                    "/etc/x/some/file",
                ),
                idle_timeout: Some(
                    7.5s,
                ),
                max_clients: 77,
                shutdown_grace: 7.5s,
                token: Some(
                    ****,
                ),
                limits: Limits {
                    max_memory: Some(
                        80740352,
                    ),
                    max_message_size: 80740352,
                },
            },
            resources: Resources {
                profiles: {
                    "big": Profile {
                        memory_limit: Some(
                            3145728,
                        ),
                        timeout: Some(
                            7.5s,
                        ),
                    },
                },
            },
            daemon: Daemon {
                daemonize: true,
                pid_file: Some(
                    "/etc/x/some/file",
                ),
            },
            logging: Logging {
                log_file: Some(
                    "/etc/x/some/file",
                ),
                log_level: Some(
                    Trace,
                ),
                max_size: 80740352,
                keep: 77,
            },
            dap: Dap {
                enabled: false,
                port: Some(
                    77,
                ),
                wait_for_debugger: true,
            },
            repl: Repl {
                enabled: true,
                history_file: Some(
                    "/etc/x/some/file",
                ),
            },
        }
    "#]]
    .assert_debug_eq(&good(&all).config);
}

#[test]
fn paths_and_variables_of_keys_are_unique_and_found() {
    let mut variables = BTreeSet::new();
    for (index, key) in KEYS.iter().enumerate() {
        assert!(variables.insert(key.variable()), "{}", key.path);
        let path: Vec<&str> = key.parts().collect();
        assert!(matches!(find(&path), Found::Key(at, _) if at == index), "{}", key.path);
        assert!(matches!(find(&path[..1]), Found::Section));
        assert!(!key.meaning.ends_with('.') && !key.meaning.contains('|'), "{}", key.path);
    }
}

#[test]
fn each_source_beats_those_before_it() {
    let file = b"[kernel]\nport = 1\n\nhost = 'a'\nid = 'f'\n";
    let variables = [
        ("LLMSPELL_KERNEL__HOST", "b"),
        ("LLMSPELL_KERNEL__ID", "e"),
        // Not ours, or nothing in them.
        ("LLMSPELL_REPL_HISTORY", "x"),
        ("LLMSPELL_KERNEL__TOKEN", ""),
        ("KERNEL__PORT", "x"),
    ];
    let flag = FlagSetting { key: "kernel.id", value: "g".to_owned(), flag: "--id" };
    let loaded = read(file, &variables, &[flag]).unwrap();
    let rows: Vec<String> = loaded
        .rows()
        .into_iter()
        .filter(|row| row.key.starts_with("kernel.") && !row.key.contains('_'))
        .map(|row| format!("{} = {} ({})", row.key, row.value, row.origin))
        .collect();
    expect![[r"
        kernel.port = 1 (/etc/x/llmspell.toml:2)
        kernel.host = b (LLMSPELL_KERNEL__HOST)
        kernel.id = g (--id)
        kernel.token = none (default)"]]
    .assert_eq(&rows.join("\n"));
}

#[test]
fn variables_name_profiles_as_the_file_does() {
    let file = b"[resources.profiles.Big]\ntimeout = 1";
    let variables = [
        ("LLMSPELL_RESOURCES__PROFILES__BIG__MEMORY_LIMIT", "1GB"),
        ("LLMSPELL_RESOURCES__PROFILES__DEFAULT__TIMEOUT", "0.5"),
    ];
    let profiles = read(file, &variables, &[]).unwrap().config.resources.profiles;
    assert_eq!(profiles.keys().collect::<Vec<_>>(), ["Big", "default"]);
    assert_eq!(profiles["Big"].memory_limit, Some(1 << 30));
    assert_eq!(profiles["Big"].timeout, Some(Duration::from_secs(1)));
    assert_eq!(profiles["default"].timeout, Some(Duration::from_millis(500)));
}

#[test]
fn all_ways_to_write_a_table_are_read() {
    let ways = [
        "[kernel.limits]\nmax_memory_mb = 3",
        "kernel.limits.max_memory_mb = 3",
        "[kernel]\nlimits = { max_memory_mb = 0x3 }",
        "\u{feff}[kernel]\r\nlimits.\"max_memory_mb\" = 3\r\n",
    ];
    for way in ways {
        assert_eq!(good(way).config.kernel.limits.max_memory, Some(3 << 20), "{way}");
    }
    let size = good("resources.profiles.default.memory_limit = 1_024").config.default_profile();
    assert_eq!(size.memory_limit, Some(1024));
}

#[test]
fn names_of_profiles_may_be_anything() {
    let rows = good("[resources.profiles.'a b.c']\ntimeout = 1").rows();
    assert!(rows.iter().any(|row| row.key == "resources.profiles.\"a b.c\".timeout"), "{rows:?}");
}

#[test]
fn paths_become_absolute() {
    let path = |text: &str| {
        let file = format!("logging.log_file = '{text}'");
        good(&file).config.logging.log_file.unwrap()
    };
    let home = super::value::home().expect("tests have a home");
    assert_eq!(path("~/a/b"), home.join("a/b"));
    assert_eq!(path("./logs/a~b"), Path::new("/etc/x/logs/a~b"));
    assert_eq!(path("/a"), Path::new("/a"));
    // What is not in a file is relative to where we are.
    let loaded = read(b"", &[("LLMSPELL_DAEMON__PID_FILE", "a.pid")], &[]).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(loaded.config.daemon.pid_file, Some(here.join("a.pid")));
}

#[test]
fn changes_are_listed_with_what_they_need() {
    let old = good("[kernel]\nport = 1\ntoken = 'old'\n[resources.profiles.a]\ntimeout = 2");
    let new = good("[kernel]\nport = 2\ntoken = 'new'\nidle_timeout = 1.5\n\n[dap]\nport = 9556");
    let changes: Vec<String> = old
        .changes(&new)
        .iter()
        .map(|it| format!("{}: {} -> {}, {}", it.key, it.old, it.new, it.reloadable))
        .collect();
    expect![[r"
        kernel.port: 1 -> 2, false
        kernel.idle_timeout: 0 -> 1.5, true
        kernel.token: **** -> ****, false
        resources.profiles.a.timeout: 2 -> none, true
        dap.port: none -> 9556, false"]]
    .assert_eq(&changes.join("\n"));
    assert_eq!(old.changes(&old), []);
}

#[test]
fn levels_and_sizes_are_shown_as_they_are_written() {
    for name in LogLevel::NAMES {
        assert_eq!(name.parse::<LogLevel>().unwrap().name(), name);
    }
    for size in ["1GB", "512MB", "1536KB", "1000"] {
        let value = Kind::Size.parse(size, Path::new("/")).unwrap();
        assert_eq!(value.to_string(), size);
    }
    assert_eq!(Value::Seconds(Duration::from_millis(1500)).to_string(), "1.5");
}
