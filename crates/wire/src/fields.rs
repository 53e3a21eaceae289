//! Header fields as bytes with an index: parsed in place, edited by appending to the same buffer,
//! written once. Nothing is allocated per field, and the buffer is reused from request to request.

use crate::Head;

/// A piece of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// A field that may be given once is given again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeated;

/// The fields of one head, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    list: Vec<Field>,
}

impl Fields {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
    }

    /// Memory held, for whoever decides whether to keep this for the next request.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.list.capacity() * std::mem::size_of::<Field>()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|f| (self.at(f.name), self.at(f.value)))
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// Every value of a field.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| same(n, name)).map(|(_, v)| v)
    }

    /// Adds a field after all others.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let field = Field { name: self.store(name), value: self.store(value) };
        self.list.push(field);
    }

    /// Gives a field exactly one value.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(at) = self.find(name) else { return self.push(name, value) };
        let value = self.store(value);
        self.list[at].value = value;
        let mut index = 0;
        let bytes = &self.bytes;
        self.list.retain(|f| {
            index += 1;
            index - 1 <= at || !same(slice(bytes, f.name), name)
        });
    }

    /// Adds to a field's value after a separator, or adds the field.
    pub fn append(&mut self, name: &[u8], separator: &[u8], value: &[u8]) {
        let Some(at) = self.find(name) else { return self.push(name, value) };
        let old = self.list[at].value;
        let start = self.bytes.len();
        let range = old.start as usize..(old.start + old.len) as usize;
        self.bytes.extend_from_within(range);
        self.bytes.extend_from_slice(separator);
        self.bytes.extend_from_slice(value);
        self.list[at].value = self.since(start);
    }

    /// Removes a field; says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.list.len();
        let bytes = &self.bytes;
        self.list.retain(|f| !same(slice(bytes, f.name), name));
        before != self.list.len()
    }

    /// Keeps the fields for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.list.retain(|f| keep(slice(bytes, f.name), slice(bytes, f.value)));
    }

    /// Takes out a field that may be there once; gives its value, or an error if there are more.
    pub(crate) fn take_only(&mut self, name: &[u8]) -> Result<Option<Span>, Repeated> {
        let Some(at) = self.find(name) else { return Ok(None) };
        let value = self.list.remove(at).value;
        if self.find(name).is_some() { Err(Repeated) } else { Ok(Some(value)) }
    }

    pub(crate) fn at(&self, span: Span) -> &[u8] {
        slice(&self.bytes, span)
    }

    pub(crate) fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.since(start)
    }

    /// Adds a field whose name and value already lie in the buffer.
    pub(crate) fn push_spans(&mut self, name: Span, value: Span) {
        self.list.push(Field { name, value });
    }

    /// Takes a whole head into the buffer and gives its offset.
    pub(crate) fn adopt(&mut self, head: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head);
        start
    }

    fn since(&self, start: usize) -> Span {
        // Heads are limited to far less than 4 GiB by whoever fills them.
        Span { start: start as u32, len: (self.bytes.len() - start) as u32 }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.list.iter().position(|f| same(slice(&self.bytes, f.name), name))
    }
}

/// The span of `part` within `whole`, which was adopted at `base`.
pub(crate) fn span_of(whole: &[u8], base: usize, part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    Span { start: (base + start) as u32, len: part.len() as u32 }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[span.start as usize..(span.start + span.len) as usize]
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.eq_ignore_ascii_case(b)
}

impl Head for Fields {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.list.iter().find(|f| same(self.at(f.name), name)).map(|f| self.at(f.value))
    }

    fn each_value(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        for field in &self.list {
            if same(self.at(field.name), name) {
                each(self.at(field.value));
            }
        }
    }
}

/// Whether the bytes are a token of RFC 9110: a valid field name or method.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut f = Fields::default();
        for (n, v) in list {
            f.push(n.as_bytes(), v.as_bytes());
        }
        f
    }

    fn shown(f: &Fields) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        f.iter().map(|(n, v)| (text(n), text(v))).collect()
    }

    #[test]
    fn edits_keep_order_and_leave_one_value() {
        let mut f = fields(&[("A", "1"), ("b", "2"), ("a", "3")]);
        f.set(b"a", b"x");
        f.append(b"B", b",", b"y");
        f.push(b"c", b"");
        let expected = [("A", "x"), ("b", "2,y"), ("c", "")];
        assert_eq!(shown(&f), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(f.remove(b"a"));
        assert!(!f.remove(b"a"));
        assert_eq!(f.get(b"b"), Some(&b"2,y"[..]));
    }

    #[test]
    fn every_value_is_seen_in_order() {
        let f = fields(&[("x", "1"), ("y", "2"), ("X", "3")]);
        let mut seen = Vec::new();
        f.each_value(b"x", &mut |v| seen.push(v.to_vec()));
        assert_eq!(seen, [b"1", b"3"]);
    }
}
