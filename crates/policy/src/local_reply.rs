//! What becomes of answers that do not come from an upstream, compiled: another status, body and fields for those
//! that a filter chooses, and how bodies are written.

use crate::format::Format;
use crate::headers::HeaderRules;
use crate::log::Filter;
use crate::{Info, Stream};
use base::{Env, Finding};
use ir::{BodyFormat, HeaderOps, LocalReply, LogFormat, ReplyMapper, Str};
use wire::{Head, Request, Response};

/// A compiled [`LocalReply`].
#[derive(Debug)]
pub struct LocalReplyRule {
    mappers: Vec<Mapper>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Mapper {
    filter: Filter,
    status: Option<u16>,
    text: Option<Str>,
    body: Option<Body>,
    headers: HeaderRules,
}

#[derive(Debug)]
struct Body {
    format: Format,
    content_type: Str,
}

impl LocalReplyRule {
    pub fn new(from: &LocalReply, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mapper = |(i, mapper)| Mapper::new(mapper, &format!("{path}.mappers[{i}]"), findings);
        let mappers = from.mappers.iter().enumerate().map(mapper).collect();
        let at = format!("{path}.body_format");
        Self { mappers, body: from.format.as_ref().map(|f| Body::new(f, &at, findings)) }
    }

    /// Gives an answer its last shape: its status in `response`, its body. `stream` says why it is given.
    pub fn rewrite(
        &self,
        request: Option<&Request>,
        response: &mut Response,
        stream: &mut Stream,
        body: Vec<u8>,
        env: &impl Env,
    ) -> Vec<u8> {
        stream.status = response.status;
        stream.local_body = body;
        let kind = response.get(b"content-type").map(<[u8]>::to_vec);
        let before = stream.local_body.clone();
        let mut shape = self.body.as_ref();
        let info = Info { request: request.map(|r| r as _), response: Some(response), stream };
        if let Some(mapper) = self.mappers.iter().find(|m| m.filter.lets_pass(&info, env)) {
            mapper.apply(request, response, stream);
            shape = mapper.body.as_ref().or(shape);
        }
        let mut out = Vec::new();
        match shape {
            Some(shape) => {
                let request = request.map(|r| r as _);
                shape.format.write(&Info { request, response: Some(response), stream }, &mut out);
                stream.local_body = Vec::new();
            }
            None => out = std::mem::take(&mut stream.local_body),
        }
        // Another body is of another kind, unless a mapper's fields say of which.
        let is_said = response.get(b"content-type") != kind.as_deref();
        let own = shape.map_or("", |s| &*s.content_type);
        if !is_said && (!own.is_empty() || out != before) {
            let own = if own.is_empty() { "text/plain" } else { own };
            response.fields.set(b"content-type", own.as_bytes());
        }
        out
    }
}

impl Mapper {
    fn new(from: &ReplyMapper, path: &str, findings: &mut Vec<Finding>) -> Self {
        let headers = HeaderOps { response_add: from.headers.clone(), ..HeaderOps::default() };
        let at = format!("{path}.body_format_override");
        Self {
            filter: Filter::new(&from.filter, path, findings),
            status: from.status,
            text: from.body.clone(),
            body: from.format.as_ref().map(|f| Body::new(f, &at, findings)),
            headers: HeaderRules::new(&headers, path, findings),
        }
    }

    fn apply(&self, request: Option<&Request>, response: &mut Response, stream: &mut Stream) {
        if let Some(text) = &self.text {
            stream.local_body = text.as_bytes().to_vec();
        }
        let nobodys = Request::default();
        self.headers.apply_to_response(response, request.unwrap_or(&nobodys), stream);
        if let Some(status) = self.status {
            response.status = status;
            stream.status = status;
        }
    }
}

impl Body {
    fn new(from: &BodyFormat, path: &str, findings: &mut Vec<Finding>) -> Self {
        let is_json = matches!(from.format, LogFormat::Json(_));
        let content_type = match (&*from.content_type, is_json) {
            ("", true) => "application/json".into(),
            _ => from.content_type.clone(),
        };
        Self {
            format: Format::new(&from.format, "%LOCAL_REPLY_BODY%", path, findings),
            content_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::{AppendAction, Comparison, HeaderAdd, LogFilter, Value};

    fn text(format: &str, content_type: &str) -> Option<BodyFormat> {
        let format = LogFormat::Text(format.into());
        Some(BodyFormat { format, content_type: content_type.into() })
    }

    fn of_status(value: u32) -> ReplyMapper {
        let filter = LogFilter::StatusCode { op: Comparison::Equal, value };
        ReplyMapper { filter, status: None, body: None, format: None, headers: Vec::new() }
    }

    #[test]
    fn the_first_mapper_that_fits_gives_the_shape() {
        let why = HeaderAdd {
            name: "x-why".into(),
            value: "%RESPONSE_CODE_DETAILS%".into(),
            action: AppendAction::OverwriteIfExistsOrAdd,
            keep_empty_value: false,
        };
        let json = [("said".into(), Value::String("%LOCAL_REPLY_BODY%".into()))].into();
        let json =
            BodyFormat { format: LogFormat::Json(Value::Struct(json)), content_type: "".into() };
        let config = LocalReply {
            mappers: vec![
                ReplyMapper { headers: vec![why], ..of_status(403) },
                ReplyMapper { status: Some(418), body: Some("tea".into()), ..of_status(503) },
                ReplyMapper { format: Some(json), ..of_status(404) },
                ReplyMapper { body: Some("never".into()), ..of_status(403) },
            ],
            format: text("<%RESPONSE_CODE%: %LOCAL_REPLY_BODY%>", "text/html"),
        };
        let mut findings = Vec::new();
        let rule = LocalReplyRule::new(&config, "", &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        for (status, expected) in [
            (403, (403, "<403: no>", "text/html", Some("rule"))),
            (503, (418, "<418: tea>", "text/html", None)),
            (404, (404, "{\"said\":\"no\"}\n", "application/json", None)),
            (500, (500, "<500: no>", "text/html", None)),
        ] {
            let mut stream = Stream { details: "rule".into(), ..Stream::default() };
            let (mut response, env) = (Response::new(status), FixedEnv::default());
            let body = rule.rewrite(None, &mut response, &mut stream, b"no".to_vec(), &env);
            let field = |name: &[u8]| {
                response.fields.values(name).next().map(|v| String::from_utf8_lossy(v).into_owned())
            };
            let kind = field(b"content-type").unwrap_or_default();
            let told =
                (response.status, &*String::from_utf8(body).unwrap(), &*kind, field(b"x-why"));
            assert_eq!(told, (expected.0, expected.1, expected.2, expected.3.map(str::to_owned)));
            assert_eq!((stream.status, stream.local_body.len()), (expected.0, 0));
        }
    }
}
