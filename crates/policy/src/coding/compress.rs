//! Bodies that are compressed: which, by what client and upstream say of them, and how.

use super::Unreadable;
use flate2::Compression;
use flate2::write::GzEncoder;
use ir::{Compressed, Compressor};
use std::io::Write;
use wire::{Fields, Head, Request, Response};

/// A compiled [`Compressor`].
#[derive(Debug)]
pub struct CompressRule {
    config: Compressor,
}

const ENCODING: &[u8] = b"gzip";

/// Bodies that are known to be text, and to their benefit compressed.
const TEXTS: [&str; 18] = [
    "text/html",
    "text/plain",
    "text/css",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/x-javascript",
    "text/ecmascript",
    "text/js",
    "text/jscript",
    "text/x-js",
    "application/ecmascript",
    "application/x-json",
    "application/xml",
    "application/json",
    "image/svg+xml",
    "text/xml",
    "application/xhtml+xml",
];

impl CompressRule {
    pub fn new(from: &Compressor) -> Self {
        Self { config: from.clone() }
    }

    /// What the client accepts, for its answer; and what becomes of the request's body.
    pub fn receive(
        &self,
        request: &mut Request,
        bodiless: bool,
    ) -> (Option<Vec<u8>>, Option<Gzip>) {
        let accept = request.get(b"accept-encoding").map(<[u8]>::to_vec);
        if self.config.remove_accept_encoding && !self.config.responses.disabled {
            request.fields.remove(b"accept-encoding");
        }
        let which = self.config.requests.as_ref().filter(|w| !w.disabled && !bodiless);
        let fits = which.is_some_and(|w| {
            w.is_long(request) && w.has_kind(request) && request.get(b"content-encoding").is_none()
        });
        let coder = fits.then(|| self.begin(&mut request.fields));
        (accept, coder)
    }

    /// Changes the head of an answer to a client that accepts this.
    pub fn answer(
        &self,
        accept: Option<&[u8]>,
        response: &mut Response,
        bodiless: bool,
    ) -> Option<Gzip> {
        if !self.may_compress(response) {
            return None;
        }
        let kind = response.get(b"content-type").unwrap_or_default();
        let accepted = accept.is_some_and(|a| is_accepted(a, self.config.responses.offers(kind)));
        let coder = (accepted && !bodiless).then(|| {
            self.loosen_etag(&mut response.fields);
            self.begin(&mut response.fields)
        });
        vary(&mut response.fields);
        coder
    }

    fn may_compress(&self, response: &Response) -> bool {
        let which = &self.config.responses;
        let said = |name: &[u8], token: &str| {
            response.get(name).is_some_and(|v| has_token(v, token.as_bytes()))
        };
        !which.disabled
            && which.is_long(response)
            && which.has_kind(response)
            && !said(b"cache-control", "no-transform")
            && !(self.config.disable_on_etag && response.get(b"etag").is_some())
            && response.get(b"content-encoding").is_none()
            && !self.config.uncompressible_codes.contains(&response.status)
            && response.status != 101
    }

    fn begin(&self, fields: &mut Fields) -> Gzip {
        fields.remove(b"content-length");
        fields.set(b"content-encoding", ENCODING);
        Gzip::new(self.config.level)
    }

    /// The bytes are others now: a strong tag no longer says the truth.
    fn loosen_etag(&self, fields: &mut Fields) {
        let Some(tag) = fields.values(b"etag").next().map(<[u8]>::to_vec) else { return };
        if tag.len() > 2 && tag[..2].eq_ignore_ascii_case(b"W/") {
            return;
        }
        match self.config.weaken_etag {
            true => fields.set(b"etag", &[b"W/", &*tag].concat()),
            false => {
                fields.remove(b"etag");
            }
        }
    }
}

trait Which {
    fn is_long(&self, head: &impl Head) -> bool;
    fn has_kind(&self, head: &impl Head) -> bool;
    fn offers(&self, kind: &[u8]) -> bool;
}

impl Which for Compressed {
    /// What does not say its length may be long.
    fn is_long(&self, head: &impl Head) -> bool {
        const LEAST: u64 = 30;
        let Some(length) = head.get(b"content-length") else { return true };
        let length = std::str::from_utf8(length).ok().and_then(|l| l.parse::<u64>().ok());
        length.is_some_and(|n| n >= self.min_length.map_or(LEAST, u64::from))
    }

    fn has_kind(&self, head: &impl Head) -> bool {
        head.get(b"content-type").is_none_or(|kind| self.offers(kind))
    }

    /// Without its parameters.
    fn offers(&self, kind: &[u8]) -> bool {
        if kind.is_empty() {
            return true;
        }
        let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let same = |known: &str| kind.eq_ignore_ascii_case(known.as_bytes());
        match self.content_types.as_slice() {
            [] => TEXTS.into_iter().any(same),
            own => own.iter().any(|k| same(k)),
        }
    }
}

/// Whether gzip is what a client that accepts this likes best; `offered`: there is gzip to choose.
fn is_accepted(accept: &[u8], offered: bool) -> bool {
    let mut wanted: Vec<(&[u8], f32)> = Vec::new();
    let mut refused = false;
    for token in accept.split(|b| *b == b',').filter(|t| !t.is_empty()) {
        let mut parts = token.splitn(2, |b| *b == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let Some(weight) = parts.next().map_or(Some(1.0), weight) else { continue };
        wanted.push((name, weight));
        refused |= weight == 0.0 && name == ENCODING;
    }
    let offered = offered && !refused;
    let mut best: (&[u8], f32) = (b"identity", 0.0);
    for (name, weight) in wanted {
        let known = name == b"identity" || name == b"*" || (name == ENCODING && offered);
        if known && weight > best.1 {
            best = (name, weight);
        }
    }
    best.1 > 0.0 && offered && matches!(best.0, ENCODING | b"*")
}

/// `None`: it cannot be read, and what it weighs does not count.
fn weight(parameters: &[u8]) -> Option<f32> {
    let mut parts = parameters.splitn(2, |b| *b == b'=');
    let name = parts.next().unwrap_or_default().trim_ascii();
    match parts.next() {
        Some(value) if name.eq_ignore_ascii_case(b"q") => {
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        }
        _ => Some(1.0),
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
}

/// Caches are told that the answer depends on what is accepted.
fn vary(fields: &mut Fields) {
    const NAME: &[u8] = b"Accept-Encoding";
    let Some(before) = fields.values(b"vary").next().map(<[u8]>::to_vec) else {
        return fields.set(b"vary", NAME);
    };
    // Known by its spelling, as in Envoy.
    if !before.split(|b| *b == b',').any(|token| token.trim_ascii() == NAME) {
        fields.set(b"vary", &[&*before, b", ", NAME].concat());
    }
}

/// A body that becomes gzip. What was put in comes out at once, since somebody may wait for it.
#[derive(Debug)]
pub struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
}

impl Gzip {
    fn new(level: Option<u32>) -> Self {
        let level = level.map_or_else(Compression::default, Compression::new);
        Self { encoder: GzEncoder::new(Vec::new(), level) }
    }

    pub(super) fn take(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let taken = self.encoder.write_all(data).and_then(|()| self.encoder.flush());
        taken.map_err(|_| Unreadable::Compression)?;
        out.append(self.encoder.get_mut());
        Ok(())
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.encoder.try_finish().map_err(|_| Unreadable::Compression)?;
        out.append(self.encoder.get_mut());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Coder, Recoding};
    use super::*;
    use std::io::Read;

    #[test]
    fn clients_say_what_they_accept() {
        let table = [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("deflate", false),
            ("identity", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("gzip;q=0.5, identity", false),
            ("gzip ; Q = 0.5, identity;q=0.4", true),
            ("gzip;q=x, identity;q=0.1", false),
            ("gzip;level=9", true),
            ("GZIP", false),
            ("", false),
        ];
        for (accept, expected) in table {
            assert_eq!(is_accepted(accept.as_bytes(), true), expected, "{accept}");
        }
        assert!(!is_accepted(b"gzip", false));
    }

    #[test]
    fn answers_are_compressed_that_gain_by_it() {
        let answer = |config: &Compressor, fields: &[(&str, &str)], status| {
            let mut response = Response::new(status);
            for (name, value) in fields {
                response.fields.push(name.as_bytes(), value.as_bytes());
            }
            let coder = CompressRule::new(config).answer(Some(b"gzip"), &mut response, false);
            (coder.is_some(), response.get(b"vary").is_some())
        };
        let plain = Compressor::default();
        let careful = Compressor {
            disable_on_etag: true,
            uncompressible_codes: vec![404],
            responses: Compressed { content_types: vec!["a/b".into()], ..Default::default() },
            ..Default::default()
        };
        type Row<'a> = (&'a Compressor, &'a [(&'a str, &'a str)], u16, bool);
        let table: [Row<'_>; 11] = [
            (&plain, &[], 200, true),
            (&plain, &[("content-type", "text/html; charset=x")], 200, true),
            (&plain, &[("content-type", "image/png")], 200, false),
            (&plain, &[("content-length", "29")], 200, false),
            (&plain, &[("content-length", "30")], 200, true),
            (&plain, &[("content-encoding", "br")], 200, false),
            (&plain, &[("cache-control", "private, No-Transform")], 200, false),
            (&careful, &[("content-type", "A/B")], 200, true),
            (&careful, &[("content-type", "text/html")], 200, false),
            (&careful, &[("etag", "x")], 200, false),
            (&careful, &[], 404, false),
        ];
        for (config, fields, status, expected) in table {
            assert_eq!(answer(config, fields, status), (expected, expected), "{fields:?} {status}");
        }
    }

    #[test]
    fn what_comes_out_is_gzip_and_comes_at_once() {
        let mut recoding = Recoding::default();
        recoding.then(Coder::Gzip(Gzip::new(Some(9))));
        let mut out = Vec::new();
        for _ in 0..3 {
            assert_eq!(recoding.put(b"hello, "), Ok(7));
            assert!(!recoding.data().is_empty(), "somebody waits for it");
            out.extend_from_slice(recoding.data());
            recoding.consume(recoding.data().len());
        }
        recoding.end(None).unwrap();
        out.extend_from_slice(recoding.data());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*out).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello, hello, hello, ");
    }
}
