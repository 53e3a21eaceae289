//! Why a head is refused, with the answer it gets and the detail that the access log shows.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("a line ends with LF alone; end every line with CR LF")]
    BareLf,
    #[error("the request line or status line is malformed")]
    StartLine,
    #[error("a header line is malformed (name, colon, value without control characters)")]
    HeaderLine,
    #[error("the protocol version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    #[error("the request target is malformed")]
    Target,
    #[error("the method is unknown")]
    Method,
    #[error("the request target has a fragment")]
    Fragment,
    #[error("Content-Length is not one decimal number")]
    ContentLength,
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndCoding,
    #[error("Transfer-Encoding is present in an HTTP/1.0 message, or more than once")]
    Coding,
    #[error("Transfer-Encoding is not 'chunked' alone")]
    UnknownCoding,
    #[error("Host is given more than once or is not a valid authority")]
    Host,
    #[error("the Host header is missing")]
    MissingHost,
    #[error("Connection names a header that must not be removed")]
    Connection,
    #[error("the head is larger than the limit")]
    TooLarge,
    #[error("the head has more header fields than the limit")]
    TooManyHeaders,
    #[error("the connection ended in the middle of a head")]
    Truncated,
}

impl HeadError {
    /// The status of the answer to a request.
    pub fn status(self) -> u16 {
        match self {
            HeadError::TooLarge | HeadError::TooManyHeaders => 431,
            HeadError::UnknownCoding => 501,
            HeadError::Version => 426,
            _ => 400,
        }
    }

    /// The setting that says how much there may be, where that is what is wrong.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            HeadError::TooLarge => Some("max_request_headers_kb"),
            HeadError::TooManyHeaders => Some("max_headers_count"),
            _ => None,
        }
    }

    /// The response code detail, in Envoy's words where it has one.
    pub fn detail(self) -> &'static str {
        match self {
            HeadError::TooLarge => "http1.headers_too_large",
            HeadError::TooManyHeaders => "http1.too_many_headers",
            HeadError::UnknownCoding => "http1.invalid_transfer_encoding",
            HeadError::LengthAndCoding => "http1.content_length_and_chunked_not_allowed",
            HeadError::Coding => "http1.transfer_encoding_not_allowed",
            HeadError::Target => "http1.invalid_url",
            HeadError::Version => "low_version",
            HeadError::MissingHost => "missing_host_header",
            HeadError::Fragment => "path_with_fragment",
            HeadError::Host => "http1.invalid_authority",
            HeadError::Connection => "http1.connection_header_rejected",
            _ => "http1.codec_error",
        }
    }
}
