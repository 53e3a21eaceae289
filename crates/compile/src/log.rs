//! Access logs as the mesh configuration asks for them.

use api::{AccessLogEncoding, MeshConfig};
use ir::{AccessLog, LogFilter, LogFormat, LogSink, Value};

const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

const JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Of requests and connections.
pub(crate) fn of_requests(mesh: &MeshConfig) -> Vec<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return Vec::new();
    }
    let sink = LogSink::File { path: mesh.access_log_file.as_str().into(), format: format(mesh) };
    vec![AccessLog { sink, filter: None }]
}

/// Of connections that a listener refused.
pub(crate) fn of_listener(mesh: &MeshConfig) -> Vec<AccessLog> {
    if mesh.disable_envoy_listener_log {
        return Vec::new();
    }
    let refused = || Some(LogFilter::ResponseFlags(vec!["NR".into()]));
    of_requests(mesh).into_iter().map(|log| AccessLog { filter: refused(), ..log }).collect()
}

fn format(mesh: &MeshConfig) -> LogFormat {
    match mesh.access_log_encoding {
        AccessLogEncoding::Text if mesh.access_log_format.is_empty() => {
            LogFormat::Text(TEXT.into())
        }
        AccessLogEncoding::Text => {
            let line = mesh.access_log_format.as_str();
            let end = if line.ends_with('\n') { "" } else { "\n" };
            LogFormat::Text(format!("{line}{end}").into())
        }
        AccessLogEncoding::Json => LogFormat::Json(json(&mesh.access_log_format)),
    }
}

/// The format written as a JSON object, or Istio's fields.
fn json(written: &str) -> Value {
    match serde_json::from_str(written) {
        Ok(serde_json::Value::Object(fields)) => value(serde_json::Value::Object(fields)),
        _ => Value::Struct(
            JSON.iter().map(|(k, v)| ((*k).into(), Value::String((*v).into()))).collect(),
        ),
    }
}

fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(b),
        serde_json::Value::Number(n) => Value::Number(n.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(s) => Value::String(s.into()),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(value).collect()),
        serde_json::Value::Object(fields) => {
            Value::Struct(fields.into_iter().map(|(k, v)| (k.into(), value(v))).collect())
        }
    }
}
