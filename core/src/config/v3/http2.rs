//! `envoy.config.core.v3.Http2ProtocolOptions`, of connection managers and of clusters.

use super::reader::Reader;
use crate::http2::{Http2Options, Keepalive};
use crate::limit;

pub(super) fn read(options: &Reader<'_>, max_header_bytes: u32) -> Http2Options {
    options.no_effect(
        &["max_outbound_frames", "max_outbound_control_frames"],
        "what waits to be sent is bounded by `per_connection_buffer_limit_bytes`",
    );
    options.ignore(&[
        "override_stream_error_on_invalid_http_message",
        "stream_error_on_invalid_http_messaging",
        "allow_metadata",
        "use_oghttp2_codec",
        "enable_huffman_encoding",
        "max_metadata_size",
    ]);
    if options.flag("allow_metadata") {
        options.unsupported("allow_metadata", "Weir does not forward METADATA frames");
    }
    if options.has("custom_settings_parameters") {
        options.ignore(&["custom_settings_parameters"]);
        options.unsupported("custom_settings_parameters", "Weir sends the settings that these options name, and no others");
    }
    let defaults = Http2Options::default();
    Http2Options {
        max_concurrent_streams: options.u32("max_concurrent_streams").unwrap_or(defaults.max_concurrent_streams),
        stream_window: options.u32("initial_stream_window_size").unwrap_or(defaults.stream_window),
        connection_window: options.u32("initial_connection_window_size").unwrap_or(defaults.connection_window),
        header_table_size: options.u32("hpack_table_size").unwrap_or(defaults.header_table_size).min(limit::HPACK_TABLE),
        allow_connect: options.flag("allow_connect"),
        max_header_bytes,
        keepalive: options.message("connection_keepalive", |keepalive| read_keepalive(&keepalive)).flatten(),
        max_empty_frames: options.u32("max_consecutive_inbound_frames_with_empty_payload").unwrap_or(defaults.max_empty_frames),
        max_priority_frames: options.u32("max_inbound_priority_frames_per_stream").unwrap_or(defaults.max_priority_frames),
        max_window_updates: options.u32("max_inbound_window_update_frames_per_data_frame_sent").unwrap_or(defaults.max_window_updates),
    }
}

fn read_keepalive(keepalive: &Reader<'_>) -> Option<Keepalive> {
    keepalive.no_effect(&["interval_jitter", "connection_idle_interval"], "PINGs are sent at `interval`");
    let timeout = keepalive.duration("timeout")?;
    let interval = keepalive.duration("interval")?;
    Some(Keepalive { interval, timeout })
}
