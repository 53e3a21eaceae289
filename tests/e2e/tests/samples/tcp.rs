//! TCP traffic shifting: connections through the gateway's port 31400 go to one version, then a fifth of
//! them to the other. A sidecar passes the port that the service does not name.

use super::stage::{Scene, agrees};
use std::collections::BTreeMap;

const CONNECTIONS: u32 = 300;

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    scene.apply("tcp-echo/tcp-echo-services.yaml");
    scene.ready();
    // Gateways and routes are the same bytes in all numbered releases.
    if scene.is(&["1.1.2", "master"]) {
        let _alone = scene.gateway();
        shift(scene);
    } else {
        for word in ["one", "two"] {
            answers_inside(scene, "tcp-echo:9000", &format!("{word} port"));
        }
    }
    one_version(scene);
    scene.end();
}

fn shift(scene: &Scene<'_>) {
    scene.apply("tcp-echo/tcp-echo-all-v1.yaml");
    scene.eventually("all connections go to v1", || match say(scene, "hello") {
        Ok(answer) if answer == "one hello\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(answers(scene), [("one".to_owned(), CONNECTIONS.into())].into());
    scene.apply("tcp-echo/tcp-echo-20-v2.yaml");
    scene.eventually("some connections go to v2", || match say(scene, "hello") {
        Ok(answer) if answer == "two hello\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let seen = answers(scene);
    assert!(seen.len() == 2 && agrees(seen["two"], CONNECTIONS, 0.2), "{seen:?}");
    scene.delete("tcp-echo/tcp-echo-all-v1.yaml");
    scene.eventually("the port is closed", || match say(scene, "hello") {
        Err(_) => Ok(()),
        Ok(answer) if answer.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// What so many connections were answered by.
fn answers(scene: &Scene<'_>) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for _ in 0..CONNECTIONS {
        let answer = say(scene, "x").expect("an answer");
        let (who, rest) = answer.split_once(' ').expect("a word before it");
        assert_eq!(rest, "x\n");
        *seen.entry(who.to_owned()).or_default() += 1;
    }
    seen
}

fn say(scene: &Scene<'_>, what: &str) -> std::io::Result<String> {
    let address = scene.mesh().ingress_address().replace(":80", ":31400");
    e2e::say(&address, &format!("{what}\n"))
}

/// The single deployment answers on its two ports, and at its own address on the third, which no service
/// names.
fn one_version(scene: &Scene<'_>) {
    let names: &[&str] = match scene.release {
        "master" => &["tcp-echo/tcp-echo.yaml", "tcp-echo/tcp-echo-ipv4.yaml"],
        _ => &["tcp-echo/tcp-echo.yaml"],
    };
    scene.kubectl(&["delete", "deployment", "tcp-echo-v1", "tcp-echo-v2"]);
    for name in names {
        scene.apply(name);
        scene.ready();
        let pod = only_pod(scene);
        let mut targets = vec!["tcp-echo:9000".to_owned()];
        if !scene.is(&["1.1.2"]) {
            targets.extend(["tcp-echo:9001".to_owned(), format!("{pod}:9002")]);
        }
        for target in targets {
            answers_inside(scene, &target, "hello port");
        }
    }
}

/// The address of the deployment's pod: one of a deployment that was deleted may still be ending, with the
/// phase of a running one.
fn only_pod(scene: &Scene<'_>) -> String {
    let mut address = String::new();
    scene.eventually("one pod is left", || {
        let list = ["get", "pods", "-l", "app=tcp-echo", "-o", "jsonpath={.items[*].status.podIP}"];
        address = scene.kubectl(&list);
        if address.split_whitespace().count() == 1 { Ok(()) } else { Err(address.clone()) }
    });
    address.trim().to_owned()
}

fn answers_inside(scene: &Scene<'_>, target: &str, answer: &str) {
    scene.eventually(&format!("{answer:?} from {target}"), || {
        let script = format!("echo port | timeout 5 curl -sN --max-time 1 telnet://{target}");
        let said = scene.shell(&script);
        if said.contains(answer) { Ok(()) } else { Err(said) }
    });
}
