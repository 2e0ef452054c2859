//! The documentation is true: its Lua runs and prints what it says, and it names
//! every command, flag and function that there is.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

/// A block of Lua, and the output that the documentation promises.
struct Example {
    /// File and line of its fence.
    place: String,
    lua: String,
    output: Option<String>,
}

#[test]
fn lua_in_the_documentation_runs() {
    let mut paths = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|it| it == "md")));
    let examples: Vec<Example> = paths.iter().flat_map(|path| examples(path)).collect();
    assert!(!examples.is_empty(), "no examples were found");
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("example.lua");
    for Example { place, lua, output } in examples {
        fs::write(&script, &lua).unwrap();
        let ran = llmspell(&["run", "--timeout", "20", script.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{place} fails:\n{said}");
        if let Some(output) = output {
            assert_eq!(String::from_utf8_lossy(&ran.stdout), output, "{place}\n{said}");
        }
    }
}

#[test]
fn the_command_line_is_documented() {
    let documentation = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let names = |word: &str| documentation.contains(&format!("`{word}"));
    let help = help(&[]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> =
        commands.map_while(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(commands.contains(&"run"), "no commands in:\n{help}");
    for command in &commands {
        assert!(names(command), "docs/cli.md does not name the command '{command}'");
    }
    let mut flags = flags_of(&help);
    for command in commands.iter().filter(|command| **command != "help") {
        flags.extend(flags_of(&self::help(&[command])));
    }
    assert!(flags.contains("--dap"), "no flags in:\n{help}");
    for flag in flags {
        assert!(names(&flag), "docs/cli.md does not name the flag '{flag}'");
    }
}

#[test]
fn the_scripting_api_is_documented() {
    let documentation = fs::read_to_string(root().join("docs/scripting-api.md")).unwrap();
    let list = "for _, name in ipairs({ 'Async', 'Debug' }) do \
                for key in pairs(_G[name]) do print(name .. '.' .. key) end end";
    let listed = llmspell(&["exec", list]).stdout;
    let members: BTreeSet<String> =
        String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect();
    assert!(members.contains("Debug.breakpoint"), "{members:?}");
    for member in &members {
        assert!(documentation.contains(member.as_str()), "{member} is not documented");
    }
    // The other way round, as far as names can be told from prose.
    for start in ["Async.", "Debug."] {
        for (index, _) in documentation.match_indices(start) {
            let rest = &documentation[index + start.len()..];
            let length = rest.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let member = format!("{start}{}", &rest[..length]);
            assert!(members.contains(&member), "{member} is documented and does not exist");
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn llmspell(arguments: &[&str]) -> Output {
    crate::lab::llmspell().args(arguments).output().expect("llmspell starts")
}

fn help(command: &[&str]) -> String {
    let output = llmspell(&[command, &["--help"]].concat());
    assert!(output.status.success(), "{command:?} has no help");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The long flags that a help text lists.
fn flags_of(help: &str) -> BTreeSet<String> {
    let options = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = options.flat_map(|line| line.split([' ', ',', '=']).take(3));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

/// The ```` ```lua ```` blocks of a file; a ```` ```text ```` block right behind
/// one is its output.
fn examples(path: &Path) -> Vec<Example> {
    let text = fs::read_to_string(path).expect("the documentation can be read");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut examples: Vec<Example> = Vec::new();
    // Whether nothing but blank lines has come since the last example.
    let mut right_behind = false;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            right_behind &= line.trim().is_empty();
            continue;
        };
        let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let block: String = block.flat_map(|line| [line, "\n"]).collect();
        match (language, examples.last_mut()) {
            ("lua", _) => {
                let place = format!("{name}:{}", index + 1);
                examples.push(Example { place, lua: block, output: None });
            }
            ("text", Some(example)) if right_behind => example.output = Some(block),
            _ => {}
        }
        right_behind = language == "lua";
    }
    examples
}
