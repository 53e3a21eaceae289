//! The released samples, all of them, as their tutorials use them: `ledger` says for every file which
//! scene applies it (unchanged) or why none does, and each scene asserts what the tutorial shows its
//! reader at that step. The scenes share one mesh, each in a namespace of its own.
//!
//! `LATEEN_SCENES=tcp,health` runs only those.

#[path = "samples/authz.rs"]
mod authz;
#[path = "samples/blog.rs"]
mod blog;
#[path = "samples/bookinfo.rs"]
mod bookinfo;
#[path = "samples/breaker.rs"]
mod breaker;
#[path = "samples/clients.rs"]
mod clients;
#[path = "samples/databases.rs"]
mod databases;
#[path = "samples/doors.rs"]
mod doors;
#[path = "samples/health.rs"]
mod health;
#[path = "samples/https.rs"]
mod https;
#[path = "samples/ingress.rs"]
mod ingress;
#[path = "samples/ledger.rs"]
mod ledger;
#[path = "samples/limits.rs"]
mod limits;
#[path = "samples/mirror.rs"]
mod mirror;
#[path = "samples/operator.rs"]
mod operator;
#[path = "samples/parts.rs"]
mod parts;
#[path = "samples/proxyless.rs"]
mod proxyless;
#[path = "samples/quota.rs"]
mod quota;
#[path = "samples/refused.rs"]
mod refused;
#[path = "samples/stacks.rs"]
mod stacks;
#[path = "samples/stage.rs"]
mod stage;
#[path = "samples/tcp.rs"]
mod tcp;
#[path = "samples/websocket.rs"]
mod websocket;
#[path = "samples/wire.rs"]
mod wire;

use e2e::{Mesh, released_samples};
use ledger::{Ledger, Verdict};
use stage::{Scene, Stage};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// Scenes at a time: they wait for pods and probes more than they compute.
const AT_ONCE: usize = 5;

/// A tutorial, and the releases whose files it is walked with: where several releases have the same
/// bytes one of them does.
struct Tutorial {
    scene: &'static str,
    releases: &'static [&'static str],
    play: fn(&Scene<'_>),
}

const ALL: &[&str] = &["1.1.2", "1.7.3", "1.9.1", "1.14.3", "master"];
const OLD: &[&str] = &["1.1.2", "1.7.3", "1.9.1", "1.14.3"];

const TUTORIALS: &[Tutorial] = &[
    Tutorial { scene: "faults", releases: &["1.1.2", "master"], play: bookinfo::faults },
    Tutorial { scene: "shifting", releases: &["1.1.2", "master"], play: bookinfo::shifting },
    Tutorial { scene: "doors", releases: ALL, play: doors::play },
    Tutorial { scene: "ingress", releases: &["1.1.2", "1.7.3", "master"], play: ingress::play },
    Tutorial { scene: "tcp", releases: ALL, play: tcp::play },
    Tutorial { scene: "operator", releases: &["master"], play: operator::play },
    Tutorial { scene: "stacks", releases: &["master"], play: stacks::play },
    Tutorial { scene: "databases", releases: ALL, play: databases::play },
    Tutorial { scene: "health", releases: ALL, play: health::play },
    Tutorial { scene: "parts", releases: ALL, play: parts::play },
    Tutorial { scene: "breaker", releases: ALL, play: breaker::play },
    Tutorial { scene: "blog", releases: OLD, play: blog::play },
    Tutorial { scene: "clients", releases: ALL, play: clients::play },
    Tutorial { scene: "https", releases: &["1.1.2"], play: https::play },
    Tutorial { scene: "authz", releases: &["1.9.1", "1.14.3", "master"], play: authz::play },
    Tutorial { scene: "limits", releases: &["master"], play: limits::play },
    Tutorial { scene: "quota", releases: &["1.9.1", "1.14.3", "master"], play: quota::play },
    Tutorial { scene: "proxyless", releases: &["master"], play: proxyless::play },
    Tutorial { scene: "mirror", releases: &["master"], play: mirror::play },
    Tutorial { scene: "refused", releases: &["master"], play: refused::play },
];

#[test]
fn every_released_file_is_in_the_ledger() {
    let Some(samples) = released_samples() else { return };
    let ledger = Ledger::read();
    let complaints = ledger.complaints(&ledger::files(&samples));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for scene in ledger.scenes() {
        let known = TUTORIALS.iter().any(|t| t.scene == scene) || scene == ledger::WALK;
        assert!(known, "the ledger names scene {scene:?}, which is not there");
    }
}

#[test]
fn every_tutorial_works_as_released() {
    let Some(samples) = released_samples() else { return };
    let Some(mesh) = Mesh::up("samples", &["--profile", "demo"]) else { return };
    let stage = Stage::new(&mesh, samples);
    let wanted = std::env::var("LATEEN_SCENES").ok();
    let is_wanted = |scene: &str| match &wanted {
        Some(list) => list.split(',').any(|name| name == scene),
        None => true,
    };
    let plays = TUTORIALS.iter().filter(|t| is_wanted(t.scene));
    let queue: VecDeque<_> =
        plays.flat_map(|tutorial| tutorial.releases.iter().map(move |r| (tutorial, *r))).collect();
    let failed = play_all(&stage, queue);
    assert!(failed.is_empty(), "these failed: {}", failed.join(", "));
    if wanted.is_none() {
        let left = unused(&stage);
        assert!(left.is_empty(), "no scene applied what the ledger says:\n{}", left.join("\n"));
    }
}

/// Plays them all, whatever becomes of the others; returns those that failed.
fn play_all(stage: &Stage<'_>, queue: VecDeque<(&Tutorial, &'static str)>) -> Vec<String> {
    let queue = Mutex::new(queue);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic under it").pop_front();
                    let Some((tutorial, release)) = next else { return };
                    let name = format!("{} of {release}", tutorial.scene);
                    let begun = Instant::now();
                    let play = || (tutorial.play)(&stage.scene(tutorial.scene, release));
                    match catch_unwind(AssertUnwindSafe(play)) {
                        Ok(()) => println!("{name}: {:.0} s", begun.elapsed().as_secs_f64()),
                        Err(_) => failed.lock().expect("no panic under it").push(name),
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic under it")
}

/// Files that the ledger gives to a scene that never applied them, nor others with the same bytes.
fn unused(stage: &Stage<'_>) -> Vec<String> {
    let ledger = Ledger::read();
    let used = stage.used();
    let files = ledger::files(stage.samples());
    let bytes = |file: &str| std::fs::read(stage.samples().join(file)).unwrap_or_default();
    let mut left = Vec::new();
    for file in &files {
        let Some(Verdict::Scene(scene)) = ledger.verdict(file) else { continue };
        let mut same = used.iter().filter(|(by, _)| *by == scene);
        if scene != ledger::WALK && !same.any(|(_, f)| f == file || bytes(f) == bytes(file)) {
            left.push(format!("{file}: {scene}"));
        }
    }
    left
}
