//! Sources, and modules: one for each source.

use dapts::{
    LoadedSourcesArguments, LoadedSourcesResponse, LocationsArguments, LocationsResponse,
    ModulesArguments, ModulesResponse, SourceArguments, SourceResponse,
};

use crate::protocols::dap::{
    client::{core_usize, wire_u64},
    convert,
    message::{Answer, RequestError},
    session::Session,
};

pub(in crate::protocols::dap) fn source(
    session: &mut Session,
    arguments: SourceArguments,
) -> Answer<SourceResponse> {
    let inner = arguments.source.and_then(|source| source.source_reference);
    let reference = inner.filter(|inner| *inner > 0).unwrap_or(arguments.source_reference);
    let content = session.control.source_text(reference.into());
    let content =
        content.ok_or_else(|| RequestError::new(format!("no source has number {reference}")))?;
    Ok(SourceResponse { content, mime_type: Some("text/x-lua".to_owned()) })
}

pub(in crate::protocols::dap) fn loaded_sources(
    session: &mut Session,
    _: LoadedSourcesArguments,
) -> Answer<LoadedSourcesResponse> {
    let client = session.client()?;
    let sources = session.control.sources();
    let sources = sources.iter().filter_map(|source| client.source(source)).collect();
    Ok(LoadedSourcesResponse { sources })
}

pub(in crate::protocols::dap) fn modules(
    session: &mut Session,
    arguments: ModulesArguments,
) -> Answer<ModulesResponse> {
    let client = session.client()?;
    let sources = session.control.sources();
    let count = match core_usize(arguments.module_count) {
        0 => usize::MAX,
        count => count,
    };
    let page = sources.iter().skip(core_usize(arguments.start_module)).take(count);
    Ok(ModulesResponse {
        modules: page.map(|source| convert::module(&client, source)).collect(),
        total_modules: Some(wire_u64(sources.len())),
    })
}

/// Where a function is written, by the reference that came with its value.
pub(in crate::protocols::dap) fn locations(
    session: &mut Session,
    arguments: LocationsArguments,
) -> Answer<LocationsResponse> {
    let client = session.client()?;
    let reference = arguments.location_reference;
    let unknown = || RequestError::new(format!("no location has number {reference}"));
    let (source, line) = client.place(reference).ok_or_else(unknown)?;
    Ok(LocationsResponse {
        source: client.source(&source).ok_or_else(unknown)?,
        line: client.line(line),
        column: None,
        end_column: None,
        end_line: None,
    })
}
