//! Settings from the environment and the command line. Both are text that TOML
//! has never seen, and have a name of their own to blame.

use std::ffi::OsString;

use super::{
    FlagSetting, KEYS, Origin, Settings,
    keys::{self, Found, WILDCARD},
    problem::{MASK, Place, Problem},
    suggest,
};

/// What variables begin with; between the parts of a path are two underscores.
pub(super) const PREFIX: &str = "LLMSPELL_";

/// Takes what variables say. Empty ones count as not set.
pub(super) fn take_variables(
    variables: &[(OsString, OsString)],
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let mut ours: Vec<(&str, &OsString)> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| name[PREFIX.len()..].contains("__"))
        .collect();
    ours.sort_unstable();
    for (name, value) in ours {
        let place = Place::Variable(name.to_owned());
        let Some((index, wildcard)) = key_of(name, settings) else {
            problems.push(Problem {
                place,
                offending: name.to_owned(),
                message: "this variable sets no key".to_owned(),
                hint: suggest::for_variable(name),
            });
            continue;
        };
        let Some(text) = value.to_str() else {
            let message = "its value is not UTF-8".to_owned();
            problems.push(Problem { place, offending: String::new(), message, hint: None });
            continue;
        };
        take(text, (index, wildcard), &place, settings, problems);
    }
}

/// Takes what flags say.
pub(super) fn take_flags(
    flags: &[FlagSetting],
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    for FlagSetting { key, value, flag } in flags {
        let place = Place::Flag((*flag).to_owned());
        let path: Vec<&str> = key.split('.').collect();
        if let Found::Key(index, name) = keys::find(&path) {
            take(value, (index, name), &place, settings, problems);
        } else {
            let message = format!("there is no key '{key}'");
            problems.push(Problem { place, offending: value.clone(), message, hint: None });
        }
    }
}

fn take(
    text: &str,
    (index, name): (usize, String),
    place: &Place,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let key = &KEYS[index];
    // Paths are relative to where the process is.
    match key.kind.parse(text, "".as_ref()) {
        Ok(value) => {
            let origin = match place {
                Place::Variable(name) => Origin::Environment(name.clone()),
                Place::Flag(name) => Origin::Flag(name.clone()),
                Place::File(path, _) => Origin::File { path: path.clone(), line: 0 },
            };
            settings.set(index, name, value, origin);
        }
        Err(fault) => problems.push(Problem {
            place: place.clone(),
            offending: if key.secret { MASK.to_owned() } else { text.to_owned() },
            message: fault.message,
            hint: Some(fault.hint.unwrap_or_else(|| key.explained())),
        }),
    }
}

/// The key that a variable sets, and what stands for `NAME`: a name that the
/// file has, however it is capitalized, else in small letters.
fn key_of(variable: &str, settings: &Settings) -> Option<(usize, String)> {
    let given: Vec<&str> = variable.strip_prefix(PREFIX)?.split("__").collect();
    for (index, key) in KEYS.iter().enumerate() {
        let parts: Vec<&str> = key.parts().collect();
        let matches = |(part, given): (&&str, &&str)| {
            if *part == WILDCARD { !given.is_empty() } else { part.to_ascii_uppercase() == **given }
        };
        if parts.len() == given.len() && parts.iter().zip(&given).all(matches) {
            let at = parts.iter().position(|part| *part == WILDCARD);
            let name = at.map_or_else(String::new, |at| {
                let mut names = settings.names();
                let known = names.find(|name| name.eq_ignore_ascii_case(given[at]));
                known.map_or_else(|| given[at].to_ascii_lowercase(), str::to_owned)
            });
            return Some((index, name));
        }
    }
    None
}
