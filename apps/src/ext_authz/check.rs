//! The two messages of `envoy.service.auth.v3.Authorization/Check`, as far as this service needs them:
//! reads the request's headers, writes an answer. Plain protobuf wire format.

use super::{ASKED, RECEIVED, REFUSAL, RESULT};

const PERMISSION_DENIED: u64 = 7;

/// The `CheckResponse` to a `CheckRequest`; `None` if that cannot be read.
pub fn respond(request: &[u8]) -> Option<Vec<u8>> {
    // CheckRequest.attributes = 1, .request = 4, .http = 2
    let http = field(field(field(request, 1)?, 4)?, 2)?;
    let allowed = header(http, ASKED)? == Some(b"allow");
    let text =
        |number| String::from_utf8_lossy(field(http, number).unwrap_or_default()).into_owned();
    // HttpRequest.method = 2, .path = 4
    let received = format!("{} {}", text(2), text(4));
    let result = if allowed { "allowed" } else { "denied" };
    let headers = [(RESULT, result), (RECEIVED, received.as_str())];
    Some(if allowed { ok(&headers) } else { denied(&headers) })
}

/// CheckResponse { status = 1, ok_response = 3 }
fn ok(headers: &[(&str, &str)]) -> Vec<u8> {
    [bytes(1, &[]), bytes(3, &header_options(headers))].concat()
}

/// CheckResponse { status = 1 { code = 1 }, denied_response = 2 { status = 1 { code = 1 }, body = 3 } }
fn denied(headers: &[(&str, &str)]) -> Vec<u8> {
    let status = bytes(1, &number(1, 403));
    let response = [status, header_options(headers), bytes(3, REFUSAL.as_bytes())].concat();
    [bytes(1, &number(1, PERMISSION_DENIED)), bytes(2, &response)].concat()
}

/// `headers = 2`, each a HeaderValueOption { header = 1 { key = 1, value = 2 } }
fn header_options(headers: &[(&str, &str)]) -> Vec<u8> {
    let options = headers.iter().flat_map(|(name, value)| {
        let header = [bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat();
        bytes(2, &bytes(1, &header))
    });
    options.collect()
}

/// The value of one of `HttpRequest.headers = 3`, a map of names to values.
fn header<'a>(http: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    let mut rest = http;
    let mut found = None;
    while !rest.is_empty() {
        let (number, value, after) = next(rest)?;
        rest = after;
        if number == 3 && field(value, 1)? == name.as_bytes() {
            found = field(value, 2);
        }
    }
    Some(found)
}

/// The last field of that number with a length.
fn field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut rest = message;
    let mut found = None;
    while !rest.is_empty() {
        let (number, value, after) = next(rest)?;
        rest = after;
        if number == wanted {
            found = Some(value);
        }
    }
    found
}

/// The first field: its number, its bytes (none unless it has a length), and what comes after it.
fn next(message: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (tag, rest) = varint(message)?;
    let (value, rest) = match tag & 7 {
        0 => (&rest[..0], varint(rest)?.1),
        1 => (&rest[..0], rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(length).ok()?)?
        }
        5 => (&rest[..0], rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, value, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(field << 3, &mut out);
    put_varint(value, &mut out);
    out
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(field << 3 | 2, &mut out);
    put_varint(value.len() as u64, &mut out);
    out.extend(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut http = [bytes(2, b"GET"), bytes(4, b"/x"), number(9, 300)].concat();
        for (name, value) in headers {
            http.extend(bytes(
                3,
                &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat(),
            ));
        }
        bytes(1, &bytes(4, &bytes(2, &http)))
    }

    #[test]
    fn only_the_right_header_opens() {
        let open = respond(&request(&[("a", "b"), (ASKED, "allow")])).unwrap();
        assert_eq!(field(&open, 1).unwrap(), b"", "status OK has no fields");
        assert!(field(&open, 3).is_some() && field(&open, 2).is_none());
        for headers in [vec![], vec![(ASKED, "deny")]] {
            let refused = respond(&request(&headers)).unwrap();
            assert_eq!(field(&refused, 1).unwrap(), number(1, 7));
            let response = field(&refused, 2).unwrap();
            assert_eq!(field(response, 1).unwrap(), number(1, 403));
            assert_eq!(field(response, 3).unwrap(), REFUSAL.as_bytes());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for length in 0..40 {
            let whole = request(&[(ASKED, "allow")]);
            let cut = &whole[..length.min(whole.len() - 1)];
            assert!(respond(cut).is_none(), "{length}");
        }
        assert!(respond(&[0xff; 64]).is_none());
    }
}
