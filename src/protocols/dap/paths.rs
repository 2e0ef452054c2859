//! Paths as the client spells them and as the debuggee does.
//!
//! Two translations: file URIs for clients that ask for them, and debugpy's
//! `pathMappings` for an editor that sees the files somewhere else than the
//! program does, possibly on Windows, where `\` separates and case is nothing.

use std::path::Path;

use serde::Deserialize;

/// One entry of `pathMappings`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PathMapping {
    /// Where the client sees the files.
    pub(super) local_root: String,
    /// Where the program sees them; relative to its working directory.
    pub(super) remote_root: String,
}

/// The mappings of a session.
#[derive(Debug, Default)]
pub(super) struct PathMappings(Vec<Roots>);

#[derive(Debug)]
struct Roots {
    local: Root,
    remote: Root,
    /// `remote` without symbolic links, as the debug core names files.
    canonical: Root,
}

impl PathMappings {
    /// Prepares mappings; relative remote roots lie in `directory`.
    pub(super) fn new(mappings: &[PathMapping], directory: &Path) -> Self {
        let roots = mappings.iter().map(|mapping| {
            let remote = if looks_like_windows(&mapping.remote_root) {
                mapping.remote_root.clone()
            } else {
                directory.join(&mapping.remote_root).to_string_lossy().into_owned()
            };
            let canonical = Path::new(&remote).canonicalize();
            let canonical = canonical.map(|path| path.to_string_lossy().into_owned());
            Roots {
                local: Root::new(&mapping.local_root),
                canonical: Root::new(canonical.as_ref().unwrap_or(&remote)),
                remote: Root::new(&remote),
            }
        });
        Self(roots.collect())
    }

    /// The program's name for a file of the client.
    pub(super) fn to_remote(&self, path: &str) -> String {
        let matches = self.0.iter().filter_map(|roots| {
            let rest = roots.local.strip(path)?;
            Some((roots.local.parts.len(), roots.remote.join(&rest)))
        });
        longest(matches).unwrap_or_else(|| path.to_owned())
    }

    /// The client's name for a file of the program.
    pub(super) fn to_local(&self, path: &str) -> String {
        let matches = self.0.iter().flat_map(|roots| {
            [&roots.remote, &roots.canonical].into_iter().filter_map(|root| {
                let rest = root.strip(path)?;
                Some((root.parts.len(), roots.local.join(&rest)))
            })
        });
        longest(matches).unwrap_or_else(|| path.to_owned())
    }
}

/// The path of the longest match; among equals the one written first.
fn longest(matches: impl Iterator<Item = (usize, String)>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for (length, path) in matches {
        if best.as_ref().is_none_or(|(longest, _)| length > *longest) {
            best = Some((length, path));
        }
    }
    best.map(|(_, path)| path)
}

/// A directory on one of the two sides.
#[derive(Debug)]
struct Root {
    /// Without separators at its end.
    text: String,
    windows: bool,
    absolute: bool,
    parts: Vec<String>,
}

impl Root {
    fn new(text: &str) -> Self {
        let windows = looks_like_windows(text);
        let separators: &[char] = if windows { &['/', '\\'] } else { &['/'] };
        Self {
            text: text.trim_end_matches("/.").trim_end_matches(separators).to_owned(),
            windows,
            absolute: is_absolute(text),
            parts: parts(text, windows),
        }
    }

    /// What follows the root in `path`, if it lies there.
    fn strip(&self, path: &str) -> Option<Vec<String>> {
        let parts = parts(path, self.windows);
        let equal = |(ours, theirs): (&String, &String)| {
            if self.windows { ours.to_lowercase() == theirs.to_lowercase() } else { ours == theirs }
        };
        let inside = parts.len() >= self.parts.len() && self.parts.iter().zip(&parts).all(equal);
        let inside = inside && is_absolute(path) == self.absolute;
        inside.then(|| parts[self.parts.len()..].to_vec())
    }

    fn join(&self, rest: &[String]) -> String {
        let is_bare_drive = self.windows && self.text.len() == 2;
        let backslash = is_bare_drive || self.windows && self.text.contains('\\');
        let separator = if backslash { "\\" } else { "/" };
        let mut path = self.text.clone();
        for part in rest {
            path.push_str(separator);
            path.push_str(part);
        }
        // `/` itself has no text once its separators are gone.
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

fn parts(path: &str, windows: bool) -> Vec<String> {
    path.split(|character| character == '/' || windows && character == '\\')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\']) || has_drive(path)
}

fn looks_like_windows(path: &str) -> bool {
    has_drive(path) || path.starts_with("\\\\")
}

fn has_drive(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

/// The path in a `file:` URI; anything else is taken for a path already.
pub(super) fn path_of_uri(uri: &str) -> String {
    let Some(rest) = uri.strip_prefix("file://") else { return uri.to_owned() };
    // An authority (`file://localhost/…`) ends where the path begins.
    let path = rest.find('/').map_or(rest, |slash| &rest[slash..]);
    let decoded = String::from_utf8_lossy(&percent_decoded(path)).into_owned();
    match decoded.strip_prefix('/') {
        Some(path) if has_drive(path) => path.to_owned(),
        _ => decoded,
    }
}

/// The `file:` URI of an absolute path.
pub(super) fn uri_of_path(path: &str) -> String {
    let mut uri = "file://".to_owned();
    let windows = looks_like_windows(path);
    if has_drive(path) {
        uri.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'\\' if windows => uri.push('/'),
            b'/' | b'-' | b'.' | b'_' | b'~' | b':' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(byte));
            }
            _ => uri.extend(["%", &format!("{byte:02X}")]),
        }
    }
    uri
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = (bytes[index] == b'%')
            .then(|| text.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(bytes[index]));
        index += if escape.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(pairs: &[(&str, &str)]) -> PathMappings {
        let mappings: Vec<PathMapping> = pairs
            .iter()
            .map(|(local, remote)| PathMapping {
                local_root: (*local).to_owned(),
                remote_root: (*remote).to_owned(),
            })
            .collect();
        PathMappings::new(&mappings, Path::new("/srv/dir"))
    }

    /// Checks both directions.
    fn check(pairs: &[(&str, &str)], local: &str, remote: &str) {
        let mappings = mappings(pairs);
        assert_eq!(mappings.to_remote(local), remote);
        assert_eq!(mappings.to_local(remote), local);
    }

    #[test]
    fn no_mapping_changes_nothing() {
        check(&[], "/a/b.lua", "/a/b.lua");
        check(&[("/x", "/y")], "/a/b.lua", "/a/b.lua");
    }

    #[test]
    fn roots_match_whole_names_and_the_longest_wins() {
        check(&[("/home/me/app", "/srv")], "/home/me/app/lib/x.lua", "/srv/lib/x.lua");
        check(
            &[("/home/me/app", "/srv")],
            "/home/me/application/x.lua",
            "/home/me/application/x.lua",
        );
        let nested = [("/home", "/h"), ("/home/me", "/m"), ("/home/me/app", "/a")];
        check(&nested, "/home/me/app/x.lua", "/a/x.lua");
        check(&nested, "/home/me/x.lua", "/m/x.lua");
        check(&nested, "/home/x.lua", "/h/x.lua");
    }

    #[test]
    fn slashes_at_the_end_are_nothing() {
        for local in ["/l", "/l/"] {
            for remote in ["/r", "/r/", "/r//"] {
                check(&[(local, remote)], "/l/x.lua", "/r/x.lua");
            }
        }
        check(&[("/", "/mnt/host")], "/a/x.lua", "/mnt/host/a/x.lua");
        check(&[("/app", "/")], "/app/x.lua", "/x.lua");
    }

    #[test]
    fn windows_on_the_clients_side() {
        check(
            &[("C:\\Users\\me\\app\\", "/srv/app")],
            "C:\\Users\\me\\app\\lib\\x.lua",
            "/srv/app/lib/x.lua",
        );
        check(&[("C:", "/srv")], "C:\\x.lua", "/srv/x.lua");
        check(&[("C:/app", "/srv")], "C:/app/x.lua", "/srv/x.lua");
        check(&[("\\\\host\\share", "/srv")], "\\\\host\\share\\x.lua", "/srv/x.lua");
        let mappings = mappings(&[("C:\\App", "/srv")]);
        assert_eq!(mappings.to_remote("c:/app\\x.lua"), "/srv/x.lua");
        assert_eq!(mappings.to_remote("c:\\other\\x.lua"), "c:\\other\\x.lua");
    }

    #[test]
    fn relative_remote_roots_lie_in_the_working_directory() {
        check(&[("/l", ".")], "/l/x.lua", "/srv/dir/x.lua");
        check(&[("/l", "lib")], "/l/x.lua", "/srv/dir/lib/x.lua");
    }

    #[test]
    fn canonical_names_are_mapped_back() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mappings = mappings(&[("/l", &link.to_string_lossy())]);
        assert_eq!(mappings.to_local(&real.join("x.lua").to_string_lossy()), "/l/x.lua");
        assert_eq!(mappings.to_local(&link.join("x.lua").to_string_lossy()), "/l/x.lua");
    }

    #[test]
    fn uris() {
        for (path, uri) in [
            ("/a b/ü.lua", "file:///a%20b/%C3%BC.lua"),
            ("/100%.lua", "file:///100%25.lua"),
            ("C:/x.lua", "file:///C:/x.lua"),
        ] {
            assert_eq!(uri_of_path(path), uri);
            assert_eq!(path_of_uri(uri), path);
        }
        assert_eq!(uri_of_path("C:\\x.lua"), "file:///C:/x.lua");
        assert_eq!(path_of_uri("file:///c%3A/x.lua"), "c:/x.lua");
        assert_eq!(path_of_uri("file://localhost/x.lua"), "/x.lua");
        assert_eq!(path_of_uri("/plain%20path"), "/plain%20path");
        assert_eq!(path_of_uri("file:///%zz%é"), "/%zz%é");
    }
}
