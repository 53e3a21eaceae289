//! HTTP/1 as bytes: where a head ends, what it means, how its body is framed, and how heads and
//! bodies are written. Framing is strict: what two programs could read in two ways is refused.

mod body;
mod error;
mod framing;
mod parse;
mod scan;
mod write;

pub use body::{BodyError, Decoder, Piece};
pub use error::HeadError;
pub use framing::{Body, Framing};
pub use parse::{Limits, ParsedResponse, frame_request, parse_request, parse_response};
pub use scan::HeadScan;
pub use write::{Encoder, HeaderCase, reason, write_request, write_response};
