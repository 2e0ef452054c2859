//! The sources that have been loaded: their names, executable lines, functions
//! and texts. Filled by the Lua thread, read by everyone.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    debug::{
        functions::{self, Definition},
        model::{Source, SourceId},
    },
    lua::chunk,
};

/// How many texts that are no files are kept for the `source` request.
const MAX_TEXTS: usize = 1000;

/// One loaded source.
pub(super) struct Loaded {
    pub(super) source: Source,
    /// Lines that can be stopped at, ascending.
    pub(super) lines: Vec<u32>,
    /// Text, for sources that are no files.
    text: Option<Arc<str>>,
    /// The functions written in it, looked for only if somebody asks.
    definitions: Option<Vec<Definition>>,
}

/// All of them, by chunk name.
#[derive(Default)]
pub(super) struct Sources {
    loaded: HashMap<Vec<u8>, Loaded>,
    /// Chunk names in the order of their first loading.
    order: Vec<Vec<u8>>,
    next_reference: u64,
}

impl Sources {
    /// Notes that a chunk was (again) compiled; says whether it is a new one.
    pub(super) fn load(
        &mut self,
        name: &[u8],
        lines: Vec<u32>,
        text: Option<&[u8]>,
    ) -> (Source, bool) {
        let text = text.map(|text| Arc::from(String::from_utf8_lossy(text).as_ref()));
        if let Some(loaded) = self.loaded.get_mut(name) {
            loaded.lines = lines;
            loaded.text = text.or_else(|| loaded.text.take());
            loaded.definitions = None;
            return (loaded.source.clone(), false);
        }
        self.next_reference += 1;
        let source = describe(name, self.next_reference);
        if !matches!(source.id, SourceId::File(_)) {
            self.forget_oldest_text();
        }
        let loaded = Loaded { source: source.clone(), lines, text, definitions: None };
        self.loaded.insert(name.to_vec(), loaded);
        self.order.push(name.to_vec());
        (source, true)
    }

    fn forget_oldest_text(&mut self) {
        let is_text = |name: &Vec<u8>| name.first() != Some(&b'@');
        if self.order.iter().filter(|name| is_text(name)).count() >= MAX_TEXTS
            && let Some(oldest) = self.order.iter().position(is_text)
        {
            self.loaded.remove(&self.order.remove(oldest));
        }
    }

    /// The source of a chunk; one that was never announced is named on the spot.
    pub(super) fn source(&mut self, name: &[u8]) -> Source {
        if let Some(loaded) = self.loaded.get(name) {
            return loaded.source.clone();
        }
        if name == b"=[C]" || name == b"=?" {
            return Source { id: SourceId::Native, name: "[C]".to_owned() };
        }
        // The default name of a `load`ed string is its text.
        let text = (!matches!(name.first(), Some(b'@' | b'='))).then_some(name);
        self.load(name, Vec::new(), text).0
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Loaded> {
        self.loaded.get(name)
    }

    /// All sources, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &Loaded)> {
        self.order.iter().filter_map(|name| Some((name.as_slice(), self.loaded.get(name)?)))
    }

    /// The chunk name of the loaded file that `path` is another spelling of.
    pub(super) fn chunk_of_path(&self, path: &Path) -> Option<&[u8]> {
        let name = chunk::name_of_file(path);
        if let Some((name, _)) = self.loaded.get_key_value(&name) {
            return Some(name);
        }
        let file_name = path.file_name()?;
        self.order.iter().map(Vec::as_slice).find(|name| {
            file_of(name).is_some_and(|file| {
                file.file_name().is_some_and(|name| name.eq_ignore_ascii_case(file_name))
                    && chunk::same_file(file, path)
            })
        })
    }

    /// The chunk name of a text by its reference.
    pub(super) fn chunk_of_reference(&self, reference: u64) -> Option<&[u8]> {
        self.all()
            .find(|(_, loaded)| loaded.source.id == SourceId::Text(reference))
            .map(|(name, _)| name)
    }

    /// The text behind a reference.
    pub(super) fn text(&self, reference: u64) -> Option<String> {
        let name = self.chunk_of_reference(reference)?;
        self.loaded.get(name)?.text.as_ref().map(ToString::to_string)
    }

    /// The functions written in a loaded chunk.
    pub(super) fn definitions(&mut self, name: &[u8]) -> &[Definition] {
        let Some(loaded) = self.loaded.get_mut(name) else { return &[] };
        if loaded.definitions.is_none() {
            let text = match (&loaded.text, &loaded.source.id) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, SourceId::File(path)) => chunk::read_script(path).unwrap_or_default(),
                _ => Vec::new(),
            };
            loaded.definitions = Some(functions::definitions(&text));
        }
        loaded.definitions.as_deref().unwrap_or_default()
    }

    /// Names of all loaded chunks.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.order.clone()
    }
}

impl Loaded {
    /// The first line at or after `line` that can be stopped at.
    pub(super) fn executable_line(&self, line: u32) -> Option<u32> {
        self.lines.get(self.lines.partition_point(|&active| active < line)).copied()
    }
}

/// The file that a chunk name stands for.
pub(super) fn file_of(name: &[u8]) -> Option<&Path> {
    name.strip_prefix(b"@").map(|path| Path::new(OsStr::from_bytes(path)))
}

fn describe(name: &[u8], reference: u64) -> Source {
    if let Some(path) = file_of(name) {
        let file_name = path.file_name().unwrap_or(path.as_os_str());
        let shown = file_name.to_string_lossy().into_owned();
        return Source { id: SourceId::File(PathBuf::from(path)), name: shown };
    }
    let shown = if let Some(name) = name.strip_prefix(b"=") {
        String::from_utf8_lossy(name).into_owned()
    } else {
        let text = String::from_utf8_lossy(name);
        let first = text.lines().next().unwrap_or_default();
        let shortened: String = first.chars().take(40).collect();
        let more = if shortened.len() < text.len() { "…" } else { "" };
        format!("[string \"{shortened}{more}\"]")
    };
    Source { id: SourceId::Text(reference), name: shown }
}
