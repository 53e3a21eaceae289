//! Retries: those written, else the mesh's, else Istio's.

use api::{HttpRetry, MeshConfig};
use ir::{Backoff, RetryPolicy, Str};

const DEFAULT_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_ATTEMPTS: u32 = 2;
/// How often another endpoint is drawn when one comes up that was tried already.
const HOST_SELECTIONS: i64 = 5;

/// `None` when there are to be none. With consistent hashing the same endpoint is tried again.
pub(super) fn of(
    mesh: &MeshConfig,
    written: Option<&HttpRetry>,
    consistent_hash: bool,
) -> Option<RetryPolicy> {
    let written = written.or(mesh.default_http_retry_policy.as_ref());
    let default = HttpRetry { attempts: DEFAULT_ATTEMPTS as i32, ..HttpRetry::default() };
    let retry = written.unwrap_or(&default);
    let attempts = u32::try_from(retry.attempts).ok().filter(|n| *n > 0)?;
    let (on, codes) = conditions(&retry.retry_on);
    let elsewhere = retry.retry_ignore_previous_hosts.unwrap_or(!consistent_hash);
    Some(RetryPolicy {
        on,
        num_retries: Some(attempts),
        per_try_timeout: retry.per_try_timeout.map(|t| t.0).filter(|t| !t.is_zero()),
        retriable_status_codes: codes,
        backoff: retry.backoff.map(|b| Backoff { base: b.0, max: None }),
        avoid_previous_hosts: elsewhere,
        host_selection_max_attempts: HOST_SELECTIONS,
        previous_priorities: (retry.retry_remote_localities == Some(true)).then_some(2),
        ..RetryPolicy::default()
    })
}

/// Conditions, and the bare status codes among them, which stand for one condition.
fn conditions(written: &str) -> (Vec<Str>, Vec<u32>) {
    let written = if written.trim().is_empty() { DEFAULT_ON } else { written };
    let mut on: Vec<Str> = Vec::new();
    let mut codes = Vec::new();
    for part in written.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse::<u32>() {
            Ok(code) => codes.push(code),
            Err(_) => on.push(part.into()),
        }
    }
    const BY_CODE: &str = "retriable-status-codes";
    if !codes.is_empty() && !on.iter().any(|c| &**c == BY_CODE) {
        on.push(BY_CODE.into());
    }
    (on, codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_what_switches_them_off() {
        let mesh = MeshConfig::default();
        let default = of(&mesh, None, false).unwrap();
        assert_eq!((default.num_retries, default.on.len()), (Some(2), 5));
        assert!(default.avoid_previous_hosts && default.host_selection_max_attempts == 5);
        assert!(!of(&mesh, None, true).unwrap().avoid_previous_hosts);
        assert_eq!(of(&mesh, Some(&HttpRetry::default()), false), None);
        let off = MeshConfig { default_http_retry_policy: Some(HttpRetry::default()), ..mesh };
        assert_eq!(of(&off, None, false), None);
    }

    #[test]
    fn status_codes_are_a_condition() {
        let (on, codes) = conditions("gateway-error, 503 ,409");
        assert_eq!(on, ["gateway-error".into(), "retriable-status-codes".into()] as [Str; 2]);
        assert_eq!(codes, [503, 409]);
    }
}
