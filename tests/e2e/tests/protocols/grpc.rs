//! gRPC: single calls spread over the endpoints, a stream of messages both ways, trailers.

use super::shell;
use e2e::Mesh;

/// A stream whose second message is written only when the first one has been answered. curl knows
/// nothing of gRPC: what it shows of frames, head and trailers is what came.
pub fn messages_stream_both_ways_and_trailers_follow(mesh: &Mesh) {
    let text = shell(
        mesh,
        r"rm -f /tmp/head; : > /tmp/out
          (printf '\0\0\0\0\5first'
           for n in $(seq 50); do grep -q first /tmp/out && break; sleep 0.1; done
           grep -q first /tmp/out && printf '\0\0\0\0\6second'
          ) | timeout 10 curl -sN --http2-prior-knowledge -X POST -T . -D /tmp/head -o /tmp/out \
              -H 'content-type: application/grpc' -H 'te: trailers' http://echo:8079/echo.Echo/Stream
          tr -d '\0\5\6' < /tmp/out; echo; cat /tmp/head",
    );
    let text = text.replace('\r', "");
    let (messages, head) = text.split_once('\n').expect("messages, then the head");
    assert_eq!(messages, "firstsecond", "{text}");
    let (head, trailers) = head.split_once("\n\n").expect("a head, then trailers");
    assert!(head.starts_with("HTTP/2 200") && head.contains("application/grpc"), "{text}");
    assert!(!head.contains("grpc-status") && trailers.contains("grpc-status: 0"), "{text}");
}

pub fn calls_are_spread_over_all_endpoints(mesh: &Mesh) {
    let load = "load --url http://echo:8079/echo.Echo/Call --mode grpc --rate 300 --seconds 8 --count-header x-served-by";
    let words: Vec<&str> =
        std::iter::once("/lateen/programs/lateen-apps").chain(load.split(' ')).collect();
    let text = mesh.exec("deploy/client", "client", &words);
    let summary: serde_json::Value = serde_json::from_str(&text).expect("a JSON summary");
    assert_eq!(summary["sent"], summary["ok"], "{summary}");
    let shares: Vec<u64> = summary["classes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, n)| n.as_u64())
        .collect();
    assert_eq!(shares.len(), 3, "{summary}");
    // 33% +- 5 of 2,400 each: five standard deviations of a fair choice.
    assert!(shares.iter().all(|n| (672..=912).contains(n)), "{summary}");
}
