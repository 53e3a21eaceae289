//! The clients of all other tutorials, and the variants that Vault's users run: pods with an account that
//! is made beside them.

use super::stage::Scene;

pub fn play(scene: &Scene<'_>) {
    scene.apply("httpbin/httpbin.yaml");
    scene.apply("sleep/sleep.yaml");
    let mut clients = vec!["sleep"];
    if scene.is(&["master"]) {
        scene.apply("curl/curl.yaml");
        clients.push("curl");
    }
    scene.ready();
    for client in clients {
        reaches_httpbin(scene, client);
    }
    if scene.is(&["1.7.3", "1.9.1", "1.14.3"]) {
        scene.kubectl(&["create", "serviceaccount", "vault-citadel-sa"]);
        scene.apply("httpbin/httpbin-vault.yaml");
        scene.apply("sleep/sleep-vault.yaml");
        for name in ["httpbin", "sleep"] {
            scene.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"]);
            let account = scene.kubectl(&[
                "get", "pods", "-l", &format!("app={name}"), "-o",
                "jsonpath={.items[?(@.spec.serviceAccountName==\"vault-citadel-sa\")].status.phase}",
            ]);
            assert!(account.contains("Running"), "{name}: {account}");
        }
        reaches_httpbin(scene, "sleep");
    }
    scene.end();
}

/// Both sidecars see the request: the client's gives it an id, the server's says who passed it on.
fn reaches_httpbin(scene: &Scene<'_>, client: &str) {
    scene.eventually(&format!("{client} reaches httpbin"), || {
        let mut command = scene.mesh().kubectl_command();
        let pod = format!("deploy/{client}");
        command.args(["-n", &scene.namespace, "exec", &pod, "-c", client, "--"]);
        let out =
            command.args(["curl", "-s", "--max-time", "5", "http://httpbin:8000/headers"]).output();
        let out = out.expect("kubectl");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let right = text.contains("X-Request-Id") && text.contains("\"Host\"");
        if right { Ok(()) } else { Err(format!("{text}{}", String::from_utf8_lossy(&out.stderr))) }
    });
}
