//! "Did you mean": what a name that is no key's may have been meant to be.
//!
//! First what is spelled like it at the same place, then what is called so
//! elsewhere, then what is spelled like it elsewhere. Nothing far-fetched: a
//! wrong suggestion is worse than the list of what there is.

use std::collections::BTreeSet;

use super::{
    KEYS, Key,
    environment::PREFIX,
    keys::{WILDCARD, joined},
};

/// What a name that is unknown in a section may have been meant to be.
pub(super) fn for_key(section: &[&str], name: &str) -> String {
    let siblings = names_in(section);
    let longer = || {
        let is_part = |word: &&str| {
            word.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
                || word.strip_suffix(name).is_some_and(|rest| rest.ends_with('_'))
        };
        siblings.iter().copied().find(is_part)
    };
    if let Some(sibling) = closest(name, &siblings).or_else(longer) {
        return format!("did you mean '{sibling}'?");
    }
    let paths = all_paths();
    let called = |wanted: &str| -> Vec<String> {
        let same = paths.iter().filter(|path| path.last().is_some_and(|last| *last == wanted));
        same.map(|path| format!("'{}'", joined(path))).collect()
    };
    let mut meant = called(name);
    if meant.is_empty() {
        let leaves: Vec<&str> = paths.iter().filter_map(|path| path.last().copied()).collect();
        meant = closest(name, &leaves).map(called).unwrap_or_default();
    }
    if !meant.is_empty() {
        return format!("did you mean {}?", meant.join(" or "));
    }
    if section.is_empty() {
        return format!("there are the sections {}", siblings.join(", "));
    }
    format!("[{}] has {}", joined(section), siblings.join(", "))
}

/// What a variable that sets no key may have been meant to be.
pub(super) fn for_variable(variable: &str) -> Option<String> {
    let given = variable.strip_prefix(PREFIX)?.to_ascii_uppercase();
    let parts: Vec<&str> = given.split("__").collect();
    let candidates: Vec<String> = KEYS
        .iter()
        .map(|key| {
            // A name of the user's stays as it is.
            let name = key.parts().position(|part| part == WILDCARD);
            let name = name.and_then(|at| parts.get(at).copied()).unwrap_or(WILDCARD);
            key.variable()[PREFIX.len()..].replace(WILDCARD, name)
        })
        .collect();
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let leaf = parts.last().copied().unwrap_or_default();
    let same_leaf = |key: &&Key| key.leaf().eq_ignore_ascii_case(leaf);
    closest(&given, &candidates)
        .map(|it| format!("{PREFIX}{it}"))
        .or_else(|| KEYS.iter().find(same_leaf).map(Key::variable))
        .map(|it| format!("did you mean '{it}'?"))
}

/// The word that is spelled most like this one, if any is.
pub(super) fn closest<'a>(name: &str, words: &[&'a str]) -> Option<&'a str> {
    let most = (name.chars().count() / 4).clamp(1, 2);
    let distances = words.iter().map(|word| (strsim::damerau_levenshtein(name, word), *word));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, word)| word)
}

/// What there is in a section, in the order of the table.
fn names_in(section: &[&str]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let parts: Vec<&str> = key.parts().collect();
        let inside = parts.iter().zip(section).all(|(part, it)| *part == WILDCARD || part == it);
        if inside
            && let Some(name) = parts.get(section.len())
            && !names.contains(name)
        {
            names.push(name);
        }
    }
    names
}

/// The paths of all keys and of the sections that they are in, in the order of
/// the table.
fn all_paths() -> Vec<Vec<&'static str>> {
    let paths = KEYS.iter().map(|key| key.parts().collect::<Vec<_>>());
    let all = paths.flat_map(|path| (1..=path.len()).map(move |n| path[..n].to_vec()));
    let mut all: Vec<_> = all.filter(|path| path.last() != Some(&WILDCARD)).collect();
    let mut seen = BTreeSet::new();
    all.retain(|path| seen.insert(path.clone()));
    all
}
