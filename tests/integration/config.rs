//! The configuration as a user meets it: where it is looked for, what it does to
//! commands, and what `validate` says.

use std::{fs, path::Path, process::Command};

use expect_test::{Expect, expect, expect_file};
use llmspell::config::{KEYS, Key};

use crate::{
    dap_client::DapClient,
    lab::{Ended, Lab, finish, llmspell},
};

/// The binary in a directory of its own, with these arguments.
fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = llmspell();
    command.current_dir(lab.path()).env("HOME", lab.path()).env_remove("XDG_CONFIG_HOME");
    command.args(arguments);
    command
}

fn ended(lab: &Lab, arguments: &[&str]) -> Ended {
    finish(&mut command(lab, arguments), b"").in_place_of(lab.path())
}

/// What `validate` says of a file.
fn check(file: &str, expected: &Expect) {
    let lab = Lab::new();
    lab.write("llmspell.toml", file);
    expected.assert_eq(&ended(&lab, &["validate"]).report());
}

#[test]
fn validate_lists_every_problem() {
    check(
        "[kernel]\nprot = 9600\nport = \"9600\"\n\n[global]\nlog_level = \"loud\"\n[dap\n",
        &expect![[r#"
            exit code: 1
            stdout:
            llmspell.toml:2:1: error: unknown key 'prot' in [kernel]
              2 | prot = 9600
                | ^^^^
            hint: did you mean 'port'?
            llmspell.toml:3:8: error: expected an integer, found a string
              3 | port = "9600"
                |        ^^^^^^
            hint: write it without quotes: 9600
            llmspell.toml:6:13: error: expected one of off, error, warn, info, debug, trace, found 'loud'
              6 | log_level = "loud"
                |             ^^^^^^
            hint: global.log_level: how much is logged on standard error, unless --trace or RUST_LOG says otherwise
            llmspell.toml:7:5: error: unclosed table, expected `]`
              7 | [dap
                |     ^
            4 problems
            stderr:
        "#]],
    );
}

#[test]
fn validate_says_what_is_well() {
    check(
        "[kernel]\nport = 9600\nlimits.max_memory_mb = 5\n",
        &expect![[r#"
        exit code: 0
        stdout:
        [DIR]/llmspell.toml: ok, sets 2 keys
        stderr:
    "#]],
    );
    let lab = Lab::new();
    expect![[r#"
        exit code: 0
        stdout:
        no configuration file, the defaults hold; looked for llmspell.toml, then [DIR]/.config/llmspell/config.toml
        stderr:
    "#]].assert_eq(&ended(&lab, &["validate"]).report());
    let mut command = command(&lab, &["validate"]);
    command.env("LLMSPELL_DAP__ENABLED", "false").env("XDG_CONFIG_HOME", lab.path());
    expect![[r#"
        exit code: 0
        stdout:
        no configuration file, the defaults hold; looked for llmspell.toml, then [DIR]/llmspell/config.toml
        environment: ok, sets 1 key
        stderr:
    "#]].assert_eq(&finish(&mut command, b"").in_place_of(lab.path()).report());
}

#[test]
fn validate_prints_json_for_programs() {
    let lab = Lab::new();
    lab.write("x.toml", "[kernel]\nprot = 9600\n");
    let mut wrong = command(&lab, &["validate", "--output", "json", "-c", "x.toml"]);
    wrong.env("LLMSPELL_DAP__PORT", "many");
    expect![[r#"
        exit code: 1
        stdout:
        [
          {
            "column": 1,
            "file": "x.toml",
            "hint": "did you mean 'port'?",
            "line": 2,
            "message": "unknown key 'prot' in [kernel]",
            "offending": "prot",
            "variable": null
          },
          {
            "column": null,
            "file": null,
            "hint": "dap.port: the port of the kernel's DAP; without it, the one behind kernel.port; 0 means any that is free",
            "line": null,
            "message": "expected an integer, found 'many'",
            "offending": "many",
            "variable": "LLMSPELL_DAP__PORT"
          }
        ]
        stderr:
    "#]].assert_eq(&finish(&mut wrong, b"").report());
    lab.write("x.toml", "");
    let well = ended(&lab, &["-c", "x.toml", "validate", "--output=json"]);
    assert_eq!((well.code, well.stdout().as_str()), (Some(0), "[]\n"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let lab = Lab::new();
    lab.write("llmspell.toml", "");
    expect![[r#"
        exit code: 1
        stdout:
        stderr:
        Error: the configuration is wrong
        no.toml: error: cannot read the configuration: No such file or directory (os error 2)
        1 problem
    "#]]
    .assert_eq(&ended(&lab, &["exec", "-c", "no.toml", "1"]).report());
    let mut by_variable = command(&lab, &["exec", "1"]);
    by_variable.env("LLMSPELL_CONFIG", "no.toml");
    expect![[r#"
        exit code: 1
        stdout:
        stderr:
        Error: the configuration is wrong
        no.toml: error: cannot read the configuration: No such file or directory (os error 2)
        hint: the variable LLMSPELL_CONFIG names this file
        1 problem
    "#]]
    .assert_eq(&finish(&mut by_variable, b"").report());
    expect![[r#"
        exit code: 1
        stdout:
        .: error: cannot read the configuration: Is a directory (os error 21)
        1 problem
        stderr:
    "#]]
    .assert_eq(&ended(&lab, &["validate", "-c", "."]).report());
}

#[test]
fn the_first_file_that_is_there_is_read() {
    let lab = Lab::new();
    let read = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(&lab, &[arguments, &["validate"]].concat());
        let ended = finish(command.envs(variables.iter().copied()), b"").in_place_of(lab.path());
        let text = ended.stdout();
        text.split(": ok").next().expect("there is something").to_owned()
    };
    lab.write(".config/llmspell/config.toml", "");
    assert_eq!(read(&[], &[]), "[DIR]/.config/llmspell/config.toml");
    lab.write("xdg/llmspell/config.toml", "");
    let xdg = lab.path().join("xdg");
    let xdg = [("XDG_CONFIG_HOME", xdg.to_str().expect("it is text"))];
    assert_eq!(read(&xdg, &[]), "[DIR]/xdg/llmspell/config.toml");
    // The specification says that a relative one is to be ignored.
    assert_eq!(read(&[("XDG_CONFIG_HOME", "xdg")], &[]), "[DIR]/.config/llmspell/config.toml");
    lab.write("llmspell.toml", "");
    assert_eq!(read(&xdg, &[]), "[DIR]/llmspell.toml");
    lab.write("b.toml", "");
    assert_eq!(read(&[("LLMSPELL_CONFIG", "b.toml")], &[]), "[DIR]/b.toml");
    lab.write("c.toml", "");
    assert_eq!(read(&[("LLMSPELL_CONFIG", "b.toml")], &["--config", "c.toml"]), "[DIR]/c.toml");
    assert_eq!(read(&[("LLMSPELL_CONFIG", "")], &["-cc.toml"]), "[DIR]/c.toml");
    assert_eq!(read(&[("LLMSPELL_CONFIG", "")], &[]), "[DIR]/llmspell.toml");
}

#[test]
fn a_broken_configuration_stops_every_command() {
    let lab = Lab::new();
    lab.write("llmspell.toml", "[kernel]\nprot = 1\n[repl]\nenabled = 1\n");
    let script = lab.write("main.lua", "print('runs')");
    let report = ended(&lab, &["run", script.to_str().expect("it is text")]).report();
    expect![[r#"
        exit code: 1
        stdout:
        stderr:
        Error: the configuration is wrong
        llmspell.toml:2:1: error: unknown key 'prot' in [kernel]
          2 | prot = 1
            | ^^^^
        hint: did you mean 'port'?
        llmspell.toml:4:11: error: expected a boolean, found an integer
          4 | enabled = 1
            |           ^
        hint: repl.enabled: whether the kernel has a REPL for plain lines of text
        2 problems
    "#]]
    .assert_eq(&report);
    for arguments in [&["exec", "print('runs')"][..], &["--trace", "off", "dap"]] {
        assert_eq!(ended(&lab, arguments).report(), report, "{arguments:?}");
    }
}

#[test]
fn profiles_limit_scripts_unless_flags_do() {
    let lab = Lab::new();
    lab.write("time.toml", "[resources.profiles.default]\ntimeout = 0.2");
    let endless = lab.write("endless.lua", "while true do end");
    let endless = endless.to_str().expect("it is text");
    assert_eq!(ended(&lab, &["run", "-c", "time.toml", endless]).code, Some(124));
    assert_eq!(ended(&lab, &["-c", "time.toml", "exec", "while true do end"]).code, Some(124));
    lab.write("llmspell.toml", "[resources.profiles.default]\nmemory_limit = '16MB'\ntimeout = 60");
    let large = "#string.rep('x', 1 << 25)";
    let refused = ended(&lab, &["exec", large]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (Some(1), "Error: Memory limit exceeded\n")
    );
    let allowed = ended(&lab, &["exec", "--memory", "1GB", large]);
    assert_eq!(allowed.stdout(), "33554432\n", "{}", allowed.stderr);
    let hurried = ended(&lab, &["exec", "--timeout", "0.2", "while true do end"]);
    assert_eq!(hurried.code, Some(124), "{}", hurried.stderr);
    let mut by_variable = command(&lab, &["exec", large]);
    by_variable.env("LLMSPELL_RESOURCES__PROFILES__DEFAULT__MEMORY_LIMIT", "1GB");
    assert_eq!(finish(&mut by_variable, b"").stdout(), "33554432\n");
}

#[test]
fn the_log_level_is_the_flags_or_the_configurations() {
    let lab = Lab::new();
    lab.write("llmspell.toml", "[global]\nlog_level = 'info'\n[logging]\nlog_level = 'trace'");
    let code = "Debug.error('e') Debug.warn('w') Debug.info('i') Debug.debug('d')";
    let logged = |command: &mut Command| {
        let text = finish(command, b"").stderr;
        ["ERROR", "WARN", "INFO", "DEBUG"].map(|level| text.contains(level))
    };
    assert_eq!(logged(&mut command(&lab, &["exec", code])), [true, true, true, false]);
    let with_flag = &["exec", "--trace", "error", code];
    assert_eq!(logged(&mut command(&lab, with_flag)), [true, false, false, false]);
    let mut by_variable = command(&lab, &["exec", code]);
    by_variable.env("LLMSPELL_GLOBAL__LOG_LEVEL", "debug");
    assert_eq!(logged(&mut by_variable), [true; 4]);
    assert_eq!(logged(by_variable.env("RUST_LOG", "off")), [false; 4]);
    fs::remove_file(lab.path().join("llmspell.toml")).expect("it is there");
    assert_eq!(logged(&mut command(&lab, &["exec", code])), [true, true, false, false]);
}

#[test]
fn waiting_for_a_debugger_is_for_those_who_let_one_in() {
    let lab = Lab::new();
    lab.write("llmspell.toml", "[dap]\nwait_for_debugger = true");
    assert_eq!(ended(&lab, &["exec", "1 + 1"]).stdout(), "2\n");
    let script = lab.write("main.lua", "print('line 1')");
    let mut waiting = command(&lab, &["run", "--dap", "0"]);
    let mut client = DapClient::spawn_tcp(waiting.arg(&script));
    client.initialize();
    let attach = client.send("attach", serde_json::json!({}));
    client.expect_event("initialized");
    // The script has not gone by: it can still be stopped in its first line.
    client.set_breakpoints(&script, &[1]);
    client.request("configurationDone", serde_json::Value::Null);
    client.answer(attach).expect("attaching succeeds");
    client.expect_stop("breakpoint");
}

#[test]
fn a_chosen_configuration_is_also_that_of_debugged_scripts() {
    let lab = Lab::new();
    lab.write("x.toml", "[resources.profiles.default]\ntimeout = 0.2");
    let script = lab.write("elsewhere/main.lua", "while true do end");
    let mut client = DapClient::spawn(&mut command(&lab, &["-c", "x.toml", "dap"]));
    client.initialize();
    let directory = script.parent().expect("it has a folder");
    let launch = serde_json::json!({ "program": script, "cwd": directory });
    let launch = client.send("launch", launch);
    client.expect_event("initialized");
    client.request("configurationDone", serde_json::Value::Null);
    client.answer(launch).expect("launching succeeds");
    assert_eq!(client.expect_event("exited")["exitCode"], 124);
}

/// What docs/configuration.md says about all keys; `UPDATE_EXPECT=1` writes it.
#[test]
fn the_documentation_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(&path).expect("it can be read");
    let (start, end) = ("<!-- keys -->\n", "<!-- end of keys -->");
    let (before, rest) = text.split_once(start).expect("it has a mark");
    let (_, after) = rest.split_once(end).expect("it has another mark");
    let mut tables = String::new();
    let mut last = "";
    for key in KEYS {
        let (section, name) = key.path.rsplit_once('.').expect("every key is in a section");
        if section != last {
            tables += &format!(
                "\n### `[{section}]`\n\n| key | type | default | live | meaning |\n| --- | --- | --- | --- | --- |\n"
            );
            last = section;
        }
        tables += &row(key, name);
    }
    expect_file![path].assert_eq(&format!("{before}{start}{tables}\n{end}{after}"));
}

fn row(key: &Key, name: &str) -> String {
    let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
    let live = if key.reloadable { "yes" } else { "no" };
    let secret = if key.secret { " (secret)" } else { "" };
    format!("| `{name}` | {}{secret} | {default} | {live} | {} |\n", key.kind, key.meaning)
}
