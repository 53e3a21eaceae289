//! A kill at any moment loses no acknowledged write.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;

use crate::support::{Scratch, serve};

const STATE: &str = "LATEEN_TEST_DURABILITY_STATE";
/// Writes to see acknowledged before the kill.
const WRITES: usize = 300;
/// Kills in a row, each on the state that the one before left.
const KILLS: usize = 3;

/// Not a test of its own: the process that gets killed. It prints each acknowledged write.
#[tokio::test(flavor = "multi_thread")]
async fn writer_process() {
    let Some(dir) = std::env::var_os(STATE) else { return };
    let (client, _server, _) = serve(dir.as_ref(), Arc::new(|_, _, _| None)).await;
    for n in 0u64.. {
        let name = format!("w-{}-{n}", std::process::id());
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"}, "data": {"n": n.to_string()}});
        let written = client.create(object).await.unwrap();
        println!("ack {name} {}", written["metadata"]["resourceVersion"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_minus_nine_loses_no_acknowledged_write() {
    let dir = Scratch::new("durability");
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::writer_process", "--nocapture"])
            .env(STATE, &dir.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < WRITES {
            let line = lines.next().expect("the writer lives").unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", name, version] = words[..] {
                acknowledged.push((name.to_owned(), version.to_owned()));
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged between our last look and the kill.
        for line in lines.map_while(Result::ok) {
            if let ["ack", name, version] = line.split(' ').collect::<Vec<_>>()[..] {
                acknowledged.push((name.to_owned(), version.to_owned()));
            }
        }
    }
    let (client, _server, _) = serve(&dir.0, Arc::new(|_, _, _| None)).await;
    let stored = client.list("", "configmaps", Some("default"));
    assert!(acknowledged.len() >= KILLS * WRITES);
    for (name, version) in &acknowledged {
        let object = stored.iter().find(|o| o["metadata"]["name"] == name.as_str());
        let object = object.unwrap_or_else(|| panic!("{name} is lost"));
        assert_eq!(object["metadata"]["resourceVersion"], version.as_str(), "{name}");
    }
}
