//! gRPC-Web, the form of gRPC for clients that see no trailers: they come as one more frame at the end of the
//! body, and text clients send and get all of it as base64.

use super::Coder;
use crate::local::grpc_status;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use wire::{Fields, Head, Request, Response};

const TEXTS: [&[u8]; 2] = [b"application/grpc-web-text", b"application/grpc-web-text+proto"];
const BINARIES: [&[u8]; 2] = [b"application/grpc-web", b"application/grpc-web+proto"];

/// A request that came as gRPC-Web, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Web {
    text: bool,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Answered {
    /// It has no body.
    AsIs,
    Coded(Coder),
    /// It is not gRPC's: its body is to become a message, [`message`].
    Message,
}

/// Makes gRPC of a request that is gRPC-Web, with what its body has to go through. `None`: it is none.
pub fn receive(request: &mut Request) -> Option<(Web, Option<Coder>)> {
    let kind = request.get(b"content-type")?;
    let text = TEXTS.contains(&kind);
    if !text && !BINARIES.contains(&kind) {
        return None;
    }
    let web = Web { text: request.get(b"accept").is_some_and(|a| TEXTS.contains(&a)) };
    let fields = &mut request.fields;
    fields.remove(b"content-length");
    fields.set(b"content-type", b"application/grpc");
    fields.set(b"te", b"trailers");
    if !fields.contains(b"grpc-accept-encoding") {
        fields.push(b"grpc-accept-encoding", b"identity");
    }
    Some((web, text.then(|| Coder::FromText(FromText::default()))))
}

impl Web {
    /// Changes the head of an answer.
    pub fn answer(self, response: &mut Response, bodiless: bool) -> Answered {
        let kind = response.get(b"content-type").unwrap_or_default();
        let is_web = BINARIES.contains(&kind);
        let is_grpc = response.status == 200 && crate::decide::is_grpc(kind);
        let kind: &[u8] = if self.text { TEXTS[1] } else { BINARIES[1] };
        response.fields.set(b"content-type", kind);
        match () {
            () if bodiless => Answered::AsIs,
            () if !is_web && !is_grpc => Answered::Message,
            () => {
                response.fields.remove(b"content-length");
                Answered::Coded(Coder::ToWeb(ToWeb::new(self.text)))
            }
        }
    }
}

/// The most of a body that becomes a message.
pub const LONGEST: usize = 16 * 1024;

/// What the body of an answer that is not gRPC's becomes.
pub fn message(response: &mut Response, body: &[u8]) {
    let body = &body[..body.len().min(LONGEST)];
    let status = grpc_status(response.status).to_string();
    response.fields.set(b"grpc-status", status.as_bytes());
    response.fields.set(b"grpc-message", &crate::local::percent_encoded(body));
    response.fields.set(b"content-length", b"0");
}

/// Text that becomes bytes. Padding may stand where a piece of text ends, and more may follow.
#[derive(Debug, Default)]
pub struct FromText {
    /// Fewer than four characters, which are no byte yet.
    rest: Vec<u8>,
}

impl FromText {
    pub(super) fn take(
        &mut self,
        mut data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), super::Unreadable> {
        if !self.rest.is_empty() {
            let (head, tail) = data.split_at(data.len().min(4 - self.rest.len()));
            self.rest.extend_from_slice(head);
            data = tail;
            if self.rest.len() < 4 {
                return Ok(());
            }
            decode(&self.rest, out)?;
            self.rest.clear();
        }
        let whole = data.len() / 4 * 4;
        decode(&data[..whole], out)?;
        self.rest.extend_from_slice(&data[whole..]);
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), super::Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(super::Unreadable::Base64) }
    }
}

/// Groups of four characters; a padded one ends a piece.
fn decode(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), super::Unreadable> {
    while !text.is_empty() {
        let pad = memchr::memchr(b'=', text);
        let (piece, rest) = text.split_at(pad.map_or(text.len(), |i| i / 4 * 4 + 4));
        BASE64_STANDARD.decode_vec(piece, out).map_err(|_| super::Unreadable::Base64)?;
        text = rest;
    }
    Ok(())
}

/// An answer's body: as it is, or each frame as text; and then the trailers as a frame.
#[derive(Debug)]
pub struct ToWeb {
    text: Option<Frames>,
}

/// Where frames begin and end.
#[derive(Debug, Default)]
struct Frames {
    /// As much of a frame's head as was seen.
    head: Vec<u8>,
    /// Bytes of the frame that are to come.
    left: usize,
    /// Fewer than three bytes, which are no text yet.
    rest: Vec<u8>,
}

/// Of a frame: its kind, and its length.
const HEAD: usize = 5;

impl ToWeb {
    fn new(text: bool) -> Self {
        Self { text: text.then(Frames::default) }
    }

    pub(super) fn take(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.text {
            None => out.extend_from_slice(data),
            Some(frames) => frames.take(data, out),
        }
    }

    pub(super) fn end(&mut self, trailers: Option<&Fields>, out: &mut Vec<u8>) {
        if let Some(frames) = &mut self.text {
            frames.pad(out);
        }
        let Some(trailers) = trailers else { return };
        let frame = trailers_frame(trailers);
        match &self.text {
            Some(_) => out.extend_from_slice(BASE64_STANDARD.encode(frame).as_bytes()),
            None => out.extend_from_slice(&frame),
        }
    }
}

fn trailers_frame(trailers: &Fields) -> Vec<u8> {
    const TRAILERS: u8 = 0x80;
    let mut lines = Vec::new();
    for (name, value) in trailers.iter() {
        lines.extend(name.iter().map(u8::to_ascii_lowercase));
        lines.push(b':');
        lines.extend_from_slice(value);
        lines.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[TRAILERS], &length[..], &lines].concat()
}

impl Frames {
    fn take(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while !data.is_empty() {
            if self.left == 0 && self.head.len() < HEAD {
                let (head, tail) = data.split_at(data.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                self.encode(head, out);
                data = tail;
                if let [_, length @ ..] = self.head.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = u32::from_be_bytes(length) as usize;
                    self.end_frame(out);
                }
                continue;
            }
            let (piece, tail) = data.split_at(data.len().min(self.left));
            self.left -= piece.len();
            self.encode(piece, out);
            data = tail;
            self.end_frame(out);
        }
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) {
        if self.left == 0 {
            self.head.clear();
            self.pad(out);
        }
    }

    fn encode(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            let (head, tail) = data.split_at(data.len().min(3 - self.rest.len()));
            self.rest.extend_from_slice(head);
            data = tail;
            if self.rest.len() < 3 {
                return;
            }
            self.pad(out);
        }
        let whole = data.len() / 3 * 3;
        out.extend_from_slice(BASE64_STANDARD.encode(&data[..whole]).as_bytes());
        self.rest.extend_from_slice(&data[whole..]);
    }

    /// What is left becomes text, padded.
    fn pad(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(BASE64_STANDARD.encode(&self.rest).as_bytes());
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recoding, Unreadable};
    use super::*;

    /// What comes out of a coder that is given the body in pieces of this length.
    fn through(
        coder: Coder,
        body: &[u8],
        piece: usize,
        trailers: Option<&Fields>,
    ) -> Result<Vec<u8>, Unreadable> {
        let mut recoding = Recoding::default();
        recoding.then(coder);
        let mut out = Vec::new();
        for mut part in body.chunks(piece) {
            while !part.is_empty() {
                let n = recoding.put(part)?;
                part = &part[n..];
                out.extend_from_slice(recoding.data());
                recoding.consume(recoding.data().len());
            }
        }
        recoding.end(trailers)?;
        assert!(recoding.is_ended());
        out.extend_from_slice(recoding.data());
        Ok(out)
    }

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    #[test]
    fn frames_become_text_each_by_itself_however_they_come() {
        let frames = [frame(0, b"hello"), frame(1, b""), frame(0, &[7; 1000])];
        let expected: String = frames.iter().map(|f| BASE64_STANDARD.encode(f)).collect();
        let mut trailers = Fields::default();
        trailers.push(b"Grpc-Status", b"0");
        trailers.push(b"x", b"y z");
        let last = frame(0x80, b"grpc-status:0\r\nx:y z\r\n");
        for piece in [1, 2, 3, 4, 5, 7, 64, 5000] {
            let coder = || Coder::ToWeb(ToWeb::new(true));
            let body = frames.concat();
            let text = through(coder(), &body, piece, Some(&trailers)).unwrap();
            let with_trailers = format!("{expected}{}", BASE64_STANDARD.encode(&last));
            assert_eq!(String::from_utf8(text).unwrap(), with_trailers, "by {piece}");
            let text = through(coder(), &body, piece, None).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected, "by {piece}");
            let binary = Coder::ToWeb(ToWeb::new(false));
            let binary = through(binary, &body, piece, Some(&trailers)).unwrap();
            assert_eq!(binary, [body, last.clone()].concat(), "by {piece}");
        }
    }

    #[test]
    fn text_becomes_bytes_however_it_comes() {
        let one = BASE64_STANDARD.encode(frame(0, b"one"));
        let two = BASE64_STANDARD.encode(frame(0, b"four"));
        let both = [frame(0, b"one"), frame(0, b"four")].concat();
        let text = format!("{one}{two}");
        for piece in 1..text.len() + 1 {
            let coder = Coder::FromText(FromText::default());
            assert_eq!(through(coder, text.as_bytes(), piece, None), Ok(both.clone()));
        }
        for bad in ["AAA", "AAAAA", "A===", "AA*A", "====", "AAAAé"] {
            let coder = Coder::FromText(FromText::default());
            assert_eq!(through(coder, bad.as_bytes(), 2, None), Err(Unreadable::Base64), "{bad}");
        }
    }

    #[test]
    fn requests_are_told_by_their_content_type() {
        let table: [(&str, &str, Option<(bool, bool)>); 6] = [
            ("application/grpc-web", "", Some((false, false))),
            ("application/grpc-web+proto", "application/grpc-web-text", Some((false, true))),
            ("application/grpc-web-text", "*/*", Some((true, false))),
            (
                "application/grpc-web-text+proto",
                "application/grpc-web-text+proto",
                Some((true, true)),
            ),
            ("application/grpc", "", None),
            ("application/grpc-web-other", "", None),
        ];
        for (kind, accept, expected) in table {
            let mut request = Request::new(b"POST", b"h", b"/s/m");
            request.fields.push(b"content-type", kind.as_bytes());
            request.fields.push(b"accept", accept.as_bytes());
            request.fields.push(b"content-length", b"7");
            let received = receive(&mut request);
            let shown = received.as_ref().map(|(web, coder)| (coder.is_some(), web.text));
            assert_eq!(shown, expected, "{kind} {accept}");
            let te = request.get(b"te").is_some();
            let length = request.get(b"content-length").is_none();
            assert_eq!((te, length), (expected.is_some(), expected.is_some()), "{kind}");
        }
    }
}
