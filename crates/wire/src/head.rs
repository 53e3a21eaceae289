//! The view of a message head that policy decides on: one trait for every protocol, so that routes,
//! authorization, log and header rewriting have one implementation.

/// Header fields. Names are given in lower case and compared without regard to case.
pub trait Head {
    /// The first value of a field.
    fn get(&self, name: &[u8]) -> Option<&[u8]>;

    /// Calls `each` with every value of a field, in order.
    fn each_value(&self, name: &[u8], each: &mut dyn FnMut(&[u8]));
}

/// The head of a request.
pub trait RequestHead: Head {
    fn method(&self) -> &[u8];
    /// Path and query; `*` or empty for requests that have none.
    fn path(&self) -> &[u8];
    fn authority(&self) -> &[u8];
    fn scheme(&self) -> &[u8];

    /// A field or one of the pseudo fields `:method`, `:path`, `:authority` (`host`), `:scheme`.
    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        match name {
            b":method" => Some(self.method()),
            b":path" => Some(self.path()),
            b":authority" | b"host" => Some(self.authority()),
            b":scheme" => Some(self.scheme()),
            _ => self.get(name),
        }
    }
}
