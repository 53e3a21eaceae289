//! What becomes of answers that do not come from an upstream.

use crate::{HeaderAdd, LogFilter, LogFormat, Str};

/// `LocalReplyConfig` of the HTTP connection manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalReply {
    /// The first that an answer passes counts.
    pub mappers: Vec<ReplyMapper>,
    /// `None`: the body as it is.
    pub format: Option<BodyFormat>,
}

/// `ResponseMapper`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyMapper {
    pub filter: LogFilter,
    pub status: Option<u16>,
    pub body: Option<Str>,
    /// In place of [`LocalReply::format`].
    pub format: Option<BodyFormat>,
    pub headers: Vec<HeaderAdd>,
}

/// How a body is written; `%LOCAL_REPLY_BODY%` is what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct BodyFormat {
    pub format: LogFormat,
    /// Empty: `application/json` or `text/plain`, by the format.
    pub content_type: Str,
}
