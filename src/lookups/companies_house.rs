//! What the look-ups at Companies House share: address, key, numbers of companies, and what the
//! status of a response means there.

use http::{HeaderName, HeaderValue, StatusCode};

use super::address::{Base, Hidden, basic, get};
use super::json::{Member, parse};
use super::{Key, Verdict};
use crate::context::{BuildContext, Files};
use crate::net::{Request, Response};
use crate::spec::{Code, Diagnostic, Located, Secret, Text};

/// Where the API is if the file does not say.
const BASE_URL: &str = "https://api.company-information.service.gov.uk";

/// The API with a key.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(super) base: Base,
    authorization: (HeaderName, HeaderValue),
    hidden: Hidden,
}

impl Register {
    /// Checks the settings that all have; notes mistakes in the context.
    pub(super) fn build(
        key: &Secret,
        base_url: Option<&Text>,
        by: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Self> {
        if by.len() != 1 {
            let message = format!("`by` has {} columns; a company has one number", by.len());
            let at = by.get(1).map_or(key.at(), |second| second.at);
            context.found.push(Diagnostic::error(Code::BadValue, message, at));
        }
        let register = Self::at(key, base_url, BASE_URL, context)?;
        (by.len() == 1).then_some(register)
    }

    /// Checks a key and an address; notes mistakes in the context.
    pub(crate) fn at(
        key: &Secret,
        base_url: Option<&Text>,
        otherwise: &str,
        context: &mut BuildContext<'_>,
    ) -> Option<Self> {
        let text = match base_url {
            Some(text) => context.text(text),
            None => Some(otherwise.to_owned()),
        };
        let base = text.and_then(|text| match Base::parse(&text) {
            Ok(base) => Some(base),
            Err(reason) => {
                let at = base_url.map_or(key.at(), Text::at);
                context.found.push(Diagnostic::error(Code::BadValue, reason, at));
                None
            }
        });
        let revealed = context.secret(key)?;
        let is_missing = revealed.is_empty() && context.files == Files::MustExist;
        let is_key = |c: char| c.is_ascii_graphic() && c != ':';
        if is_missing || !revealed.chars().all(is_key) {
            let message = "this is no key: it is empty or holds a space or `:`";
            context.found.push(Diagnostic::error(Code::BadValue, message, key.at()));
            return None;
        }
        let mut hidden = Hidden::default();
        // The key is the user, and the password is empty.
        let authorization = basic(&revealed, "", &mut hidden);
        Some(Self { base: base?, authorization, hidden })
    }

    /// Returns the server: scheme, host and port.
    pub(crate) fn server(&self) -> &str {
        self.base.server()
    }

    /// Says what a response is, with a piece of what it says, without the key.
    pub(crate) fn excerpt(&self, response: &Response) -> String {
        self.hidden.excerpt(response)
    }

    /// Makes a request for a path that begins with `/`.
    pub(crate) fn get(&self, path: &str) -> Request {
        // Paths are made of numbers of companies and of our own words: they fit into addresses.
        let address = self.base.join(path);
        get(&address, std::slice::from_ref(&self.authorization)).unwrap_or_default()
    }

    /// Returns the request for what the register says of a company.
    pub(super) fn get_profile(&self, key: &Key) -> Request {
        self.get(&format!("/company/{}", number_of(key)))
    }

    /// Says what a response means that has no answer in it.
    pub(super) fn judge(&self, response: &Response) -> Result<(), Verdict> {
        let status = response.status();
        let reason = || self.hidden.excerpt(response);
        Err(match status {
            _ if status.is_success() => return Ok(()),
            StatusCode::UNAUTHORIZED => Verdict::Unauthorized(reason()),
            // The server bars an address that asks too often, whatever its key.
            StatusCode::FORBIDDEN => Verdict::Barred(reason()),
            StatusCode::TOO_MANY_REQUESTS => Verdict::Limited(reason()),
            StatusCode::NOT_FOUND if is_not_found(response.body()) => Verdict::Missing("unknown"),
            // Somebody else than the register answers, and what it says of a company is nothing.
            StatusCode::NOT_FOUND => Verdict::Passing(reason()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Verdict::Passing(reason()),
            _ if status.is_client_error() || status.is_redirection() => Verdict::Refused(reason()),
            _ => Verdict::Passing(reason()),
        })
    }
}

/// Says whether a body is one that the register sends for what it does not know: none, a list of
/// errors, or an object with a time.
fn is_not_found(body: &[u8]) -> bool {
    if body.trim_ascii().is_empty() {
        return true;
    }
    let Ok(document) = parse(body) else { return false };
    let whole = Member::whole(&document);
    ["errors", "message", "error", "timestamp"].iter().any(|name| whole.has(name) == Ok(true))
}

/// Returns the number of the company that is the key.
pub(super) fn number_of(key: &Key) -> &str {
    key.first().map_or("", String::as_str)
}

/// Writes the number of a company as the register does: `7382019` is 07382019, `sc1234` is
/// none, because nobody knows where its zeros belong.
pub(super) fn key(values: &[&str]) -> Result<Key, String> {
    let number = company_number(values.first().copied().unwrap_or_default());
    let no_number = "no number of a company: it has eight digits or capital letters";
    number.map(|number| vec![number]).ok_or_else(|| no_number.to_owned())
}

/// Writes the number of a company as the register does; `None` when it is none.
pub(crate) fn company_number(written: &str) -> Option<String> {
    let written = written.trim().to_ascii_uppercase();
    let number = match written.bytes().all(|b| b.is_ascii_digit()) && !written.is_empty() {
        true => format!("{written:0>8}"),
        false => written,
    };
    let is_sign = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    (number.len() == 8 && number.bytes().all(is_sign)).then_some(number)
}

/// Reads what the register says of a company, and whether it is the one that was asked for.
pub(super) fn check_profile(profile: &Member<'_>, key: &Key) -> Result<(), String> {
    let number = profile.text("company_number")?;
    let number = profile.needed(number, "company_number")?;
    if number.trim().eq_ignore_ascii_case(number_of(key)) {
        return Ok(());
    }
    Err("the answer is that of another company".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_the_register_does() {
        for (written, number) in
            [("7382019", "07382019"), (" sc123456 ", "SC123456"), ("00000006", "00000006")]
        {
            assert_eq!(key(&[written]), Ok(vec![number.to_owned()]));
        }
        for bad in ["", "  ", "123456789", "SC1234", "../../x1", "0123 456", "ÄÖ123456", "1234567é"]
        {
            assert!(key(&[bad]).is_err(), "{bad}");
        }
        assert!(key(&[]).is_err());
    }

    #[test]
    fn knows_every_way_to_say_that_there_is_none() {
        for body in [
            "",
            " \n",
            r#"{"errors":[{"type":"ch:service","error":"company-profile-not-found"}]}"#,
            r#"{"timestamp":"2026-01-30T13:14:24","message":"404 NOT_FOUND","request_id":"x"}"#,
            r#"{"timestamp":"2026-04-21","status":404,"error":"Not Found","path":"/x"}"#,
        ] {
            assert!(is_not_found(body.as_bytes()), "{body}");
        }
        for body in ["<html>Not Found</html>", "Not Found", "[]", "{}"] {
            assert!(!is_not_found(body.as_bytes()), "{body}");
        }
    }
}
