//! What is said about a configuration that is wrong, word for word; and that
//! nothing makes the reader crash or give secrets away.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use expect_test::{Expect, expect};

use super::{good, read, said};
use crate::config::{assemble, file};

/// What is said about a file.
fn check(file: &str, expected: &Expect) {
    check_bytes(file.as_bytes(), expected);
}

fn check_bytes(file: &[u8], expected: &Expect) {
    let problems = read(file, &[], &[]).map(|_| ()).expect_err("it is wrong");
    expected.assert_eq(&said(&problems).replace("/etc/x/llmspell.toml", "x.toml"));
}

/// What is said about variables.
fn check_variables(variables: &[(&str, &str)], expected: &Expect) {
    let problems = read(b"", variables, &[]).map(|_| ()).expect_err("it is wrong");
    expected.assert_eq(&said(&problems));
}

#[test]
fn secrets_are_not_shown() {
    let hidden = |text: String| assert!(!text.contains("hush"), "{text}");
    let loaded = good("kernel.token = 'hush'");
    hidden(format!("{loaded:?}{:?}", loaded.rows()));
    assert_eq!(loaded.config.kernel.token.unwrap().reveal(), "hush");
    let wrong = [
        "kernel.token = ['hush']",
        "kernel = { token = 'hush', prot = 1 }",
        "[kernel]\ntoken = 'hush",
        "[kernel]\n'token'=hush",
        "[kernel]\ntoken = 'hush hush'",
    ];
    for file in wrong {
        let problems = read(file.as_bytes(), &[], &[]).unwrap_err();
        hidden(said(&problems) + &format!("{problems:?}"));
    }
    let problems = read(b"", &[("LLMSPELL_KERNEL__TOKEN", "hush hush")], &[]).unwrap_err();
    hidden(said(&problems) + &format!("{problems:?}"));
}

#[test]
fn unknown_names_bring_suggestions() {
    check(
        "prot = 1\n[global]\nport = 1\nlog_levle = 2\ncolour = 1\n[kernell]\n[providers.openai]",
        &expect![[r#"
            x.toml:1:1: error: unknown key 'prot'
              1 | prot = 1
                | ^^^^
            hint: did you mean 'kernel.port' or 'dap.port'?
            x.toml:3:1: error: unknown key 'port' in [global]
              3 | port = 1
                | ^^^^
            hint: did you mean 'kernel.port' or 'dap.port'?
            x.toml:4:1: error: unknown key 'log_levle' in [global]
              4 | log_levle = 2
                | ^^^^^^^^^
            hint: did you mean 'log_level'?
            x.toml:5:1: error: unknown key 'colour' in [global]
              5 | colour = 1
                | ^^^^^^
            hint: [global] has log_level
            x.toml:6:2: error: unknown section 'kernell'
              6 | [kernell]
                |  ^^^^^^^
            hint: did you mean 'kernel'?
            x.toml:7:2: error: unknown section 'providers'
              7 | [providers.openai]
                |  ^^^^^^^^^
            hint: there are the sections global, kernel, resources, daemon, logging, dap, repl
        "#]],
    );
    check(
        "[kernel]\nmax_memory_mb = 1\nmax_client = 1\ntimeout = 1",
        &expect![[r#"
            x.toml:2:1: error: unknown key 'max_memory_mb' in [kernel]
              2 | max_memory_mb = 1
                | ^^^^^^^^^^^^^
            hint: did you mean 'kernel.limits.max_memory_mb'?
            x.toml:3:1: error: unknown key 'max_client' in [kernel]
              3 | max_client = 1
                | ^^^^^^^^^^
            hint: did you mean 'max_clients'?
            x.toml:4:1: error: unknown key 'timeout' in [kernel]
              4 | timeout = 1
                | ^^^^^^^
            hint: did you mean 'idle_timeout'?
        "#]],
    );
    check(
        "resources.profiles.default.memory = 1\nlimits.max_memory_mb = 2",
        &expect![[r#"
            x.toml:1:28: error: unknown key 'memory' in [resources.profiles.default]
              1 | resources.profiles.default.memory = 1
                |                            ^^^^^^
            hint: did you mean 'memory_limit'?
            x.toml:2:1: error: unknown section 'limits'
              2 | limits.max_memory_mb = 2
                | ^^^^^^
            hint: did you mean 'kernel.limits'?
        "#]],
    );
}

#[test]
fn wrong_values_are_explained() {
    check(
        "[kernel]\nport = 65532\nmax_clients = 0\nidle_timeout = '30'\nhost = 'a:1'\nid = '.x'",
        &expect![[r#"
            x.toml:2:8: error: 65532 is out of range: 0 to 65531
              2 | port = 65532
                |        ^^^^^
            hint: kernel.port: the first of the five ports in a row of a kernel; 0 means any that are free
            x.toml:3:15: error: 0 is out of range: 1 to 65536
              3 | max_clients = 0
                |               ^
            hint: kernel.max_clients: how many clients may be connected at once
            x.toml:4:16: error: expected a number of seconds, found a string
              4 | idle_timeout = '30'
                |                ^^^^
            hint: write it without quotes: 30
            x.toml:5:8: error: 'a:1' is neither an IP address nor the name of a machine
              5 | host = 'a:1'
                |        ^^^^^
            hint: the port has a key of its own
            x.toml:6:6: error: it begins with a letter or digit and has 64 characters at most
              6 | id = '.x'
                |      ^^^^
            hint: kernel.id: the name of the kernel; without one it gets a name of its own
        "#]],
    );
    check(
        "[daemon]\ndaemonize = 'true'\npid_file = ''\n[logging]\nlog_file = '~root/x'\nlog_level = 'WARN'\nkeep = 1.5\nmax_size_mb = 99999999999999999999999999999999999999999",
        &expect![[r#"
            x.toml:2:13: error: expected a boolean, found a string
              2 | daemonize = 'true'
                |             ^^^^^^
            hint: write it without quotes: true
            x.toml:3:12: error: it must not be empty
              3 | pid_file = ''
                |            ^^
            hint: daemon.pid_file: the file that holds the kernel's process id, and is locked while it runs
            x.toml:5:12: error: only '~/' is expanded
              5 | log_file = '~root/x'
                |            ^^^^^^^^^
            hint: write the path out, or './~…' for a file of that name
            x.toml:6:13: error: expected one of off, error, warn, info, debug, trace, found 'WARN'
              6 | log_level = 'WARN'
                |             ^^^^^^
            hint: logging.log_level: how much goes to the kernel's log file; without it as much as global.log_level says
            x.toml:7:8: error: expected an integer, found a float
              7 | keep = 1.5
                |        ^^^
            hint: logging.keep: how many rotated log files are kept
            x.toml:8:15: error: 99999999999999999999999999999999999999999 is out of range
              8 | max_size_mb = 99999999999999999999999999999999999999999
                |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: logging.max_size_mb: the megabytes after which the log file is rotated
        "#]],
    );
    check(
        "[resources.profiles.default]\nmemory_limit = '1XB'\ntimeout = 0\n[resources.profiles.a]\nmemory_limit = -1\ntimeout = nan",
        &expect![[r#"
            x.toml:2:16: error: unknown unit 'XB'; write 512MB or 1GB
              2 | memory_limit = '1XB'
                |                ^^^^^
            hint: resources.profiles.NAME.memory_limit: the most memory a program may use, such as "512MB"
            x.toml:3:11: error: 0 is out of range: more than 0, up to 1000000000 seconds
              3 | timeout = 0
                |           ^
            hint: resources.profiles.NAME.timeout: the seconds after which a program is ended
            x.toml:5:16: error: -1 is out of range: sizes are positive
              5 | memory_limit = -1
                |                ^^
            hint: resources.profiles.NAME.memory_limit: the most memory a program may use, such as "512MB"
            x.toml:6:11: error: nan is out of range: more than 0, up to 1000000000 seconds
              6 | timeout = nan
                |           ^^^
            hint: resources.profiles.NAME.timeout: the seconds after which a program is ended
        "#]],
    );
}

#[test]
fn tables_and_values_are_not_mixed_up() {
    check(
        "kernel = 5\n[dap.enabled]\n[[repl]]\n",
        &expect![[r#"
        x.toml:1:10: error: expected a table, found an integer
          1 | kernel = 5
            |          ^
        hint: write [kernel], and its keys below
        x.toml:2:1: error: expected a boolean, found a table
          2 | [dap.enabled]
            | ^^^^^^^^^^^^^
        hint: dap.enabled: whether the kernel speaks DAP
        x.toml:3:1: error: expected a table, found an array
          3 | [[repl]]
            | ^^^^^^^^
        hint: write [repl], and its keys below
    "#]],
    );
    check(
        "[resources.profiles]\nmemory_limit = '1GB'\ndefault = 1",
        &expect![[r#"
        x.toml:2:16: error: expected a table, found a string
          2 | memory_limit = '1GB'
            |                ^^^^^
        hint: 'memory_limit' belongs one level deeper, such as in [resources.profiles.default]
        x.toml:3:11: error: expected a table, found an integer
          3 | default = 1
            |           ^
        hint: write [resources.profiles.default], and its keys below
    "#]],
    );
}

#[test]
fn errors_of_syntax_are_all_reported() {
    check(
        "[kernel]\nport = 1\nport = 2\nhost = a\n[global]\nlog_level = \"warn\n[kernel]\n[dap\nport = 1\n[repl]\nenabld = true",
        &expect![[r#"
            x.toml:3:1: error: duplicate key
              3 | port = 2
                | ^^^^
            x.toml:4:8: error: string values must be quoted, expected literal string
              4 | host = a
                |        ^
            hint: text is written in quotes: "a"
            x.toml:6:18: error: invalid basic string, expected `"`
              6 | log_level = "warn
                |                  ^
            x.toml:7:2: error: duplicate key
              7 | [kernel]
                |  ^^^^^^
            x.toml:8:5: error: unclosed table, expected `]`
              8 | [dap
                |     ^
            x.toml:11:1: error: unknown key 'enabld' in [repl]
              11 | enabld = true
                 | ^^^^^^
            hint: did you mean 'enabled'?
        "#]],
    );
    check(
        "kernel",
        &expect![[r#"
        x.toml:1:7: error: key with no value, expected `=`
          1 | kernel
            |       ^
    "#]],
    );
    check_bytes(
        b"[kernel]\nhost = \"\xff\"",
        &expect![[r#"
        x.toml:2:9: error: this is not UTF-8
          2 | host = "
            |         ^
    "#]],
    );
}

#[test]
fn lines_are_shown_as_terminals_can_show_them() {
    let long = format!("kernel = {{ port = 1, prot = 1{} }}", ", x = 1".repeat(40));
    check(
        &format!("\t[kernel]\n\t\"pört\"\t= 1 # {}\r\n", "x".repeat(200)),
        &expect![[r#"
        x.toml:2:2: error: unknown key 'pört' in [kernel]
          2 |  "pört" = 1 # xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
            |  ^^^^^^
        hint: did you mean 'port'?
    "#]],
    );
    let problems = read(long.as_bytes(), &[], &[]).unwrap_err();
    let widest = said(&problems).lines().map(str::len).max();
    assert!(widest.is_some_and(|widest| widest < 250), "{}", said(&problems));
    check(
        "kernel.port = \"\x1b[31m\"",
        &expect![[r#"
        x.toml:1:16: error: invalid basic string, expected non-double-quote visible characters, `\`
          1 | kernel.port = "�[31m"
            |                ^
    "#]],
    );
    check(
        "kernel.\"日本\" = 1",
        &expect![[r#"
        x.toml:1:8: error: unknown key '日本' in [kernel]
          1 | kernel."日本" = 1
            |        ^^^^^^
        hint: [kernel] has port, host, id, connection_file, idle_timeout, max_clients, shutdown_grace, token, limits
    "#]],
    );
}

#[test]
fn nothing_crashes_the_reader() {
    let files = [
        "a = ".to_owned() + &"[".repeat(100_000),
        "a.".repeat(50_000) + "b = 1",
        "a = ".to_owned() + &"{a = ".repeat(50_000),
        "[".repeat(10_000),
        "a = '''\n".to_owned() + &"ü".repeat(10_000),
        "\u{0}\u{1}\r\r\n= =\n\"".to_owned(),
    ];
    for file in files {
        assert!(!read(file.as_bytes(), &[], &[]).unwrap_err().is_empty());
    }
    // Cut anywhere, it may be wrong but is read.
    let whole = "[kernel]\nport = 9_600 # ü\nhost = \"\\u00e9\"\n[resources.profiles.\"ä\"]\nx = [1, { y = '''\n'''}]\n";
    for at in 0..whole.len() {
        let _ = read(&whole.as_bytes()[..at], &[], &[]);
    }
}

#[test]
fn variables_that_set_nothing_are_problems() {
    check_variables(
        &[
            ("LLMSPELL_KERNEL__PROT", "1"),
            ("LLMSPELL_GLOBAL__PORT", "1"),
            ("LLMSPELL_kernel__port", "1"),
            ("LLMSPELL_RESOURCES__PROFILES__BIG__TIMEOOT", "1"),
            ("LLMSPELL_FOO__BAR", "1"),
        ],
        &expect![[r#"
            LLMSPELL_FOO__BAR: error: this variable sets no key
            LLMSPELL_GLOBAL__PORT: error: this variable sets no key
            hint: did you mean 'LLMSPELL_KERNEL__PORT'?
            LLMSPELL_KERNEL__PROT: error: this variable sets no key
            hint: did you mean 'LLMSPELL_KERNEL__PORT'?
            LLMSPELL_RESOURCES__PROFILES__BIG__TIMEOOT: error: this variable sets no key
            hint: did you mean 'LLMSPELL_RESOURCES__PROFILES__BIG__TIMEOUT'?
            LLMSPELL_kernel__port: error: this variable sets no key
            hint: did you mean 'LLMSPELL_KERNEL__PORT'?
        "#]],
    );
    check_variables(
        &[
            ("LLMSPELL_KERNEL__PORT", "70000"),
            ("LLMSPELL_DAP__ENABLED", "yes"),
            ("LLMSPELL_GLOBAL__LOG_LEVEL", "tracing"),
            ("LLMSPELL_KERNEL__IDLE_TIMEOUT", "soon"),
        ],
        &expect![[r#"
            LLMSPELL_DAP__ENABLED: error: expected true or false, found 'yes'
            hint: dap.enabled: whether the kernel speaks DAP
            LLMSPELL_GLOBAL__LOG_LEVEL: error: expected one of off, error, warn, info, debug, trace, found 'tracing'
            hint: global.log_level: how much is logged on standard error, unless --trace or RUST_LOG says otherwise
            LLMSPELL_KERNEL__IDLE_TIMEOUT: error: expected a number of seconds, found 'soon'
            hint: kernel.idle_timeout: the seconds without clients and work after which the kernel ends; 0 means never
            LLMSPELL_KERNEL__PORT: error: 70000 is out of range: 0 to 65531
            hint: kernel.port: the first of the five ports in a row of a kernel; 0 means any that are free
        "#]],
    );
    let bytes = OsString::from_vec(vec![0xff]);
    let search = file::Search { found: None, looked: Vec::new() };
    let problems = assemble(search, &[("LLMSPELL_KERNEL__ID".into(), bytes)], &[]).unwrap_err();
    assert_eq!(said(&problems), "LLMSPELL_KERNEL__ID: error: its value is not UTF-8\n");
}
