//! Which form of the figures a client wants, by its `Accept` (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header::ACCEPT};

/// A form of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A document.
    Json,
    /// Prometheus' text format.
    Prometheus,
    /// OpenMetrics' text format.
    OpenMetrics,
}

impl Format {
    /// In the order in which they are chosen when a client does not care.
    const ALL: [Self; 3] = [Self::Json, Self::Prometheus, Self::OpenMetrics];

    /// Type, subtype and version.
    fn media_type(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Json => ("application", "json", None),
            Self::Prometheus => ("text", "plain", Some("0.0.4")),
            Self::OpenMetrics => ("application", "openmetrics-text", Some("1.0.0")),
        }
    }
}

/// One element of the field: `text/plain;version=0.0.4;q=0.5`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

/// The form that a client likes best; JSON if it likes none.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let fields: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> =
        fields.iter().flat_map(|field| field.split(',')).filter_map(range).collect();
    let mut best = (Format::Json, (0.0, 0));
    for format in Format::ALL {
        let liking = liking(format, &ranges);
        if liking.0 > 0.0 && liking > best.1 {
            best = (format, liking);
        }
    }
    best.0
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let mut range = Range { kind, subtype, version: None, quality: 1.0 };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name.eq_ignore_ascii_case("q") {
            range.quality = value.parse().ok().filter(|it| (0.0..=1.0).contains(it))?;
        } else if name.eq_ignore_ascii_case("version") {
            range.version = Some(value.trim_matches('"'));
        }
    }
    Some(range)
}

/// How much a format is wanted, by the element that names it most exactly, and
/// how exactly that does.
fn liking(format: Format, ranges: &[Range<'_>]) -> (f32, u8) {
    let (kind, subtype, version) = format.media_type();
    let mut found = (0.0, 0);
    for range in ranges {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let exactness = match (range.kind, range.subtype) {
            ("*", "*") => 1,
            (it, "*") if same(it, kind) => 2,
            (it, sub) if same(it, kind) && same(sub, subtype) => match range.version {
                None => 3,
                Some(wanted) if version == Some(wanted) => 4,
                Some(_) => continue,
            },
            _ => continue,
        };
        if exactness > found.1 || (exactness == found.1 && range.quality > found.0) {
            found = (range.quality, exactness);
        }
    }
    // A version makes it no more wanted than its name does.
    (found.0, found.1.min(3))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_clients_send() {
        let check = |accept: &'static str, expected: Format| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(format(&headers), expected, "{accept}");
        };
        check("*/*", Format::Json);
        check("", Format::Json);
        check("image/png", Format::Json);
        check("nonsense", Format::Json);
        check("application/json", Format::Json);
        check("application/*", Format::Json);
        check("text/plain", Format::Prometheus);
        check("TEXT/PLAIN", Format::Prometheus);
        check("text/*", Format::Prometheus);
        check("text/plain, */*", Format::Prometheus);
        check("application/json, text/plain, */*", Format::Json);
        check("text/plain;q=0.5, application/json;q=0.4", Format::Prometheus);
        check("text/plain;q=0.4, application/json;q=0.5", Format::Json);
        check("text/plain;q=0, */*", Format::Json);
        check("application/json;q=0, */*;q=0.1", Format::Prometheus);
        check("application/openmetrics-text", Format::OpenMetrics);
        check("application/openmetrics-text; version=0.0.1", Format::Json);
        check("text/plain;q=nan", Format::Json);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Json);
        // Prometheus 2 and 3.
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,\
             */*;q=0.2",
            Format::OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,\
             */*;q=0.2",
            Format::OpenMetrics,
        );
        check("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Prometheus);
    }
}
