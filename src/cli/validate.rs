//! `llmspell validate`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};

use super::output::OutputFormat;
use crate::config::{self, Loaded, Origin, Place, Problem};

/// Arguments of `validate`.
#[derive(Args, Debug)]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    output: OutputFormat,
}

/// Says what is wrong with the configuration, or that nothing is.
pub(super) fn validate(arguments: &ValidateArguments, choice: Option<&Path>) -> ExitCode {
    match config::load(choice, &[]) {
        Ok(loaded) => {
            arguments.output.print(|| praise(&loaded), || json!([]));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let values = || problems.iter().map(as_json).collect();
            arguments.output.print(|| list(&problems), values);
            ExitCode::FAILURE
        }
    }
}

/// All problems, one behind the other.
pub(super) fn list(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("{}\n{count}", texts.join("\n"))
}

fn praise(loaded: &Loaded) -> String {
    let rows = loaded.rows();
    let count =
        |wanted: fn(&Origin) -> bool| match rows.iter().filter(|it| wanted(&it.origin)).count() {
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        };
    let file = match &loaded.file {
        Some(path) => {
            let keys = count(|origin| matches!(origin, Origin::File { .. }));
            format!("{}: ok, sets {keys}", path.display())
        }
        None => format!(
            "no configuration file, the defaults hold; looked for {}",
            places(&loaded.looked)
        ),
    };
    let is_variable = |origin: &Origin| matches!(origin, Origin::Environment(_));
    if rows.iter().any(|row| is_variable(&row.origin)) {
        return format!("{file}\nenvironment: ok, sets {}", count(is_variable));
    }
    file
}

fn places(looked: &[PathBuf]) -> String {
    let places: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    places.join(", then ")
}

fn as_json(problem: &Problem) -> Value {
    let (mut file, mut line, mut column, mut variable) = (None, None, None, None);
    match &problem.place {
        Place::File(path, spot) => {
            file = Some(path.to_string_lossy());
            line = spot.as_ref().map(|spot| spot.line);
            column = spot.as_ref().map(|spot| spot.column);
        }
        Place::Variable(name) => variable = Some(name),
        // Those of `validate` set nothing.
        Place::Flag(_) => {}
    }
    json!({
        "file": file,
        "line": line,
        "column": column,
        "variable": variable,
        "offending": problem.offending,
        "message": problem.message,
        "hint": problem.hint,
    })
}
