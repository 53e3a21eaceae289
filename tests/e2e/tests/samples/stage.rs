//! Where scenes play: one mesh, a namespace for each, and a note of every file that was applied.

use e2e::{Answer, Mesh, eventually};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Stage<'a> {
    mesh: &'a Mesh,
    samples: PathBuf,
    /// (scene, file).
    used: Mutex<BTreeSet<(String, String)>>,
    gateway: Mutex<()>,
}

/// One tutorial with the files of one release, in a namespace with sidecars.
pub struct Scene<'a> {
    stage: &'a Stage<'a>,
    name: &'static str,
    pub release: &'static str,
    pub namespace: String,
}

/// How many answers were of each class.
pub type Counts = BTreeMap<String, u64>;

impl<'a> Stage<'a> {
    pub fn new(mesh: &'a Mesh, samples: PathBuf) -> Self {
        Stage { mesh, samples, used: Mutex::default(), gateway: Mutex::default() }
    }

    pub fn samples(&self) -> &Path {
        &self.samples
    }

    pub fn used(&self) -> BTreeSet<(String, String)> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn scene(&'a self, name: &'static str, release: &'static str) -> Scene<'a> {
        let namespace = format!("{name}-{}", release.replace('.', "-"));
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}}});
        self.mesh.apply_text(&object.to_string());
        Scene { stage: self, name, release, namespace }
    }
}

impl Scene<'_> {
    pub fn mesh(&self) -> &Mesh {
        self.stage.mesh
    }

    pub fn is(&self, releases: &[&str]) -> bool {
        releases.contains(&self.release)
    }

    /// The samples' gateways all take every host of port 80, so only one of them can be there at a time.
    pub fn gateway(&self) -> MutexGuard<'_, ()> {
        self.stage.gateway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where this release's file lies; notes that it is used.
    pub fn file(&self, path: &str) -> String {
        self.file_of(self.release, path)
    }

    /// A file of another release.
    pub fn file_of(&self, release: &str, path: &str) -> String {
        let note = (self.name.to_owned(), format!("{release}/{path}"));
        let mut used = self.stage.used.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.stage.samples.join(&note.1);
        assert!(file.is_file(), "{} was not released", note.1);
        used.insert(note);
        file.display().to_string()
    }

    pub fn kubectl(&self, args: &[&str]) -> String {
        self.mesh().kubectl(&[&["-n", &self.namespace], args].concat())
    }

    /// What the proxy of a pod says at a path of its admin port.
    pub fn proxy_says(&self, pod: &str, path: &str) -> String {
        self.mesh().proxy_says(&self.namespace, pod, path)
    }

    /// What kubectl says of a command that must fail.
    pub fn refused(&self, args: &[&str]) -> String {
        let mut command = self.mesh().kubectl_command();
        let out = command.args(["-n", &self.namespace]).args(args).output().expect("kubectl");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!out.status.success(), "{args:?} was not refused: {said}");
        said
    }

    pub fn apply(&self, path: &str) {
        self.kubectl(&["apply", "-f", &self.file(path)]);
    }

    pub fn delete(&self, path: &str) {
        self.kubectl(&["delete", "--ignore-not-found", "-f", &self.file(path)]);
    }

    /// What a tutorial writes out in its text instead of naming a file.
    pub fn apply_text(&self, text: &str) {
        let file = self.mesh().state().join(format!("{}.yaml", self.namespace));
        std::fs::write(&file, text).expect("the state directory is ours");
        self.kubectl(&["apply", "-f", &file.display().to_string()]);
    }

    pub fn ready(&self) {
        self.mesh().wait_for_deployments(&self.namespace);
    }

    /// Takes everything away again.
    pub fn end(&self) {
        self.mesh().kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }

    /// Starts the client that this release brings: `sleep`, later called `curl`.
    pub fn start_client(&self) {
        let name = self.client();
        self.apply(&format!("{name}/{name}.yaml"));
    }

    fn client(&self) -> &'static str {
        if self.release == "master" { "curl" } else { "sleep" }
    }

    /// What a script in the client's pod prints, however it ends.
    pub fn shell(&self, script: &str) -> String {
        let client = self.client();
        let pod = format!("deploy/{client}");
        let script = format!("{{ {script}\n}} 2>&1 || true");
        self.kubectl(&["exec", &pod, "-c", client, "--", "sh", "-c", &script])
    }

    /// Asks the ingress gateway from outside of the mesh until the answer is right.
    pub fn until_outside(&self, what: &str, path: &str, right: impl Fn(&Answer) -> bool) {
        let what = format!("{}: {what}", self.namespace);
        eventually(&what, PATIENCE, || match self.mesh().curl(path, &[]) {
            answer if right(&answer) => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }

    /// What the client's sidecar has as endpoints of clusters with these words.
    pub fn endpoints_of(&self, cluster: &str) -> String {
        let pod = format!("deploy/{}", self.client());
        let all = self.mesh().lateen(&["-n", &self.namespace, "proxy-config", "endpoints", &pod]);
        all.lines().filter(|line| line.contains(cluster)).collect::<Vec<_>>().join("\n")
    }

    /// One request from the client's pod.
    pub fn ask(&self, url: &str, args: &str) -> Answer {
        let text = self.shell(&format!(
            "curl -s -o - -D - -w '\\n%{{http_code}} %{{time_total}}' --max-time 20 {args} '{url}'"
        ));
        let (text, last) = text.rsplit_once('\n').unwrap_or((&text, ""));
        let status = last.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// How many seconds one request from the client's pod takes, and its status.
    pub fn time(&self, url: &str, args: &str) -> (u16, f64) {
        let text = self.shell(&format!(
            "curl -s -o /dev/null -w '%{{http_code}} %{{time_total}}' --max-time 20 {args} '{url}'"
        ));
        let (status, seconds) = text.split_once(' ').unwrap_or_default();
        (status.parse().unwrap_or(0), seconds.parse().unwrap_or(-1.0))
    }

    /// Asks until the answer is right.
    pub fn until(&self, what: &str, url: &str, args: &str, right: impl Fn(&Answer) -> bool) {
        self.eventually(what, || match self.ask(url, args) {
            answer if right(&answer) => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }

    pub fn eventually(&self, what: &str, ask: impl FnMut() -> Result<(), String>) {
        eventually(&format!("{}: {what}", self.namespace), PATIENCE, ask);
    }

    /// So many requests from the client's pod, by the class of their answers; a request that fails or
    /// is of no class makes it an error.
    pub fn count(
        &self,
        requests: u32,
        url: &str,
        classes: &[&str],
        args: &[&str],
    ) -> Result<Counts, String> {
        let seconds = (f64::from(requests) / 1000.0).to_string();
        let client = self.client();
        let pod = format!("deploy/{client}");
        let mut words =
            vec!["exec", &pod, "-c", client, "--", "/lateen/programs/lateen-apps", "load"];
        words.extend(["--url", url, "--rate", "1000", "--seconds", &seconds]);
        words.extend(["--closed", "--in-flight", "4", "--connections", "4"]);
        words.extend(classes.iter().flat_map(|class| ["--classify", class]));
        words.extend(args);
        let mut command = self.mesh().kubectl_command();
        let out = command.args(["-n", &self.namespace]).args(words).output().expect("kubectl");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let summary: Value = serde_json::from_str(&text).unwrap_or_default();
        let counts: Counts = serde_json::from_value(summary["classes"].clone()).unwrap_or_default();
        let whole = counts.values().sum::<u64>() == u64::from(requests);
        if out.status.success() && whole {
            Ok(counts)
        } else {
            Err(format!("{text}{}", String::from_utf8_lossy(&out.stderr)))
        }
    }
}

/// Whether `seen` of `requests` agree with a share, within five standard deviations: one run in two
/// million is refused without reason.
pub fn agrees(seen: u64, requests: u32, share: f64) -> bool {
    let n = f64::from(requests);
    (seen as f64 - n * share).abs() <= 5.0 * (n * share * (1.0 - share)).sqrt()
}
