//! A request as JSON, in either flavour.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::Flavour;
use crate::web::{self, Call, Reply};

pub struct Describe<'a> {
    pub call: &'a Call,
    pub flavour: Flavour,
}

impl Describe<'_> {
    pub fn get(&self) -> Reply {
        let mut value = json!({"args": self.args(), "headers": self.headers()});
        if self.flavour == Flavour::Go {
            value["method"] = json!(self.call.method.as_str());
        }
        value["origin"] = json!(self.origin());
        value["url"] = json!(self.url());
        self.json(value)
    }

    pub fn with_body(&self) -> Reply {
        self.json(self.whole(self.flavour == Flavour::Go))
    }

    pub fn anything(&self) -> Reply {
        self.json(self.whole(true))
    }

    pub fn json(&self, value: Value) -> Reply {
        self.json_with(StatusCode::OK, &value)
    }

    pub fn json_with(&self, status: StatusCode, value: &Value) -> Reply {
        let content_type = match self.flavour {
            Flavour::Python => "application/json",
            Flavour::Go => "application/json; charset=utf-8",
        };
        web::text(status, content_type, format!("{value:#}\n"))
    }

    fn whole(&self, with_method: bool) -> Value {
        let content_type = self.call.header("content-type").unwrap_or_default();
        let raw = &self.call.body;
        let (mut form, mut files, mut data) = (Vec::new(), Vec::new(), String::new());
        if content_type.starts_with("application/x-www-form-urlencoded") {
            form = web::form_pairs(&String::from_utf8_lossy(raw));
        } else if let Some(boundary) = boundary(content_type) {
            (form, files) = multipart(raw, boundary);
        } else {
            data = match std::str::from_utf8(raw) {
                Ok(text) => text.to_owned(),
                Err(_) => {
                    format!("data:application/octet-stream;base64,{}", STANDARD.encode(raw))
                }
            };
        }
        let parsed: Value = serde_json::from_slice(raw).unwrap_or_default();
        let mut value = Map::new();
        value.insert("args".to_owned(), self.args());
        value.insert("data".to_owned(), json!(data));
        value.insert("files".to_owned(), self.pairs(files));
        value.insert("form".to_owned(), self.pairs(form));
        value.insert("headers".to_owned(), self.headers());
        value.insert("json".to_owned(), parsed);
        if with_method {
            value.insert("method".to_owned(), json!(self.call.method.as_str()));
        }
        value.insert("origin".to_owned(), json!(self.origin()));
        value.insert("url".to_owned(), json!(self.url()));
        Value::Object(value)
    }

    pub fn args(&self) -> Value {
        self.pairs(self.call.query_pairs())
    }

    pub fn headers(&self) -> Value {
        let headers = self.call.headers.iter().map(|(name, value)| {
            (title_case(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            all.entry(name).or_default().push(value);
        }
        if self.flavour == Flavour::Go {
            return json!(all);
        }
        json!(all.into_iter().map(|(k, v)| (k, v.join(","))).collect::<BTreeMap<_, _>>())
    }

    /// Python: one value is text, several are a list. Go: always a list.
    fn pairs(&self, pairs: Vec<(String, String)>) -> Value {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs {
            all.entry(key).or_default().push(value);
        }
        let entries = all.into_iter().map(|(key, values)| {
            let single = self.flavour == Flavour::Python && values.len() == 1;
            (key, if single { json!(values[0]) } else { json!(values) })
        });
        Value::Object(entries.collect())
    }

    /// Who asks, as far as the proxies in between say.
    pub fn origin(&self) -> String {
        let forwarded = self.call.header("x-forwarded-for").map(str::to_owned);
        forwarded.unwrap_or_else(|| self.call.peer.to_string())
    }

    pub fn url(&self) -> String {
        let scheme = self.call.header("x-forwarded-proto").unwrap_or("http");
        let host = self.call.header("host").unwrap_or("localhost");
        let query = match self.call.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        format!("{scheme}://{host}{}{query}", self.call.path)
    }
}

/// `x-request-id` as `X-Request-Id`.
fn title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

fn boundary(content_type: &str) -> Option<&str> {
    let rest = content_type.strip_prefix("multipart/form-data")?;
    let (_, boundary) = rest.split_once("boundary=")?;
    Some(boundary.split(';').next()?.trim_matches('"'))
}

type Pairs = Vec<(String, String)>;

/// The fields and the files of a form.
fn multipart(body: &[u8], boundary: &str) -> (Pairs, Pairs) {
    let text = String::from_utf8_lossy(body);
    let (mut form, mut files) = (Vec::new(), Vec::new());
    for part in text.split(&format!("--{boundary}")).skip(1) {
        let Some((head, content)) = part.trim_start_matches("\r\n").split_once("\r\n\r\n") else {
            continue;
        };
        let attribute = |name: &str| {
            let (_, rest) = head.split_once(&format!("; {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let content = content.strip_suffix("\r\n").unwrap_or(content).to_owned();
        let Some(name) = attribute("name") else { continue };
        if attribute("filename").is_some() {
            files.push((name, content));
        } else {
            form.push((name, content));
        }
    }
    (form, files)
}
