//! From a container's specification to what the shim starts: words, environment, mounts, files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Shared;
use super::sources::FromApi;
use crate::env::{EnvError, build, expand, hostname};
use crate::images::{self, NoImage};
use crate::pod::{Container, Pod};
use crate::shim::protocol::{Mount, Sandbox, Start};

/// Why a container cannot be started as it is; the reason is Kubernetes'.
#[derive(Debug, thiserror::Error)]
pub enum NotNow {
    #[error(transparent)]
    Image(#[from] NoImage),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error("no command specified: image {0:?} has none of its own, set `command`")]
    NoCommand(String),
    #[error("volumeMount {mount:?}: {why}")]
    Mount { mount: String, why: String },
    #[error(
        "container has runAsNonRoot and image {0:?} will run as root: set runAsUser to another user"
    )]
    Root(String),
}

impl NotNow {
    pub fn reason(&self) -> &'static str {
        match self {
            NotNow::Image(_) => "ErrImageNeverPull",
            _ => "CreateContainerConfigError",
        }
    }
}

/// What container engines let root keep.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// The user of sidecars.
const PROXY_USER: u32 = 1337;
const SECRETS: &str = "/run/secrets";

/// Where a pod keeps what.
pub struct Places {
    pub pod: PathBuf,
}

impl Places {
    pub fn of(shared: &Shared, uid: &str) -> Self {
        Places { pod: shared.pods_directory().join(uid) }
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.pod.join("volumes").join(name)
    }

    pub fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.pod.join("logs").join(container).join(format!("{attempt}.log"))
    }
}

/// The pod as a whole.
pub fn sandbox(shared: &Shared, pod: &Pod, number: u16) -> Sandbox {
    let dual = shared.config.dual_stack;
    let low_ports = ("ipv4/ip_unprivileged_port_start".to_owned(), "0".to_owned());
    let asked = pod.spec.security_context.sysctls.iter().filter_map(|s| {
        let name = s.name.strip_prefix("net.")?;
        Some((name.replace('.', "/"), s.value.clone()))
    });
    Sandbox {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        hostname: hostname(pod),
        ips: super::pod_ips(number, dual),
        link: format!("pod-{number}"),
        parameters: std::iter::once(low_ports).chain(asked).collect(),
    }
}

/// One attempt of a container.
pub fn start(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    ips: &[IpAddr],
) -> Result<Start, NotNow> {
    let mut image = images::find(pod, container, &shared.images())?;
    if let Some(envoy) = &shared.config.envoy {
        image.bring_envoy(envoy);
    }
    let sources = FromApi { shared, namespace: &pod.namespace, ips };
    let env = build(pod, container, &image.env, &sources)?;
    let words = images::command_line(&image, &container.command, &container.args);
    if words.is_empty() {
        return Err(NotNow::NoCommand(container.image.clone()));
    }
    let places = Places::of(shared, &pod.uid);
    let mut mounts = mounts(pod, container, &places, &env)?;
    mounts.extend(image.visible.map(|d| Mount { source: d.clone(), target: d, read_only: true }));
    let pod_security = &pod.spec.security_context;
    let own = &container.security_context;
    let commands = image
        .commands
        .iter()
        .filter_map(|(name, words)| Some((name.clone(), PathBuf::from(words.first()?))));
    let uid = user(pod, container, image.user)?;
    let groups = pod_security.supplemental_groups.iter().chain(&pod_security.fs_group);
    Ok(Start {
        name: container.name.clone(),
        attempt,
        argv: words.iter().map(|w| expand(w, &env)).collect(),
        env,
        directory: container.working_dir.clone(),
        uid,
        gid: own.run_as_group.or(pod_security.run_as_group).unwrap_or(0),
        groups: groups.copied().collect(),
        capabilities: capabilities(container, uid),
        mounts,
        commands: commands.collect(),
        files: files(shared, pod, uid, ips),
        read_only_root: own.read_only_root_filesystem,
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        log: places.log(&container.name, attempt),
    })
}

/// Who runs a container: whom it says, whom its pod says, or whom the image says, unless that is root
/// and must not be.
fn user(pod: &Pod, container: &Container, of_image: u32) -> Result<u32, NotNow> {
    let (own, whole) = (&container.security_context, &pod.spec.security_context);
    let uid = own.run_as_user.or(whole.run_as_user).unwrap_or(of_image);
    match own.run_as_non_root.or(whole.run_as_non_root) {
        Some(true) if uid == 0 => Err(NotNow::Root(container.image.clone())),
        _ => Ok(uid),
    }
}

fn capabilities(container: &Container, uid: u32) -> Vec<String> {
    let own = &container.security_context.capabilities;
    let bare = |name: &String| name.trim_start_matches("CAP_").to_uppercase();
    let (added, dropped): (Vec<String>, Vec<String>) =
        (own.add.iter().map(bare).collect(), own.drop.iter().map(bare).collect());
    let all = |list: &[String]| list.iter().any(|c| c == "ALL");
    let mut kept: Vec<String> = if all(&dropped) {
        vec![]
    } else {
        CAPABILITIES.iter().map(|c| (*c).to_owned()).filter(|c| !dropped.contains(c)).collect()
    };
    if all(&added) || container.security_context.privileged {
        kept.extend(["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"].map(str::to_owned));
    }
    kept.extend(added);
    if uid == PROXY_USER && !net::ns::user_exists(uid) {
        // Where user ids cannot tell the proxy apart it marks its sockets, which needs this.
        kept.push("NET_ADMIN".to_owned());
    }
    kept
}

fn mounts(
    pod: &Pod,
    container: &Container,
    places: &Places,
    env: &[(String, String)],
) -> Result<Vec<Mount>, NotNow> {
    let mut mounts = Vec::new();
    for m in &container.volume_mounts {
        let refused = |why: &str| NotNow::Mount { mount: m.name.clone(), why: why.to_owned() };
        let Some(volume) = pod.spec.volumes.iter().find(|v| v.name == m.name) else {
            return Err(refused("the pod has no volume of this name"));
        };
        let sub = m.sub_path_expr.as_ref().map(|e| expand(e, env)).or(m.sub_path.clone());
        let mut source = places.volume(&m.name);
        let own_files = volume.empty_dir.is_some();
        if let Some(sub) = sub.filter(|s| !s.is_empty()) {
            if Path::new(&sub).components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
                return Err(refused("subPath must stay in the volume"));
            }
            source.push(&sub);
            if own_files {
                std::fs::create_dir_all(&source).map_err(|e| refused(&e.to_string()))?;
            }
            source = source.canonicalize().map_err(|e| refused(&format!("subPath {sub}: {e}")))?;
        }
        let target = PathBuf::from(&m.mount_path);
        // Debian's /var/run is a link; what is mounted below it belongs into /run.
        let target = match target.strip_prefix("/var/run/secrets") {
            Ok(rest) => Path::new(SECRETS).join(rest),
            Err(_) => target,
        };
        mounts.push(Mount { source, target, read_only: m.read_only || !own_files });
    }
    Ok(mounts)
}

fn files(shared: &Shared, pod: &Pod, uid: u32, ips: &[IpAddr]) -> BTreeMap<String, String> {
    let mut users =
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n".to_owned();
    if !matches!(uid, 0 | 65534) {
        users.push_str(&format!("user:x:{uid}:{uid}:user:/home:/bin/sh\n"));
    }
    [
        ("etc/passwd", users),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n".to_owned()),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("etc/hostname", format!("{}\n", hostname(pod))),
        ("etc/hosts", hosts(shared, pod, ips)),
        ("etc/resolv.conf", resolv_conf(shared, pod)),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

fn hosts(shared: &Shared, pod: &Pod, ips: &[IpAddr]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let name = hostname(pod);
    let full = pod
        .spec
        .subdomain
        .as_ref()
        .map(|sub| format!("{name}.{sub}.{}.svc.{}\t", pod.namespace, shared.config.domain));
    for ip in ips {
        text.push_str(&format!("{ip}\t{}{name}\n", full.as_deref().unwrap_or_default()));
    }
    for alias in &pod.spec.host_aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    text
}

fn resolv_conf(shared: &Shared, pod: &Pod) -> String {
    let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let (mut servers, mut searches, mut options) = (vec![], vec![], vec![]);
    if policy != "None" {
        servers.push(shared.config.dns_ip.to_string());
    }
    if policy.starts_with("ClusterFirst") {
        let domain = &shared.config.domain;
        let namespace = &pod.namespace;
        searches =
            vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        options.push("ndots:5".to_owned());
    }
    if let Some(own) = &pod.spec.dns_config {
        servers.extend(own.nameservers.iter().cloned());
        searches.extend(own.searches.iter().cloned());
        options.extend(own.options.iter().map(|o| match &o.value {
            Some(value) => format!("{}:{value}", o.name),
            None => o.name.clone(),
        }));
    }
    let mut text: String = servers.iter().map(|s| format!("nameserver {s}\n")).collect();
    for (word, list) in [("search", searches), ("options", options)] {
        if !list.is_empty() {
            text.push_str(&format!("{word} {}\n", list.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn who_runs_a_container() {
        let user = |whole: Value, own: Value, of_image: u32| {
            let object = json!({"metadata": {"name": "p"}, "spec": {"securityContext": whole,
                "containers": [{"name": "c", "image": "i", "securityContext": own}]}});
            let pod = Pod::read(&Arc::new(object)).expect("a pod");
            super::user(&pod, &pod.spec.containers[0], of_image).map_err(|e| e.to_string())
        };
        assert_eq!(user(json!({}), json!({}), 1000), Ok(1000));
        assert_eq!(user(json!({"runAsUser": 7}), json!({}), 1000), Ok(7));
        assert_eq!(user(json!({"runAsUser": 7}), json!({"runAsUser": 8}), 0), Ok(8));
        let refused = user(json!({}), json!({"runAsNonRoot": true}), 0).unwrap_err();
        assert!(refused.contains("will run as root"), "{refused}");
        assert!(user(json!({"runAsNonRoot": true}), json!({}), 0).is_err());
        let own = json!({"runAsNonRoot": false});
        assert_eq!(user(json!({"runAsNonRoot": true}), own, 0), Ok(0));
        assert_eq!(user(json!({"runAsNonRoot": true}), json!({}), 1000), Ok(1000));
    }
}
