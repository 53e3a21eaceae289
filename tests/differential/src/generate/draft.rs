//! A request in parts, so that one part can be changed at a time.

use crate::client::{Body, Request};
use crate::http::Headers;

#[derive(Clone, Debug)]
pub struct Draft {
    pub method: String,
    pub path: String,
    /// Without encoding; a value of `None` is a name without `=`.
    pub query: Vec<(String, Option<String>)>,
    pub host: String,
    pub headers: Headers,
    pub body: Body,
    pub version: &'static str,
}

impl Draft {
    pub fn to(host: &str) -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            query: Vec::new(),
            host: host.into(),
            headers: Headers::new(),
            body: Body::None,
            version: "HTTP/1.1",
        }
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The header has this value instead of what it had.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.with(name, value)
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub fn param(mut self, name: &str, value: Option<&str>) -> Self {
        self.query.retain(|(n, _)| n != name);
        self.query.push((name.into(), value.map(Into::into)));
        self
    }

    pub fn without_param(mut self, name: &str) -> Self {
        self.query.retain(|(n, _)| n != name);
        self
    }

    pub fn echo(self, wish: &str) -> Self {
        self.with("x-echo", wish)
    }

    pub fn second(mut self) -> Self {
        self.version = "HTTP/2";
        self
    }

    pub fn post(mut self, body: &str) -> Self {
        self.body = Body::Length(body.as_bytes().to_vec());
        self.method("POST")
    }

    pub fn request(&self) -> Request {
        let mut target = self.path.clone();
        for (name, value) in &self.query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target += name;
            if let Some(value) = value {
                target += &format!("={}", value.replace(' ', "%20"));
            }
        }
        let mut request = Request::get(target).method(&self.method).host(&self.host);
        request.headers.clone_from(&self.headers);
        request.body = self.body.clone();
        request.version = self.version;
        request
    }
}
