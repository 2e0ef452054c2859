//! How chunks get their names, and how files become chunks.
//!
//! Every file is named `@` and its canonical path, whatever spelling it was
//! asked for with: that is what lets a breakpoint find it. Text that is no file
//! is named `=name`.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The name of a chunk that is a file.
pub(crate) fn name_of_file(canonical: &Path) -> Vec<u8> {
    let mut name = b"@".to_vec();
    name.extend_from_slice(canonical.as_os_str().as_encoded_bytes());
    name
}

/// The path as the file system knows it: absolute, without symbolic links and
/// `..`. A file that does not exist is cleaned up by its text alone.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    // The part that exists is still resolved by the file system.
    if let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
        && let Ok(parent) = fs::canonicalize(parent)
    {
        return parent.join(name);
    }
    let mut cleaned = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Whether two existing paths are one file: equal, or the same object on a file
/// system that knows more spellings (case, hard links).
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    a == b
        || matches!((fs::metadata(a), fs::metadata(b)), (Ok(a), Ok(b))
            if a.ino() == b.ino() && a.dev() == b.dev())
}

/// Reads a script and blanks out what is not Lua: a byte order mark, and a first
/// line that starts with `#`. Line numbers stay as they are in the file.
pub(crate) fn read_script(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = fs::read(path)?;
    strip_prelude(&mut text);
    Ok(text)
}

/// See [`read_script`].
pub(crate) fn strip_prelude(text: &mut Vec<u8>) {
    if text.starts_with(b"\xEF\xBB\xBF") {
        text.drain(..3);
    }
    if text.first() == Some(&b'#') {
        let line = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
        text.drain(..line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prelude_goes_but_lines_stay() {
        let check = |text: &str, rest: &str| {
            let mut bytes = text.as_bytes().to_vec();
            strip_prelude(&mut bytes);
            assert_eq!(bytes, rest.as_bytes());
        };
        check("print(1)", "print(1)");
        check("\u{feff}print(1)", "print(1)");
        check("#!/usr/bin/env llmspell\nprint(1)", "\nprint(1)");
        check("\u{feff}#!x\n\n", "\n\n");
        check("#only", "");
    }

    #[test]
    fn missing_files_are_cleaned_by_text() {
        assert_eq!(canonical(Path::new("/no/such/../dir/./x.lua")), Path::new("/no/dir/x.lua"));
    }
}
