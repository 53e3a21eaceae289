//! The tutorial as its followers walk it: Bookinfo with the manifests as they were released (or our own
//! where those are not there), routes that move traffic, and metrics that count exactly.

use e2e::{Mesh, counter, eventually, released_samples, workspace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Pages a second at most; each is four requests more inside the mesh.
const RATE: usize = 400;
/// Pages on their way at a time: a machine that is slower has less to do at once.
const AT_ONCE: &str = "8";

/// A release whose samples are walked through, in a namespace of its own.
struct Release {
    name: &'static str,
    /// Whether its users wrote sidecars into the manifests instead of labelling the namespace.
    by_hand: bool,
}

const RELEASES: &[Release] = &[
    Release { name: "1.1.2", by_hand: true },
    Release { name: "1.7.3", by_hand: false },
    Release { name: "1.9.1", by_hand: false },
    Release { name: "1.14.3", by_hand: false },
    Release { name: "master", by_hand: false },
];

#[test]
fn the_tutorial_works_as_written() {
    let Some(mesh) = Mesh::up("bookinfo", &[]) else { return };
    let Some(samples) = released_samples() else {
        let own = Release { name: "own", by_hand: false };
        return Walk::begin(&mesh, &own, workspace().join("samples")).finish();
    };
    for release in RELEASES {
        let started = Instant::now();
        Walk::begin(&mesh, release, samples.join(release.name)).finish();
        println!("{}: {} s", release.name, started.elapsed().as_secs());
    }
}

struct Walk<'a> {
    mesh: &'a Mesh,
    release: &'a Release,
    samples: PathBuf,
    namespace: String,
}

/// How often each version of reviews was seen: v1 has no stars, v2 black ones, v3 red ones.
type Seen = BTreeMap<String, u64>;

impl<'a> Walk<'a> {
    fn begin(mesh: &'a Mesh, release: &'a Release, samples: PathBuf) -> Walk<'a> {
        let namespace = format!("of-{}", release.name.replace('.', "-"));
        mesh.kubectl(&["create", "namespace", &namespace]);
        if !release.by_hand {
            mesh.kubectl(&["label", "namespace", &namespace, "istio-injection=enabled"]);
        }
        let walk = Walk { mesh, release, samples, namespace };
        walk.apply_pods("bookinfo/platform/kube/bookinfo.yaml");
        walk.apply("bookinfo/networking/bookinfo-gateway.yaml");
        walk.apply("bookinfo/networking/destination-rule-all.yaml");
        mesh.wait_for_deployments(&walk.namespace);
        walk.until("every version is seen", |seen| seen.len() == 3);
        walk
    }

    fn finish(self) {
        self.pods_have_sidecars();
        self.all_go_to_v1();
        self.jason_sees_black_stars();
        self.half_go_to_v3_and_each_is_counted();
        self.afterwards_all_share_again();
        self.headers_are_changed();
        // What is not routed is not found.
        assert_eq!(self.mesh.curl("/nowhere", &[]).status, 404);
        // The next release's gateway takes the same port and hosts.
        self.mesh.kubectl(&["delete", "namespace", &self.namespace, "--timeout=60s"]);
    }

    fn pods_have_sidecars(&self) {
        let pods = self.kubectl(&["get", "pods"]);
        let whole = pods.lines().filter(|l| l.contains("2/2") && l.contains("Running"));
        assert_eq!(whole.count(), 6, "{pods}");
    }

    fn all_go_to_v1(&self) {
        self.apply("bookinfo/networking/virtual-service-all-v1.yaml");
        self.until("all go to v1", |seen| seen.keys().eq(["v1"]));
        assert_eq!(self.pages(100, None), [("v1".to_owned(), 100)].into());
    }

    fn jason_sees_black_stars(&self) {
        self.apply("bookinfo/networking/virtual-service-reviews-test-v2.yaml");
        let login = self.mesh.curl("/login", &["-d", "username=jason&passwd=x"]);
        let cookie = login.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next())?
        });
        let cookie = cookie.unwrap_or_else(|| panic!("no session in {}", login.head));
        eventually("jason's route", PATIENCE, || match self.pages(4, Some(cookie)) {
            seen if seen.keys().eq(["v2"]) => Ok(()),
            seen => Err(format!("{seen:?}")),
        });
        assert_eq!(self.pages(20, Some(cookie)), [("v2".to_owned(), 20)].into());
        assert_eq!(self.pages(20, None), [("v1".to_owned(), 20)].into(), "the others see none");
    }

    /// Both sides of every hop count each of 4,000 requests once.
    fn half_go_to_v3_and_each_is_counted(&self) {
        self.apply("bookinfo/networking/virtual-service-reviews-50-v3.yaml");
        self.until("the split", |seen| seen.contains_key("v3") && !seen.contains_key("v2"));
        let before = self.counts();
        let seen = self.pages(4000, None);
        let (v1, v3) = (seen["v1"], seen["v3"]);
        assert_eq!(v1 + v3, 4000, "{seen:?}");
        // 50% +- 4, which is five standard deviations.
        assert!((1840..=2160).contains(&v3), "{seen:?}");
        let expected = [4000, 4000, 4000, v1, v3, v1, v3];
        eventually("exact counts", PATIENCE, || {
            let grown: Vec<u64> =
                self.counts().iter().zip(&before).map(|(after, before)| after - before).collect();
            if grown == expected { Ok(()) } else { Err(format!("{grown:?}, not {expected:?}")) }
        });
    }

    /// What the proxies have counted: for productpage -> details what both say, what productpage's own
    /// says of requests to it, then for each version of reviews what the caller and its own say.
    fn counts(&self) -> Vec<u64> {
        let service = |name: &str| format!("{name}.{}.svc.cluster.local", self.namespace);
        let count = |text: &str, reporter: &str, to: &str, workload: &str| {
            let service = service(to);
            let labels = [
                ("reporter", reporter),
                ("destination_service", service.as_str()),
                ("destination_workload", workload),
            ];
            counter(text, "istio_requests_total", &labels) as u64
        };
        let [page, details, v1, v3] =
            ["productpage-v1", "details-v1", "reviews-v1", "reviews-v3"].map(|d| self.metrics(d));
        vec![
            count(&page, "destination", "productpage", "productpage-v1"),
            count(&page, "source", "details", "details-v1"),
            count(&details, "destination", "details", "details-v1"),
            count(&page, "source", "reviews", "reviews-v1"),
            count(&page, "source", "reviews", "reviews-v3"),
            count(&v1, "destination", "reviews", "reviews-v1"),
            count(&v3, "destination", "reviews", "reviews-v3"),
        ]
    }

    fn metrics(&self, deployment: &str) -> String {
        let pod = format!("deploy/{deployment}");
        self.mesh.proxy_says(&self.namespace, &pod, "stats/prometheus")
    }

    fn afterwards_all_share_again(&self) {
        let file = self.file("bookinfo/networking/virtual-service-all-v1.yaml");
        self.kubectl(&["delete", "-f", &file]);
        self.until("all three versions", |seen| seen.len() == 3);
        let seen = self.pages(300, None);
        assert!(seen.len() == 3 && seen.values().all(|n| (60..=141).contains(n)), "{seen:?}");
    }

    fn headers_are_changed(&self) {
        self.apply_pods("httpbin/httpbin.yaml");
        self.mesh.wait_for_deployments(&self.namespace);
        self.mesh.apply_text(&HEADERS.replace("NAMESPACE", &self.namespace));
        eventually("httpbin's headers are changed", PATIENCE, || {
            let answer = self.mesh.curl("/headers", &[]);
            let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            // One httpbin writes a value, the other a list of them.
            let sent = &body["headers"]["Key2"];
            let request = *sent == "def" || sent[0] == "def";
            match answer.head.lines().any(|line| line == "key1: abc") && request {
                true => Ok(()),
                false => Err(format!("{}\n{}", answer.head, answer.body)),
            }
        });
    }

    fn until(&self, what: &str, right: impl Fn(&Seen) -> bool) {
        eventually(&format!("{}: {what}", self.release.name), PATIENCE, || {
            match self.try_pages(20, None)? {
                seen if right(&seen) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        });
    }

    /// So many pages, each of which must come whole.
    fn pages(&self, requests: usize, cookie: Option<&str>) -> Seen {
        self.try_pages(requests, cookie)
            .unwrap_or_else(|why| panic!("{}: {why}", self.release.name))
    }

    fn try_pages(&self, requests: usize, cookie: Option<&str>) -> Result<Seen, String> {
        let url = format!("{}/productpage", self.mesh.ingress());
        let seconds = (requests as f64 / RATE as f64).to_string();
        let mut load = self.mesh.load();
        load.args(["--url", &url, "--rate", &RATE.to_string(), "--seconds", &seconds]);
        load.args(["--closed", "--in-flight", AT_ONCE]);
        load.args(["--expect-body", "<title>Simple Bookstore App</title>"]);
        for class in ["unavailable=unavailable", "v1=reviews-v1", "v2=reviews-v2", "v3=reviews-v3"]
        {
            load.args(["--classify", class]);
        }
        load.args(cookie.map(|c| format!("--header=cookie: {c}")));
        let out = load.output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let summary: Value = serde_json::from_str(&text).unwrap_or_default();
        let seen: Seen = serde_json::from_value(summary["classes"].clone()).unwrap_or_default();
        let whole = seen.keys().all(|class| ["v1", "v2", "v3"].contains(&class.as_str()));
        match out.status.success() && whole && seen.values().sum::<u64>() == requests as u64 {
            true => Ok(seen),
            false => Err(text),
        }
    }

    fn file(&self, path: &str) -> String {
        self.samples.join(path).display().to_string()
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.mesh.kubectl(&[&["-n", &self.namespace], args].concat())
    }

    fn apply(&self, path: &str) {
        self.kubectl(&["apply", "-f", &self.file(path)]);
    }

    /// Pods get their sidecars from the cluster, or from the command that writes them.
    fn apply_pods(&self, path: &str) {
        if !self.release.by_hand {
            return self.apply(path);
        }
        let written = self.mesh.state().join("injected.yaml");
        let injected = self.mesh.lateen(&["kube-inject", "-f", &self.file(path)]);
        std::fs::write(&written, injected).expect("the state directory is ours");
        self.kubectl(&["apply", "-f", &Path::new(&written).display().to_string()]);
    }
}

const HEADERS: &str = "\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: { name: httpbin, namespace: NAMESPACE }
spec:
  hosts: ['*']
  gateways: [bookinfo-gateway]
  http:
  - match: [{ uri: { prefix: /headers } }]
    headers:
      response: { add: { key1: abc } }
      request: { add: { key2: def } }
    route: [{ destination: { host: httpbin, port: { number: 8000 } } }]
";
