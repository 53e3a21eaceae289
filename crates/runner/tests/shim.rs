//! A pod's shim in a node namespace made for the test: containers with private roots, logs, exit
//! codes, exec, sockets into the pod, survival of the runner, and an end that leaves nothing.
//! No test harness, since the shim is this very program, started with one thread; it is the server in
//! a container, too, so that nothing is waited for that a cold disk brings in whenever it likes.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use net::link::Links;
use net::ns::{self, Leave};
use runner::shim::client::{Shim, Watch};
use runner::shim::protocol::{Container, Mount, Sandbox, Start};

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("shim") => {
            let directory = PathBuf::from(args.next().unwrap());
            if let Err(e) = runner::shim::main(&directory) {
                eprintln!("{e}");
                std::process::exit(1);
            }
            return;
        }
        Some("serve") => return serve_one(),
        _ => {}
    }
    if !enter_node() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(whole_life());
    println!("shim: ok");
}

/// What runs in a container: says where it is to the first who connects.
fn serve_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:80").unwrap();
    println!("up");
    listener.accept().unwrap().0.write_all(b"inside").unwrap();
}

fn enter_node() -> bool {
    if !rustix::process::geteuid().is_root() {
        ns::become_root_of_user_namespace().unwrap();
    }
    if let Err(e) = ns::unshare(Leave { net: true, ..Default::default() }) {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "no namespaces: {e}");
        println!("skipped: no namespaces for us: {e}");
        return false;
    }
    let mut links = Links::here().unwrap();
    let lo = links.index("lo").unwrap();
    links.set_up(lo).unwrap();
    links.add_address(lo, "10.244.0.1".parse().unwrap(), 32).unwrap();
    true
}

struct Pod {
    shim: Shim,
    watch: Watch,
    directory: PathBuf,
}

async fn pod(root: &Path, number: u8) -> Pod {
    let directory = root.join(format!("pod{number}"));
    let sandbox = Sandbox {
        namespace: "default".into(),
        pod: format!("web-{number}"),
        uid: format!("uid-{number}"),
        hostname: format!("web-{number}"),
        ips: vec![
            format!("10.244.0.{number}").parse().unwrap(),
            format!("fd00:10:244::{number}").parse().unwrap(),
        ],
        link: format!("pod-{number}"),
        parameters: [("ipv4/ip_unprivileged_port_start".to_owned(), "0".to_owned())].into(),
    };
    let command = [std::env::current_exe().unwrap(), "shim".into()];
    let shim = Shim::create(&command, &directory, &sandbox).await.unwrap();
    let watch = shim.watch().unwrap();
    Pod { shim, watch, directory }
}

impl Pod {
    fn start(&self, name: &str, attempt: u32, script: &str) -> Start {
        Start {
            name: name.into(),
            attempt,
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("GREETING".into(), "hello".into()),
                ("TEST".into(), format!("of-{}", std::process::id())),
            ],
            directory: None,
            uid: 0,
            gid: 0,
            groups: vec![],
            capabilities: vec!["NET_BIND_SERVICE".into(), "SETUID".into(), "SETGID".into()],
            mounts: vec![],
            commands: Default::default(),
            files: [("etc/hostname".to_owned(), "web\n".to_owned())].into(),
            read_only_root: false,
            no_new_privileges: false,
            log: self.directory.join(format!("{name}-{attempt}.log")),
        }
    }

    fn log(&self, name: &str, attempt: u32) -> String {
        let text = std::fs::read_to_string(self.directory.join(format!("{name}-{attempt}.log")));
        let lines = text.unwrap_or_default();
        lines.lines().filter_map(|l| l.splitn(4, ' ').nth(3)).map(|l| format!("{l}\n")).collect()
    }

    async fn until(&mut self, what: impl Fn(&[Container]) -> bool) -> Vec<Container> {
        let wait = async {
            loop {
                let all = self.watch.next().await.expect("the shim lives");
                if what(&all) {
                    return all;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time")
    }

    async fn exec(&self, container: &str, script: &str) -> (i32, String) {
        let (mut out, out_end) = std::io::pipe().unwrap();
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let files = vec![null(), out_end.into(), null()];
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let code = self.shim.exec(container, argv, files, false).await.unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        (code, text)
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn whole_life() {
    let root = std::env::temp_dir().join(format!("shim-test-{}", std::process::id()));
    let volume = root.join("volume");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("token"), "secret").unwrap();
    let mut one = pod(&root, 7).await;
    let mut two = pod(&root, 8).await;
    private_roots(&mut one, &mut two, &volume).await;
    exit_codes_and_leftovers(&mut one).await;
    output_has_names(&one).await;
    sockets_reach_into_the_pod(&one).await;
    the_next_runner_finds_it(&one).await;
    nothing_is_left(one, two).await;
    std::fs::remove_dir_all(root).unwrap();
}

async fn private_roots(one: &mut Pod, two: &mut Pod, volume: &Path) {
    let mut start = one.start(
        "app",
        0,
        "echo $GREETING from $(hostname); echo mine > /tmp/x; cat /data/token; sleep 1000",
    );
    start.mounts =
        vec![Mount { source: volume.to_owned(), target: "/data".into(), read_only: true }];
    one.shim.start(start).await.unwrap();
    two.shim.start(two.start("app", 0, "sleep 1000")).await.unwrap();
    eventually("the log has what was printed", || one.log("app", 0).contains("hello from web-7"))
        .await;
    let (code, text) = one.exec("app", "cat /tmp/x; cat /etc/hostname; cat /data/token").await;
    assert_eq!((code, text.as_str()), (0, "mine\nweb\nsecret"));
    assert_eq!(one.exec("app", "touch /data/y").await.0, 1, "the volume is read-only");
    assert_eq!(one.exec("app", "touch /usr/y").await.0, 1, "the host's files are read-only");
    let (_, text) = two.exec("app", "ls /tmp; ls /home").await;
    assert_eq!(text, "", "two pods never share /tmp");
    let refused = one.shim.start(one.start("app", 1, "true")).await.unwrap_err();
    assert!(refused.to_string().contains("runs already"), "{refused}");
}

async fn exit_codes_and_leftovers(pod: &mut Pod) {
    pod.shim.start(pod.start("job", 0, "sleep 999 & exit 3")).await.unwrap();
    let code = |all: &[Container]| {
        all.iter().find(|c| c.name == "job").and_then(|c| c.ended).map(|e| e.code)
    };
    let all = pod.until(|all| code(all).is_some()).await;
    assert_eq!(code(&all), Some(3));
    // Its shell writes no name of the sleeper into /proc but through the sleeper itself.
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null | grep -c '^sleep 999'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while pod.exec("app", script).await.1.trim() != "0" {
        assert!(Instant::now() < deadline, "what a container left running ends with it");
    }
    // Whoever is told of the end finds the last words in the log.
    for attempt in 0..20 {
        pod.shim.start(pod.start("brief", attempt, "echo last; printf words")).await.unwrap();
        let over = |c: &Container| c.name == "brief" && c.attempt == attempt && c.ended.is_some();
        pod.until(|all| all.iter().any(over)).await;
        assert_eq!(pod.log("brief", attempt), "last\nwords\n", "attempt {attempt}");
    }
    let mut missing = pod.start("typo", 0, "");
    missing.argv = vec!["no-such-program".into()];
    let refused = pod.shim.start(missing).await.unwrap_err().to_string();
    assert_eq!(refused, "no-such-program: not found");
    pod.shim
        .start(pod.start("loop", 0, "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"))
        .await
        .unwrap();
    eventually("it runs", || pod.log("loop", 0).contains("up")).await;
    pod.shim.signal("loop", 15).await.unwrap();
    let ended = |all: &[Container]| all.iter().find(|c| c.name == "loop").and_then(|c| c.ended);
    let all = pod.until(|all| ended(all).is_some()).await;
    assert_eq!(ended(&all).unwrap().code, 7);
}

/// Programs that are told to log into `/dev/stdout` can, whoever they run as.
async fn output_has_names(pod: &Pod) {
    let mut start = pod.start("named", 0, "echo out > /dev/stdout; echo err > /dev/stderr; id -u");
    start.uid = 1337;
    pod.shim.start(start).await.unwrap();
    let expected = if ns::user_exists(1337) { "1337" } else { "0" };
    eventually("what was written by name is in the log", || {
        let log = pod.log("named", 0);
        ["out", "err", expected].iter().all(|line| log.lines().any(|l| l == *line))
    })
    .await;
}

async fn sockets_reach_into_the_pod(pod: &Pod) {
    let mut start = pod.start("web", 0, "");
    let program = std::env::current_exe().unwrap();
    start.mounts = vec![Mount { source: program, target: "/server".into(), read_only: true }];
    start.argv = ["/server", "serve"].map(str::to_owned).to_vec();
    pod.shim.start(start).await.unwrap();
    eventually("it listens", || pod.log("web", 0).contains("up")).await;
    let socket = std::net::TcpStream::from(pod.shim.socket(false).await.unwrap());
    let socket = tokio::net::TcpSocket::from_std_stream(socket);
    let mut stream = socket.connect("127.0.0.1:80".parse().unwrap()).await.unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
    assert_eq!(text, "inside");
}

async fn the_next_runner_finds_it(pod: &Pod) {
    let (found, sandbox) = Shim::find(&pod.directory).unwrap();
    assert_eq!(sandbox.pod, "web-7");
    let all = found.watch().unwrap().next().await.unwrap();
    let app = all.iter().find(|c| c.name == "app").unwrap();
    assert_eq!((app.attempt, app.ended), (0, None));
    let rss = std::fs::read_to_string(format!("/proc/{}/status", found.process().pid)).unwrap();
    let line = |key: &str| rss.lines().find(|l| l.starts_with(key)).unwrap_or_default().to_owned();
    println!("{} {}", line("VmRSS"), line("RssAnon"));
}

async fn nothing_is_left(one: Pod, two: Pod) {
    let names =
        || Links::here().unwrap().list().unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    assert!(names().contains(&"pod-7".to_owned()));
    one.shim.destroy().await;
    // The other one is killed without a word.
    two.shim.process().signal(9).unwrap();
    eventually("links go with their pods", || !names().iter().any(|n| n.starts_with("pod-"))).await;
    assert!(Shim::find(&one.directory).is_none());
    assert!(Shim::find(&two.directory).is_none());
    let sleeping = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let text = all.filter_map(|p| std::fs::read_to_string(p.path().join("environ")).ok());
        text.filter(|t| t.contains(&format!("TEST=of-{}\0", std::process::id()))).count()
    };
    eventually("every process of the pods is gone", || sleeping() == 0).await;
}
