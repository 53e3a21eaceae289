//! The messages of `proto.EchoTestService`, as far as they are read and written here.

#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoMessage {
    #[prost(string, tag = "1")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardEchoRequest {
    #[prost(int32, tag = "1")]
    pub count: i32,
    #[prost(int32, tag = "2")]
    pub qps: i32,
    #[prost(int64, tag = "3")]
    pub timeout_micros: i64,
    #[prost(string, tag = "4")]
    pub url: String,
    #[prost(message, repeated, tag = "5")]
    pub headers: Vec<Header>,
    #[prost(string, tag = "6")]
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardEchoResponse {
    #[prost(string, repeated, tag = "1")]
    pub output: Vec<String>,
}
