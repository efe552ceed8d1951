//! Where an API is and who asks it: addresses, headers, and what a reason may show of a response.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::net::{Request, Response};

/// The most characters of a body that a reason shows.
const EXCERPT: usize = 200;

/// The start of every address of an API: scheme, host, port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    server: String,
    prefix: String,
}

impl Base {
    /// Reads one. It holds no credentials and no query: the one would show in plans, the other
    /// would stand in the middle of addresses.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err("an address of an API has no `#`".to_owned());
        }
        let uri: Uri = text.parse().map_err(|error| format!("this is no address: {error}"))?;
        if uri.query().is_some() {
            return Err("an address of an API has no `?` here".to_owned());
        }
        let server = server(&uri)?;
        Ok(Self { server, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Returns the server: scheme, host and port.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Returns the address of a path that begins with `/`.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{}{path}", self.server, self.prefix)
    }
}

/// Returns scheme, host and port of an address, each thing in one way of writing it.
pub(crate) fn server(uri: &Uri) -> Result<String, String> {
    let scheme = uri.scheme().filter(|s| **s == Scheme::HTTP || **s == Scheme::HTTPS);
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
        return Err("an address begins with `https://` or `http://` and a host".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("credentials do not belong into an address: it shows in plans".to_owned());
    }
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() {
        return Err("the address has no host".to_owned());
    }
    let port = Authority::port_u16(authority).filter(|port| *port != usual);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{}://{host}{port}", scheme.as_str().to_ascii_lowercase()))
}

/// Makes a request for JSON. `None` when the address is none.
pub(crate) fn get(address: &str, headers: &[(HeaderName, HeaderValue)]) -> Option<Request> {
    let uri: Uri = address.parse().ok()?;
    let mut request = Request::new(Vec::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    Some(request)
}

/// Writes a text so that it can stand anywhere in an address.
pub(crate) fn percent(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

/// What must not be shown, whoever repeats it.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Vec<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Hidden {
    /// Hides a text in every way in which a request may hold it.
    pub(crate) fn add(&mut self, secret: &str) {
        for text in [secret.to_owned(), percent(secret)] {
            if !text.is_empty() && !self.0.contains(&text) {
                self.0.push(text);
            }
        }
    }

    /// Says what a response is, with a piece of what it says: one line, and nothing hidden.
    pub(crate) fn excerpt(&self, response: &Response) -> String {
        let status = response.status();
        let name = status.canonical_reason().unwrap_or_default();
        let head = format!("{} {name}", status.as_str());
        let body = response.body();
        let text = String::from_utf8_lossy(&body[..body.len().min(64 << 10)]);
        let mut text = text.trim_start_matches('\u{feff}').to_owned();
        for hidden in &self.0 {
            text = text.replace(hidden, "***");
        }
        let text: String = text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text: String = words.join(" ").chars().take(EXCERPT).collect();
        // A page of a proxy tells no more than its status.
        if text.is_empty() || text.starts_with('<') {
            return head.trim_end().to_owned();
        }
        format!("{}: {text}", head.trim_end())
    }
}

/// Says whether a character does something to a terminal or to the reading of a line.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

/// Makes the header of HTTP Basic.
pub(crate) fn basic(user: &str, password: &str, hidden: &mut Hidden) -> (HeaderName, HeaderValue) {
    let pair = base64(format!("{user}:{password}").as_bytes());
    hidden.add(user);
    hidden.add(password);
    hidden.add(&pair);
    let text = format!("Basic {pair}");
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    (AUTHORIZATION, value)
}

/// Writes bytes as Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let bits = (0..3)
            .fold(0_u32, |bits, at| bits << 8 | piece.get(at).map_or(0, |byte| u32::from(*byte)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= piece.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_base64() {
        for (plain, written) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("my_api_key:", "bXlfYXBpX2tleTo="),
        ] {
            assert_eq!(base64(plain.as_bytes()), written);
        }
    }

    #[test]
    fn reads_the_start_of_addresses() {
        let base = |text| Base::parse(text).map(|base| base.join("/company/1"));
        assert_eq!(base("https://A.example:443/"), Ok("https://a.example/company/1".into()));
        assert_eq!(base("http://[::1]:80/x/y//"), Ok("http://[::1]/x/y/company/1".into()));
        assert_eq!(base("http://127.0.0.1:8080"), Ok("http://127.0.0.1:8080/company/1".into()));
        for bad in [
            "",
            "x",
            "/x",
            "ftp://a",
            "https://",
            "https://a?b",
            "https://a#b",
            "https://u:p@a",
            "https://a b",
            "a.example:80",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_one_clean_line_of_a_body_and_nothing_hidden() {
        let mut hidden = Hidden::default();
        let (_, value) = basic("s3cret/", "", &mut hidden);
        assert_eq!(format!("{value:?} {hidden:?}"), "Sensitive ***");
        let shown = |body: &str| {
            let mut response = Response::new(body.as_bytes().to_vec());
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            hidden.excerpt(&response)
        };
        assert_eq!(shown(""), "400 Bad Request");
        assert_eq!(shown("<html>x"), "400 Bad Request");
        assert_eq!(shown("a\r\n\u{1b}[2J\u{202e}b"), "400 Bad Request: a [2J b");
        assert_eq!(shown("s3cret/ s3cret%2F"), "400 Bad Request: *** ***");
        assert_eq!(shown(&base64(b"s3cret/:")), "400 Bad Request: ***");
        assert_eq!(shown(&"é".repeat(5000)).chars().count(), "400 Bad Request: ".len() + EXCERPT);
    }

    #[test]
    fn writes_any_text_into_an_address() {
        assert_eq!(percent("a/b?c=ü ~"), "a%2Fb%3Fc%3D%C3%BC%20~");
    }
}
