//! The little of HTTP/1.1 that the echo upstream and the client of this suite need, written
//! independently of the product's codec.

use std::io::{self, BufRead, Read};

/// Name and value as they were on the wire.
pub type Headers = Vec<(String, String)>;

pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// The first line and the headers; `None` at the end of the connection.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let Some(first) = read_line(from)? else { return Ok(None) };
    let mut headers = Headers::new();
    while let Some(line) = read_line(from)? {
        if line.is_empty() {
            return Ok(Some((first, headers)));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while line.last().is_some_and(|b| *b == b'\n' || *b == b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// A body with its trailers. `until_close`: without a length it goes on to the end.
pub fn read_body(
    from: &mut impl BufRead,
    headers: &Headers,
    until_close: bool,
) -> io::Result<(Vec<u8>, Headers)> {
    let mut body = Vec::new();
    let encoding = header(headers, "transfer-encoding").unwrap_or_default();
    if encoding.eq_ignore_ascii_case("chunked") {
        return read_chunks(from);
    }
    if let Some(length) = header(headers, "content-length") {
        let length: u64 = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        from.take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if until_close {
        from.read_to_end(&mut body)?;
    }
    Ok((body, Headers::new()))
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<(Vec<u8>, Headers)> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            break;
        }
        let before = body.len();
        from.take(size).read_to_end(&mut body)?;
        if ((body.len() - before) as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_line(from)?;
    }
    let mut trailers = Headers::new();
    while let Some(line) = read_line(from)?.filter(|l| !l.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        trailers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok((body, trailers))
}
