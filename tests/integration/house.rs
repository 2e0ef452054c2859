//! The rules of the house, held by tests: who may use whom, what every file
//! begins with, how long it may be, where `unsafe` is, what the docs mention.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::lab::{finish, llmspell};

/// Files in which `unsafe` is allowed: they touch Lua's C API or libc.
const UNSAFE: &[&str] = &[
    "src/debug/calls.rs",
    "src/debug/capture.rs",
    "src/debug/completion.rs",
    "src/debug/condition.rs",
    "src/debug/core.rs",
    "src/debug/errors.rs",
    "src/debug/evaluate.rs",
    "src/debug/hook.rs",
    "src/debug/inspector.rs",
    "src/debug/loading.rs",
    "src/debug/render.rs",
    "src/debug/render/whole.rs",
    "src/debug/scratch.rs",
    "src/debug/shared.rs",
    "src/debug/stack.rs",
    "src/debug/step.rs",
    "src/debug/stop.rs",
    "src/debug/targets.rs",
    "src/debug/variables.rs",
    "src/debug/variables/assign.rs",
    "src/debug/variables/children.rs",
    "src/debug/vm.rs",
    "src/kernel/daemon.rs",
    "src/kernel/process.rs",
    "src/kernel/signals.rs",
    "src/lua/layout.rs",
    "src/lua/raw.rs",
    "src/repl/terminal.rs",
    "src/tui/terminal.rs",
];

/// Files longer than this need a reason; there is none.
const MOST_LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below some directories, with their text, by path from the root.
fn rust_files(directories: &[&str]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|name| root().join(name)).collect();
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("it is below the root");
                let text = fs::read_to_string(&path).expect("a source is text");
                files.insert(name.to_string_lossy().into_owned(), text);
            }
        }
    }
    assert!(!files.is_empty());
    files
}

/// The code of a file, without comments. Good enough for `use` and paths.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The room of a path such as `src/debug/hook.rs`; protocols count one by one.
fn room(path: &str) -> String {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    match (first, parts.next()) {
        ("main", _) => "cli".to_owned(),
        ("protocols", Some(protocol)) => format!("protocols/{protocol}"),
        _ => first.to_owned(),
    }
}

/// What follows each `crate::`, as far as rooms go: `debug`, `protocols/dap`.
fn arrows(path: &str, text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // Not `$crate::` or the end of another name.
        let before = code[..at].chars().next_back();
        if before.is_none_or(|it| !it.is_alphanumeric() && it != '_') {
            targets(&code[at + "crate::".len()..], "", &mut found);
        }
    }
    // `super::` may climb out of a protocol into its neighbor.
    if let Some(rest) = path.strip_prefix("src/protocols/") {
        let depth = rest.trim_end_matches(".rs").matches('/').count() + 1;
        let climb = "super::".repeat(depth);
        for (at, _) in code.match_indices(climb.as_str()) {
            if !code[..at].ends_with("super::") {
                targets(&code[at + climb.len()..], "protocols/", &mut found);
            }
        }
    }
    found
}

/// Reads the tree of names at the start of `text`: `a::b`, `{a::{b, c}, d}`.
fn targets(text: &str, prefix: &str, found: &mut BTreeSet<String>) {
    let text = text.trim_start();
    if let Some(inside) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, it) in inside.char_indices() {
            match it {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    targets(&inside[start..at], prefix, found);
                    start = at + 1;
                }
                '}' if depth == 0 => return targets(&inside[start..at], prefix, found),
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if name == "protocols" && prefix.is_empty() => {
            targets(rest, "protocols/", found);
        }
        _ if name.is_empty() => {}
        _ => {
            found.insert(format!("{prefix}{name}"));
        }
    }
}

#[test]
fn trees_of_names_are_read_right() {
    let check = |text: &str, expected: &[&str]| {
        let found = arrows("src/x.rs", text);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
    };
    check("use crate::debug::Vm;", &["debug"]);
    check("use crate::{api, debug::{A, b::C}, lua::raw};", &["api", "debug", "lua"]);
    check(
        "use crate::{\n  protocols::{codec::X, dap::{Y, Z}},\n};",
        &["protocols/codec", "protocols/dap"],
    );
    check("fn f() { crate::debug::quoted(); let x = crate::lua::raw::X; }", &["debug", "lua"]);
    check("// crate::debug", &[]);
    let found = arrows("src/protocols/dap/server.rs", "use super::super::codec::X;");
    assert_eq!(found.iter().collect::<Vec<_>>(), ["protocols/codec"]);
}

/// The table of ARCHITECTURE.md with the columns `room` and `may use`.
fn floors() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_matches('|');
        line.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| {
        let cells = cells(line);
        !(cells.iter().any(|cell| cell == "room") && cells.iter().any(|cell| cell == "may use"))
    });
    let header = cells(lines.next().expect("ARCHITECTURE.md has the table of rooms"));
    let column = |name: &str| header.iter().position(|cell| cell == name).expect("just seen");
    let (room, may_use) = (column("room"), column("may use"));
    let rows = lines.skip(1).take_while(|line| line.trim_start().starts_with('|'));
    let mut floors = BTreeMap::new();
    for row in rows {
        let row = cells(row);
        // One row may have several rooms: `main.rs`, `cli/`.
        for name in row[room].split([',', ' ']).filter(|name| !name.is_empty()) {
            let name = name.trim_start_matches("src/").trim_end_matches('/');
            let name = name.trim_end_matches(".rs").trim_end_matches("/*");
            let name = if name == "main" { "cli" } else { name };
            floors.insert(name.to_owned(), row[may_use].clone());
        }
    }
    floors
}

/// Files that only declare what is below them.
const DECLARATIONS: [&str; 2] = ["src/lib.rs", "src/protocols.rs"];

#[test]
fn arrows_point_downward_only() {
    let floors = floors();
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&["src"]) {
        if DECLARATIONS.contains(&path.as_str()) {
            continue;
        }
        let here = room(&path);
        let general = here.split('/').next().unwrap_or_default();
        let Some(may_use) = floors.get(&here).or_else(|| floors.get(general)) else {
            wrong.push(format!("{path}: the room '{here}' is in no floor table"));
            continue;
        };
        let allowed: Vec<&str> = may_use.split(',').map(str::trim).collect();
        if allowed == ["everything"] {
            continue;
        }
        for target in arrows(&path, &text) {
            let inside = target == here || (general == here && target == general);
            let there = target.split('/').next().unwrap_or_default();
            if !inside && !allowed.contains(&target.as_str()) && !allowed.contains(&there) {
                wrong.push(format!("{path} uses {target}, but '{here}' may use only: {may_use}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_table_exists() {
    let rooms: BTreeSet<String> = rust_files(&["src"]).keys().map(|path| room(path)).collect();
    for floor in floors().keys() {
        let has_it = |it: &String| it == floor || it.starts_with(&format!("{floor}/"));
        assert!(rooms.iter().any(has_it), "nobody lives in '{floor}'");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in rust_files(&["src", "tests", "examples", "benches"]) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 15, "{path} opens with: {first}");
    }
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in rust_files(&["src", "tests", "examples", "benches"]) {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines");
    }
}

#[test]
fn unsafe_is_where_it_is_known_to_be() {
    let mut found = Vec::new();
    for (path, text) in rust_files(&["src"]) {
        if text.contains("#![allow(unsafe_code)]") {
            found.push(path);
        } else {
            let words = code(&text).replace("unsafe_code", "");
            assert!(!words.contains("unsafe "), "{path} has unsafe code without saying so");
        }
    }
    assert_eq!(found, UNSAFE, "review what is new, then put it into the list");
}

#[test]
fn nobody_promises_without_a_name() {
    for (path, text) in rust_files(&["src", "tests", "examples", "benches"]) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in ["TO\u{44}O", "FIX\u{4d}E", "X\u{58}X"] {
                let promise = line.contains(word) && !line.contains(&format!("{word}("));
                assert!(!promise, "{path}:{number}: {line}");
            }
        }
    }
}

/// Words of a help text: its commands, its long flags.
fn help(arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let text = finish(llmspell().args(arguments), b"").stdout();
    let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    let words = text.split([' ', ',', '\n', '[', ']', '=']);
    let flags: BTreeSet<String> =
        words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect();
    (commands.filter(|name| name != "help").collect(), flags.into_iter().collect())
}

#[test]
fn the_docs_mention_every_command_and_flag() {
    let mut documents = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let Ok(entries) = fs::read_dir(root().join("docs")) else {
        // Written by and by; nothing to hold yet.
        return;
    };
    for entry in entries {
        let path = entry.expect("docs/ can be read").path();
        documents += &fs::read_to_string(path).unwrap_or_default();
    }
    let (commands, mut flags) = help(&["--help"]);
    assert!(commands.len() >= 3, "{commands:?}");
    for command in &commands {
        flags.extend(help(&[command, "--help"]).1);
        assert!(
            documents.contains(&format!("llmspell {command}")),
            "'{command}' is in no document"
        );
    }
    for flag in flags {
        assert!(documents.contains(&flag), "'{flag}' is in no document");
    }
}
