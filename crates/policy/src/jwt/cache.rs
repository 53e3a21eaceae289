//! Tokens whose signatures were verified, so that the next request need not do it again. Time and
//! audiences are looked at each time.

use ::jwt::{Keys, Token};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Verified tokens of one worker, the latest.
#[derive(Debug, Default)]
pub struct TokenCache {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    by_text: HashMap<Box<[u8]>, Verified>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Verified {
    /// Held, so that no other set of keys can be taken for it.
    by: Arc<Keys>,
    token: Rc<Token>,
}

/// Of one of the two generations.
const MAX_TOKENS: usize = 1024;
const MAX_BYTES: usize = 2 * 1024 * 1024;

impl TokenCache {
    pub(super) fn get(&mut self, text: &[u8], by: &Arc<Keys>) -> Option<Rc<Token>> {
        let same = |v: &&Verified| Arc::ptr_eq(&v.by, by);
        if let Some(found) = self.young.by_text.get(text).filter(same) {
            return Some(found.token.clone());
        }
        let found = self.old.by_text.get(text).filter(same)?.clone();
        self.put(text, by, &found.token);
        Some(found.token)
    }

    pub(super) fn put(&mut self, text: &[u8], by: &Arc<Keys>, token: &Rc<Token>) {
        let bytes = text.len() + token.size();
        if self.young.by_text.len() >= MAX_TOKENS || self.young.bytes + bytes > MAX_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += bytes;
        let verified = Verified { by: by.clone(), token: token.clone() };
        self.young.by_text.insert(text.into(), verified);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.young.by_text.len() + self.old.by_text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
