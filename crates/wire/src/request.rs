//! The head of a request as every phase of the proxy passes it on, whatever protocol it came by.

use crate::fields::{Fields, Span};
use crate::{Head, RequestHead};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// As access logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// `host` is not among the fields: it is the authority.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub fields: Fields,
    pub version: Version,
    pub scheme: Scheme,
    pub(crate) method: Span,
    pub(crate) path: Span,
    pub(crate) authority: Span,
}

impl Request {
    pub fn new(method: &[u8], authority: &[u8], path: &[u8]) -> Self {
        let mut request = Self::default();
        request.set_method(method);
        request.set_authority(authority);
        request.set_path(path);
        request
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.version = Version::default();
        self.scheme = Scheme::default();
        self.method = Span::default();
        self.path = Span::default();
        self.authority = Span::default();
    }

    pub fn set_method(&mut self, method: &[u8]) {
        self.method = self.fields.store(method);
    }

    pub fn set_path(&mut self, path: &[u8]) {
        self.path = self.fields.store(path);
    }

    pub fn set_authority(&mut self, authority: &[u8]) {
        self.authority = self.fields.store(authority);
    }

    /// Sets a field or a pseudo field.
    pub fn set_field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":method" => self.set_method(value),
            b":path" => self.set_path(value),
            b":authority" | b"host" => self.set_authority(value),
            b":scheme" => {
                self.scheme = if value == b"https" { Scheme::Https } else { Scheme::Http }
            }
            _ => self.fields.set(name, value),
        }
    }
}

impl Head for Request {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.get(name)
    }

    fn each_value(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        match name.first() {
            Some(b':') => {
                if let Some(value) = self.field(name) {
                    each(value);
                }
            }
            _ if name == b"host" => each(self.authority()),
            _ => self.fields.each_value(name, each),
        }
    }
}

impl RequestHead for Request {
    fn method(&self) -> &[u8] {
        self.fields.at(self.method)
    }

    fn path(&self) -> &[u8] {
        self.fields.at(self.path)
    }

    fn authority(&self) -> &[u8] {
        self.fields.at(self.authority)
    }

    fn scheme(&self) -> &[u8] {
        self.scheme.as_str().as_bytes()
    }
}
