//! Mirroring, as its tutorial writes it out: all requests go to v1, then a copy of each to v2 as well,
//! whose answers nobody waits for.

use super::stage::Scene;
use e2e::counter;

const REQUESTS: u32 = 100;

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply_text(&["v1", "v2"].map(|version| HTTPBIN.replace("VERSION", version)).concat());
    scene.ready();
    scene.apply_text(ALL_TO_V1);
    scene.eventually("all go to v1", || {
        let before = [received(scene, "v1"), received(scene, "v2")];
        send(scene, 20)?;
        let after = [received(scene, "v1"), received(scene, "v2")];
        if after == [before[0] + 20, before[1]] {
            Ok(())
        } else {
            Err(format!("{before:?} {after:?}"))
        }
    });
    scene.apply_text(&format!("{}{MIRROR}", ALL_TO_V1.trim_end()));
    scene.eventually("the mirror", || {
        let before = received(scene, "v2");
        send(scene, 1)?;
        if received(scene, "v2") > before { Ok(()) } else { Err(format!("{before} at v2")) }
    });
    let before = [received(scene, "v1"), received(scene, "v2")];
    send(scene, REQUESTS).expect("each is answered by v1");
    scene.eventually("each is mirrored once", || {
        let grown = [received(scene, "v1") - before[0], received(scene, "v2") - before[1]];
        if grown == [u64::from(REQUESTS); 2] { Ok(()) } else { Err(format!("{grown:?}")) }
    });
    scene.end();
}

fn send(scene: &Scene<'_>, requests: u32) -> Result<(), String> {
    scene.count(requests, "http://httpbin:8000/headers", &["all=X-Request-Id"], &[]).map(drop)
}

/// What the server's own sidecar has counted.
fn received(scene: &Scene<'_>, version: &str) -> u64 {
    let text = scene.proxy_says(&format!("deploy/httpbin-{version}"), "stats/prometheus");
    counter(&text, "istio_requests_total", &[("reporter", "destination")]) as u64
}

const HTTPBIN: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: httpbin-VERSION }
spec:
  replicas: 1
  selector: { matchLabels: { app: httpbin, version: VERSION } }
  template:
    metadata: { labels: { app: httpbin, version: VERSION } }
    spec:
      containers:
      - image: docker.io/kennethreitz/httpbin
        name: httpbin
        command: [gunicorn, --access-logfile, '-', -b, '0.0.0.0:80', 'httpbin:app']
        ports: [{ containerPort: 80 }]
---
";

const ALL_TO_V1: &str = "
apiVersion: v1
kind: Service
metadata: { name: httpbin, labels: { app: httpbin } }
spec:
  ports: [{ name: http, port: 8000, targetPort: 80 }]
  selector: { app: httpbin }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: httpbin }
spec:
  host: httpbin
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: httpbin }
spec:
  hosts: [httpbin]
  http:
  - route:
    - destination: { host: httpbin, subset: v1 }
      weight: 100
";

const MIRROR: &str = "
    mirror: { host: httpbin, subset: v2 }
    mirrorPercentage: { value: 100.0 }
";
