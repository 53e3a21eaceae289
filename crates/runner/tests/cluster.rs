//! The embedded cluster's processes, for real, as root and as an ordinary user: it comes up, every
//! one of them is killed without a word, nothing that matters is lost, and in the end nothing is
//! left on the machine. No test harness, since the processes are this very program.
//!
//! Instead of controllers the cluster process runs `puppet`, which creates the objects of a file
//! and writes down what it sees of them.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apiserver::Client;
use runner::holder::{self, State};
use serde_json::{Value, json};

const ORDINARY: u32 = 65534;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let directory = PathBuf::from(args.get(2).cloned().unwrap_or_default());
    match args.get(1).map(String::as_str) {
        Some("shim") => runner::shim::main(&directory).unwrap(),
        Some("holder") => {
            let cluster_command = this(&["cluster", &args[2]]);
            let config = holder::Config { state: directory, cluster_command };
            holder::main(config).unwrap();
        }
        Some("cluster") => cluster(directory, args[3].clone()),
        Some("serve") => serve(),
        Some("probe") => runner::up::probe().unwrap(),
        Some("as-user") => whole_life(&directory),
        _ => both_users(),
    }
}

fn this(args: &[&str]) -> Vec<PathBuf> {
    let exe = std::env::current_exe().unwrap();
    std::iter::once(exe).chain(args.iter().map(PathBuf::from)).collect()
}

fn cluster(state: PathBuf, api_url: String) {
    let options = runner::cluster::ClusterOptions {
        state: state.clone(),
        shim_command: this(&["shim"]),
        api_url,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(runner::cluster::run(options, |client| puppet(client, state))).unwrap();
}

async fn puppet(client: Client, state: PathBuf) {
    loop {
        let wanted = std::fs::read(state.join("apply.json")).unwrap_or_default();
        for object in serde_json::from_slice::<Vec<Value>>(&wanted).unwrap_or_default() {
            // Those that exist already are refused, which is right.
            let _ = client.create(object).await;
        }
        let pods = client.list("", "pods", Some("default"));
        let text = serde_json::to_vec(&pods).unwrap();
        std::fs::write(state.join("seen.new"), text).unwrap();
        std::fs::rename(state.join("seen.new"), state.join("seen.json")).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the pods run: says its host name to everybody.
fn serve() {
    let name = std::fs::read_to_string("/etc/hostname").unwrap();
    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
    for stream in listener.incoming() {
        let (name, mut stream) = (name.clone(), stream.unwrap());
        std::thread::spawn(move || {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(name.as_bytes());
        });
    }
}

fn both_users() {
    if !rustix::process::geteuid().is_root() {
        return whole_life(&fresh_directory("user"));
    }
    whole_life(&fresh_directory("root"));
    // The program must lie where the ordinary user may read it.
    let directory = fresh_directory("user");
    let program = directory.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::os::unix::fs::chown(&directory, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let mut child = Command::new(&program);
    child.arg("as-user").arg(directory.join("state")).uid(ORDINARY).gid(ORDINARY);
    assert!(child.status().unwrap().success(), "as an ordinary user");
    std::fs::remove_dir_all(directory).unwrap();
}

fn fresh_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

struct Life {
    state: PathBuf,
    runtime: tokio::runtime::Runtime,
}

fn whole_life(state: &Path) {
    let findings = runner::up::preflight(state, &[this(&[])[0].to_str().unwrap(), "probe"]);
    if findings.iter().any(|f| f.fatal) && std::env::var_os("LATEEN_REQUIRE_PEERS").is_none() {
        return println!("skipped: {findings:?}");
    }
    let before = Machine::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let life = Life { state: state.to_owned(), runtime };
    let first = life.up();
    assert_eq!(life.up(), first, "a second time changes nothing");
    life.write("images.json", &json!({"echo": [this(&[])[0], "serve"]}));
    life.write("apply.json", &objects());
    let way = life.way();
    life.until("both pods answer", || {
        (0..20).filter_map(|_| ask(&way)).collect::<BTreeSet<_>>().len() == 2
    });
    let pods = life.until_pods("ready", |p| ready_of(p).iter().all(|(_, _, ready, _)| *ready));
    let load = Load::start(&way);
    life.kill_the_cluster(&pods);
    assert_eq!(load.stop(), 0, "requests that failed while the cluster process was killed");
    life.kill_the_holder(&pods, &way);
    life.kill_a_shim(&pods);
    life.kill_everything(&pods);
    life.runtime.block_on(runner::up::down(&life.state, true)).unwrap();
    before.same_as(&Machine::now());
    println!("cluster: ok as user {}", rustix::process::geteuid().as_raw());
}

fn objects() -> Value {
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "lateen", "automountServiceAccountToken": false,
                "containers": [{"name": "echo", "image": "registry/echo:1",
                    "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}]}})
    };
    let endpoint = |ip: &str| json!({"addresses": [ip], "conditions": {"ready": true}});
    json!([
        pod("one"), pod("two"),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": "default"},
            "spec": {"type": "NodePort", "ports": [{"name": "http", "port": 80}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "echo", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "echo"}},
            "endpoints": [endpoint("10.244.0.2"), endpoint("10.244.0.3")],
            "ports": [{"name": "http", "port": 80}]},
    ])
}

impl Life {
    fn up(&self) -> State {
        let state = self.state.to_str().unwrap();
        let holder = this(&["holder", state]);
        self.runtime.block_on(runner::up::up(&self.state, &holder, &mut |_| {})).unwrap()
    }

    fn write(&self, name: &str, what: &Value) {
        std::fs::write(self.state.join(name), what.to_string()).unwrap();
    }

    fn pods(&self) -> Vec<Value> {
        let text = std::fs::read(self.state.join("seen.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}; pods: {:?}", ready_of(&self.pods()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until_pods(&self, what: &str, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        self.until(what, || {
            let pods = self.pods();
            pods.len() == 2 && condition(&pods)
        });
        self.pods()
    }

    /// Where the host reaches the service.
    fn way(&self) -> String {
        let bound = || {
            let status = self.runtime.block_on(runner::up::status(&self.state))?;
            Some(status.relays.first()?.host.to_string())
        };
        self.until("the node port is bound", || bound().is_some());
        bound().unwrap()
    }

    fn kill(&self, file: &str) {
        holder::process_in(&self.state.join(file)).expect(file).signal(9).unwrap();
    }

    fn kill_the_cluster(&self, pods: &[Value]) {
        let old = holder::process_in(&self.state.join(holder::CLUSTER_PID_FILE)).unwrap();
        self.kill(holder::CLUSTER_PID_FILE);
        self.until("another cluster process", || {
            let new = holder::process_in(&self.state.join(holder::CLUSTER_PID_FILE));
            new.is_some_and(|n| n != old)
        });
        self.fresh_sight();
        let now = self.until_pods("pods are back", |_| true);
        assert_eq!(ready_of(&now), ready_of(pods), "the same pods, never unready, not restarted");
    }

    /// Waits for a list that the present cluster process wrote.
    fn fresh_sight(&self) {
        let _ = std::fs::remove_file(self.state.join("seen.json"));
        self.until("the cluster looks again", || self.state.join("seen.json").exists());
    }

    fn kill_the_holder(&self, pods: &[Value], way: &str) {
        self.kill(holder::PID_FILE);
        self.until("the holder is gone", || holder::running(&self.state).is_none());
        self.up();
        assert_eq!(self.way(), way, "the same port as before");
        self.until("the pods answer again", || ask(way).is_some());
        assert_eq!(ready_of(&self.pods()), ready_of(pods));
    }

    fn kill_a_shim(&self, pods: &[Value]) {
        let uid = pods[0]["metadata"]["uid"].as_str().unwrap();
        self.kill(&format!("pods/{uid}/shim.pid"));
        let again = self.until_pods("it runs again", |p| {
            let ready = ready_of(p);
            ready[0].2 && ready[0].3 == 1
        });
        assert_eq!(ready_of(&again)[1], ready_of(pods)[1], "the other pod did not notice");
    }

    fn kill_everything(&self, pods: &[Value]) {
        let mut files = vec![holder::PID_FILE.to_owned(), holder::CLUSTER_PID_FILE.to_owned()];
        let uids = pods.iter().map(|p| p["metadata"]["uid"].as_str().unwrap());
        files.extend(uids.map(|uid| format!("pods/{uid}/shim.pid")));
        files.iter().for_each(|f| self.kill(f));
        let _ = std::fs::remove_file(self.state.join("seen.json"));
        let found = self.up();
        assert_eq!(found.state, "running");
        // The statuses of before are still there: a restart is counted when it has happened.
        let again = self.until_pods("they run again", |p| {
            let counts: Vec<_> = ready_of(p).into_iter().map(|(_, _, r, n)| (r, n)).collect();
            counts == [(true, 2), (true, 1)]
        });
        let uid = |p: &[Value]| p.iter().map(|p| p["metadata"]["uid"].clone()).collect::<Vec<_>>();
        assert_eq!(uid(&again), uid(pods), "the same objects");
        files.iter().for_each(|f| self.kill(f));
    }
}

/// (name, uid, ready, restarts) of each pod.
fn ready_of(pods: &[Value]) -> Vec<(String, String, bool, u64)> {
    let each = pods.iter().map(|p| {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let status = &p["status"]["containerStatuses"][0];
        let ready = status["ready"].as_bool().unwrap_or(false);
        let restarts = status["restartCount"].as_u64().unwrap_or(0);
        (text(&p["metadata"]["name"]), text(&p["metadata"]["uid"]), ready, restarts)
    });
    each.collect()
}

fn ask(way: &str) -> Option<String> {
    let mut stream = TcpStream::connect(way).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"who").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Asks about a hundred times a second; counts what fails.
struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<u64>,
}

impl Load {
    fn start(way: &str) -> Self {
        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (way, stopped, counted) = (way.to_owned(), stop.clone(), failed.clone());
        let thread = std::thread::spawn(move || {
            let mut asked = 0;
            while !stopped.load(Ordering::Relaxed) {
                asked += 1;
                if ask(&way).is_none() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            asked
        });
        Load { stop, failed, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.join().unwrap();
        assert!(asked > 10, "only {asked} requests were made");
        self.failed.load(Ordering::Relaxed)
    }
}

/// All of the machine that could have been changed.
struct Machine {
    links: BTreeSet<String>,
    rules: Option<String>,
    mounts: String,
    parameters: Vec<(String, String)>,
    ours: BTreeSet<String>,
}

impl Machine {
    fn now() -> Self {
        let list = |path: &str| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        };
        let nft = Command::new("nft").args(["list", "ruleset"]).output().ok();
        let names = [
            "ipv4/ip_forward",
            "ipv4/ip_unprivileged_port_start",
            "ipv4/conf/all/rp_filter",
            "ipv6/conf/all/forwarding",
        ];
        let read =
            |n: &&str| std::fs::read_to_string(format!("/proc/sys/net/{n}")).unwrap_or_default();
        Machine {
            links: list("/sys/class/net"),
            rules: nft.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()),
            mounts: std::fs::read_to_string("/proc/self/mounts").unwrap(),
            parameters: names.iter().map(|n| ((*n).to_owned(), read(n))).collect(),
            ours: list("/proc").into_iter().filter(|p| is_ours(p)).collect(),
        }
    }

    fn same_as(&self, later: &Machine) {
        assert_eq!(self.links, later.links);
        assert_eq!(self.rules, later.rules);
        assert_eq!(self.mounts, later.mounts);
        assert_eq!(self.parameters, later.parameters);
        assert_eq!(self.ours, later.ours, "processes that are left");
    }
}

/// Whether a process is this program, whatever it does.
fn is_ours(pid: &str) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    exe == std::env::current_exe().unwrap()
}
