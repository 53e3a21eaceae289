//! The head of a response, whatever protocol it came by.

use crate::fields::Fields;
use crate::{Head, Version};

#[derive(Clone, Debug, Default)]
pub struct Response {
    pub fields: Fields,
    pub status: u16,
    pub version: Version,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.status = 0;
        self.version = Version::default();
    }

    pub fn is_informational(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

impl Head for Response {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.get(name)
    }

    fn each_value(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        self.fields.each_value(name, each);
    }
}
