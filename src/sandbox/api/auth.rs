//! Who asks: HTTP Basic, the key as user name, an empty password.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Returns the key of a request; nothing when the header is missing or not of the one form.
pub(in crate::sandbox) fn key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(decode(coded.trim())?).ok()?;
    // Without the colon the header is invalid, even with the right key.
    let key = pair.strip_suffix(':')?;
    (!key.is_empty() && !key.contains(':')).then(|| key.to_owned())
}

/// Decodes base64; eight lines instead of a dependency.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for letter in body {
        let place = LETTERS.iter().position(|known| known == letter)?;
        held = held << 6 | u32::try_from(place).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}
