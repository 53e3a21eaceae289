//! The settings of our HTTP/2 connections: what the configuration says, and bounds where it says
//! nothing. A peer can make us hold at most a connection window of data, and heads up to the limit.

use ir::Http2Options;
use std::time::Duration;

/// Streams a client may have open at once, where nothing is configured (Envoy's default).
const STREAMS: u32 = 1024;
/// Data that waits in one stream, and in all streams of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Data handed to a stream that is not on the wire yet.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a peer may reset before we have looked at them, and that we remember after resetting
/// them ourselves; beyond that the connection is closed (rapid reset).
const RESETS: usize = 50;
const RESET_MEMORY: Duration = Duration::from_secs(5);

fn stream_window(options: &Http2Options) -> u32 {
    options.initial_stream_window.unwrap_or(STREAM_WINDOW).min(16 << 20)
}

fn connection_window(options: &Http2Options) -> u32 {
    options.initial_connection_window.unwrap_or(CONNECTION_WINDOW).min(64 << 20)
}

/// For connections that clients make. `head`: the most that a head may take.
pub fn server(options: &Http2Options, head: usize) -> ::h2::server::Builder {
    let mut builder = ::h2::server::Builder::new();
    builder
        .max_concurrent_streams(options.max_concurrent_streams.unwrap_or(STREAMS))
        .initial_window_size(stream_window(options))
        .initial_connection_window_size(connection_window(options))
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS)
        .max_pending_accept_reset_streams(RESETS)
        .reset_stream_duration(RESET_MEMORY);
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// For connections that we make.
pub fn client(options: &Http2Options) -> ::h2::client::Builder {
    let mut builder = ::h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(stream_window(options))
        .initial_connection_window_size(connection_window(options))
        .max_header_list_size(60 * 1024)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESET_MEMORY);
    builder
}

/// How many requests we put on one connection.
pub fn streams_per_connection(options: &Http2Options) -> usize {
    options.max_concurrent_streams.map_or(usize::MAX, |n| n.max(1) as usize)
}
