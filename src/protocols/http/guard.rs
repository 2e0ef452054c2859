//! Who may ask at all.
//!
//! The hard thing is the user's own browser: any page that it shows may send
//! requests to this machine. Pages of other sites are known by their `Origin`;
//! those that have let their own name point here (DNS rebinding) by their `Host`.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri, Version,
    header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE},
    uri::Authority,
};

use super::{Connection, problem::Problem};

/// Lets a request pass, or says why not.
pub(super) fn check<B>(connection: &Connection, request: &Request<B>) -> Result<(), Problem> {
    let kernel = &connection.kernel;
    let is_known = kernel.token().is_some() && kernel.admits(given_token(request).as_deref());
    let host = host(request)?;
    if let Some(host) = &host {
        // A page that knows the token is no stranger's. Not on the loopback
        // interface, where nobody needs other names.
        let trusted = is_known && !connection.options.loopback;
        if !trusted && !is_ours(connection, host) {
            return Err(Problem::new(StatusCode::FORBIDDEN).with(format!(
                "'{}' is no name of this kernel: use localhost, 127.0.0.1 or [::1]",
                host.host()
            )));
        }
    }
    check_origin(request.headers(), host.as_ref())?;
    if kernel.token().is_none() || is_known || request.uri().path() == "/health" {
        return Ok(());
    }
    let challenge = HeaderValue::from_static("Bearer realm=\"llmspell\"");
    let detail = "this kernel wants its token: 'Authorization: Bearer TOKEN', or for a WebSocket \
                  '?token=TOKEN'";
    Err(Problem::new(StatusCode::UNAUTHORIZED).with(detail).header(WWW_AUTHENTICATE, challenge))
}

/// The host that the client means; `None` if it speaks HTTP/1.0 and says none,
/// which no browser does.
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Problem> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Problem::bad_request("there is more than one Host header field"));
    }
    let Some(field) = field else {
        if request.version() == Version::HTTP_10 && request.uri().authority().is_none() {
            return Ok(None);
        }
        return Err(Problem::bad_request("the Host header field is missing"));
    };
    let host = field.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let host = host.ok_or_else(|| Problem::bad_request("the Host header field is no host"))?;
    // `GET http://HOST/path` names it once more, and then that is what counts.
    match request.uri().authority() {
        Some(named) if named.host() != host.host() => {
            Err(Problem::bad_request("the Host header field names another host than the address"))
        }
        _ => Ok(Some(host)),
    }
}

fn is_ours(connection: &Connection, host: &Authority) -> bool {
    let name = bare(host.host());
    if is_loopback(name) || connection.options.names.iter().any(|it| alike(bare(it), name)) {
        return true;
    }
    // An address cannot be made to point elsewhere.
    !connection.options.loopback && name.parse::<IpAddr>().is_ok()
}

/// A page may ask if it comes from here: from the same host and the same port.
fn check_origin(headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let page = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let is_ours = page.is_some_and(|page| {
        let (Some(page_host), Some(host)) = (page.authority(), host) else { return false };
        let default = match page.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        let (page_name, name) = (bare(page_host.host()), bare(host.host()));
        let same_host = alike(page_name, name) || (is_loopback(page_name) && is_loopback(name));
        same_host && page_host.port_u16().unwrap_or(default) == host.port_u16().unwrap_or(default)
    });
    if is_ours {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN)
        .with("pages of other sites may not use this kernel (see the Origin header field)"))
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn alike(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_loopback(name: &str) -> bool {
    alike(name, "localhost") || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// The token that comes with a request. Browsers cannot set header fields of a
/// WebSocket, so there it may be in the address.
fn given_token<B>(request: &Request<B>) -> Option<String> {
    if let Some(field) = request.headers().get(AUTHORIZATION) {
        let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
        return alike(scheme, "bearer").then(|| token.trim().to_owned());
    }
    if request.uri().path() != super::websocket::PATH {
        return None;
    }
    let pairs = super::routes::pairs(request.uri()).ok()?;
    pairs.into_iter().find_map(|(name, value)| (name == "token").then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let check = |origin: &'static str, host: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            let host = host.parse().unwrap();
            let allowed = check_origin(&headers, Some(&host)).is_ok();
            assert_eq!(allowed, expected, "{origin} {host}");
        };
        check("http://localhost:9555", "localhost:9555", true);
        check("http://127.0.0.1:9555", "localhost:9555", true);
        check("http://[::1]:9555", "127.0.0.1:9555", true);
        check("http://LOCALHOST", "127.0.0.1:80", true);
        check("https://kernel.lan", "kernel.lan", true);
        check("http://localhost:3000", "localhost:9555", false);
        check("http://evil.example", "localhost:9555", false);
        check("http://localhost.evil.example:9555", "localhost:9555", false);
        check("http://evil.example:9555", "kernel.lan:9555", false);
        check("https://localhost", "localhost:80", false);
        check("vscode-webview://localhost:9555", "localhost:9555", false);
        check("null", "localhost:9555", false);
        check("", "localhost:9555", false);
    }
}
