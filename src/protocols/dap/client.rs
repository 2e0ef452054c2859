//! What a client has told about itself, and the conversions that depend on it:
//! counting from 0 or 1, paths or URIs, path mappings.
//!
//! Shared by the connection's task and the Lua thread, so it changes only in
//! ways that need no lock held for long.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use dapts::{
    InitializeRequestArguments, InitializeRequestArgumentsPathFormat, SourcePresentationHint,
};

use crate::{
    debug::{Control, Source, SourceId, SourceRequest},
    protocols::dap::{
        message::{Answer, RequestError},
        paths::{PathMappings, path_of_uri, uri_of_path},
    },
};

/// One client, from its `initialize` on.
pub(super) struct Client {
    /// The core that it debugs.
    pub(super) control: Control,
    /// What it calls itself.
    pub(super) name: String,
    /// Whether it wants progress events.
    pub(super) progress: bool,
    /// Whether it wants to know of values that have changed.
    pub(super) invalidated: bool,
    first_line: u32,
    first_column: u32,
    uris: bool,
    /// Set once, by `attach` or `launch`.
    mappings: OnceLock<PathMappings>,
    places: Mutex<Places>,
}

/// Places that `locations` may ask for.
#[derive(Default)]
struct Places {
    /// Index + 1 is the reference.
    list: Vec<(Source, u32)>,
    /// The reference of each.
    references: HashMap<(SourceId, u32), usize>,
}

impl Client {
    /// Takes note of what `initialize` says.
    pub(super) fn new(control: Control, arguments: &InitializeRequestArguments) -> Self {
        let from_one = |flag: Option<bool>| u32::from(flag.unwrap_or(true));
        let name = [&arguments.client_name, &arguments.client_id];
        let name = name.into_iter().flatten().find(|name| !name.is_empty());
        Self {
            control,
            name: name.map_or_else(|| "a DAP client".to_owned(), Clone::clone),
            progress: arguments.supports_progress_reporting == Some(true),
            invalidated: arguments.supports_invalidated_event == Some(true),
            first_line: from_one(arguments.lines_start_at1),
            first_column: from_one(arguments.columns_start_at1),
            uris: arguments.path_format == Some(InitializeRequestArgumentsPathFormat::Uri),
            mappings: OnceLock::new(),
            places: Mutex::default(),
        }
    }

    /// Sets the path mappings; the first call counts.
    pub(super) fn set_mappings(&self, mappings: PathMappings) {
        if self.mappings.set(mappings).is_err() {
            tracing::debug!("path mappings are set already");
        }
    }

    /// A line of the core, 0 for none, as the client counts.
    pub(super) fn line(&self, line: u32) -> u32 {
        line.saturating_sub(1 - self.first_line)
    }

    /// A line of the client as the core counts.
    pub(super) fn line_from(&self, line: u32) -> u32 {
        line.saturating_add(1 - self.first_line)
    }

    /// A column counted from 0 as the client counts.
    pub(super) fn column(&self, column: usize) -> u64 {
        u64::try_from(column).unwrap_or(u64::MAX).saturating_add(self.first_column.into())
    }

    /// The first column of a line.
    pub(super) fn first_column(&self) -> u32 {
        self.first_column
    }

    /// A column of the client counted from 0.
    pub(super) fn column_from(&self, column: u32) -> usize {
        usize::try_from(column.saturating_sub(self.first_column)).unwrap_or(usize::MAX)
    }

    /// A source of the core for the client; `None` where there is nothing to show.
    pub(super) fn source(&self, source: &Source) -> Option<dapts::Source> {
        let name = Some(source.name.clone());
        match &source.id {
            SourceId::File(_) => {
                let path = self.path(source);
                Some(dapts::Source { name, path, ..dapts::Source::default() })
            }
            SourceId::Text(reference) => Some(dapts::Source {
                name,
                source_reference: Some(wire_u32(*reference)),
                origin: Some("text".to_owned()),
                presentation_hint: Some(SourcePresentationHint::Normal),
                ..dapts::Source::default()
            }),
            SourceId::Native => None,
        }
    }

    /// The client's name of a source that is a file.
    pub(super) fn path(&self, source: &Source) -> Option<String> {
        let SourceId::File(path) = &source.id else { return None };
        let path = self.control.path_spelling(path).to_string_lossy().into_owned();
        let path = match self.mappings.get() {
            Some(mappings) => mappings.to_local(&path),
            None => path,
        };
        Some(if self.uris { uri_of_path(&path) } else { path })
    }

    /// A source of the client for the core.
    pub(super) fn source_request(&self, source: &dapts::Source) -> Answer<SourceRequest> {
        if let Some(reference) = source.source_reference.filter(|reference| *reference > 0) {
            return Ok(SourceRequest::Reference(reference.into()));
        }
        let Some(path) = source.path.as_ref().filter(|path| !path.is_empty()) else {
            return Err(RequestError::new("source has neither a path nor a sourceReference"));
        };
        let path = path_of_uri(path);
        let path = match self.mappings.get() {
            Some(mappings) => mappings.to_remote(&path),
            None => path,
        };
        Ok(SourceRequest::Path(path))
    }

    /// A number by which the client can ask for a place later.
    pub(super) fn place_reference(&self, place: &(Source, u32)) -> u64 {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Places { list, references } = &mut *places;
        let reference = references.entry((place.0.id.clone(), place.1)).or_insert_with(|| {
            list.push(place.clone());
            list.len()
        });
        wire_u64(*reference)
    }

    /// The place with a number that [`Client::place_reference`] has given.
    pub(super) fn place(&self, reference: u64) -> Option<(Source, u32)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(reference).ok()?.checked_sub(1)?;
        places.list.get(index).cloned()
    }
}

/// The name of the chunk or file, for `modules`.
pub(super) fn module_id(source: &Source) -> dapts::ModuleId {
    let id: Cow<'_, str> = match &source.id {
        SourceId::File(path) => path.to_string_lossy(),
        SourceId::Text(reference) => format!("text:{reference}").into(),
        SourceId::Native => "native".into(),
    };
    dapts::ModuleId::String(id.into_owned())
}

/// A number that the wire has fewer bits for: one that does not fit becomes 0,
/// which the protocol reads as none.
pub(super) fn wire_u32(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(0)
}

/// As [`wire_u32`].
pub(super) fn wire_u64(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// A number of the wire for the core.
pub(super) fn core_i64(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// As [`core_i64`].
pub(super) fn core_usize(number: Option<u64>) -> usize {
    number.unwrap_or(0).try_into().unwrap_or(usize::MAX)
}
