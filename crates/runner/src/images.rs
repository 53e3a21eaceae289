//! Which local program an image stands for. There are no container images here: a name is matched
//! by its last part, whatever registry, tag and pull policy, first in the user's own map, then in
//! the table below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pod::{Container, Pod};
use crate::shim::PROGRAMS;

/// Runs in a pod instead of its image: `lateen.dev/exec: PROGRAM ARGS…`, for one container
/// `lateen.dev/exec.CONTAINER`.
pub const EXEC_ANNOTATION: &str = "lateen.dev/exec";
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The samples' images are made to run as somebody.
const EXAMPLES_USER: u32 = 1000;
const POSTGRES: &str = "/usr/lib/postgresql";

/// What an image consists of, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub entrypoint: Vec<String>,
    pub arguments: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Who runs it when the pod does not say.
    pub user: u32,
    /// Commands by name, with the words that replace the name.
    pub commands: BTreeMap<String, Vec<String>>,
    /// A program that the host must have for the image's own to work.
    pub needs: Option<&'static str>,
    /// A directory of the host that must be visible at its own path.
    pub visible: Option<PathBuf>,
}

impl Image {
    /// The image of the proxy has Envoy in it; here it lies wherever the user has it.
    pub fn bring_envoy(&mut self, envoy: &Path) {
        if self.commands.contains_key("pilot-agent") {
            let path = envoy.display().to_string();
            // The agent looks for it here; who runs a command in the container, by its name.
            self.env.push(("LATEEN_ENVOY".to_owned(), path.clone()));
            self.commands.insert("envoy".to_owned(), vec![path]);
            self.visible = envoy.parent().map(Path::to_owned);
        }
    }
}

/// The user's own map, by image name without registry and tag: `lateen image map IMAGE PROGRAM`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UserImages(pub BTreeMap<String, Vec<String>>);

/// Nothing here runs this image; the message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    #[error(
        "no local program stands for image {image:?}. Name one with: lateen image map {name} PROGRAM [ARG...]"
    )]
    Unknown { image: String, name: String },
    #[error(
        "image {image:?} stands for {program:?}, which this machine does not have. Install it, or name another program with: lateen image map {name} PROGRAM [ARG...]"
    )]
    NotInstalled { image: String, name: String, program: String },
}

/// Finds what a container's image stands for.
pub fn find(pod: &Pod, container: &Container, user: &UserImages) -> Result<Image, NoImage> {
    let own = pod.meta.annotations.get(&format!("{EXEC_ANNOTATION}.{}", container.name));
    let is_application = pod.spec.containers.iter().any(|c| c.name == container.name)
        && container.name != "istio-proxy";
    let whole = pod.meta.annotations.get(EXEC_ANNOTATION).filter(|_| is_application);
    if let Some(words) = own.or(whole) {
        return Ok(program(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()));
    }
    let name = name_of(&container.image);
    if let Some(words) = user.0.get(name) {
        return Ok(program(words));
    }
    let unknown = || NoImage::Unknown { image: container.image.clone(), name: name.to_owned() };
    let image = known(name).ok_or_else(unknown)?;
    match missing(&image) {
        Some(program) => Err(NoImage::NotInstalled {
            image: container.image.clone(),
            name: name.to_owned(),
            program,
        }),
        None => Ok(image),
    }
}

/// The program of the host that the image cannot do without, if it is not there.
fn missing(image: &Image) -> Option<String> {
    let first = image.entrypoint.first().or(image.arguments.first());
    let brought = |program: &String| {
        let name = Path::new(program).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| image.commands.contains_key(name))
    };
    let own = first.filter(|program| !brought(program));
    let needed = own.cloned().or(image.needs.map(str::to_owned))?;
    (!on_host(&needed)).then_some(needed)
}

/// The words to run: `command` replaces the entry point and drops its arguments, `args` replaces
/// the arguments; a command that the image brings becomes the program behind it.
pub fn command_line(image: &Image, command: &[String], args: &[String]) -> Vec<String> {
    let mut words = match (command, args) {
        ([], []) => [image.entrypoint.as_slice(), &image.arguments].concat(),
        ([], args) => [image.entrypoint.as_slice(), args].concat(),
        (command, args) => [command, args].concat(),
    };
    let base = words.first().and_then(|w| Path::new(w).file_name()?.to_str().map(str::to_owned));
    if let Some(replacement) = base.and_then(|name| image.commands.get(&name)) {
        words.splice(..1, replacement.iter().cloned());
    }
    words
}

/// By its last part, unless that says too little: many programs of many people are called `app`.
fn name_of(image: &str) -> &str {
    let own = ["registry.istio.io/testing/app", "gcr.io/istio-testing/app"];
    let whole = image.split('@').next().unwrap_or(image);
    match own
        .iter()
        .any(|o| whole.strip_prefix(o).is_some_and(|r| r.is_empty() || r.starts_with(':')))
    {
        true => "testing-app",
        false => short_name(image),
    }
}

/// The last part of an image's name, without tag and digest.
pub fn short_name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next().unwrap_or(last)
}

/// The environment that every image starts from.
fn base_env() -> Vec<(String, String)> {
    vec![("PATH".to_owned(), SEARCH_PATH.to_owned()), ("HOME".to_owned(), "/root".to_owned())]
}

fn program(words: &[String]) -> Image {
    let mut image = Image { env: base_env(), ..Default::default() };
    let directory = words.first().map(Path::new).filter(|p| p.is_absolute());
    image.visible = directory.and_then(Path::parent).map(Path::to_owned);
    image.entrypoint = words.iter().take(1).cloned().collect();
    image.arguments = words.iter().skip(1).cloned().collect();
    image
}

fn known(name: &str) -> Option<Image> {
    if let Some((app, version)) = name.strip_prefix("examples-").and_then(example) {
        let mut image = application(app, &[app]);
        image.user = EXAMPLES_USER;
        image.env.push(("SERVICE_VERSION".to_owned(), version.to_owned()));
        return Some(image);
    }
    let image = match name {
        "httpbin" | "python-httpbin" => application("httpbin", &["gunicorn", "pipenv", "httpbin"]),
        "go-httpbin" => application("go-httpbin", &["go-httpbin"]),
        "tcp-echo-server" | "tcp-echo" => application("tcp-echo", &["tcp-echo"]),
        "health" => application("health", &["health", "server"]),
        "tornado-websocket-example" => application("websocket-demo", &["websocket-demo"]),
        "fortio" => {
            let fortio = application("fortio", &["fortio"]);
            Image { arguments: vec!["server".to_owned()], ..fortio }
        }
        "ext-authz" => application("ext-authz", &["ext-authz", "extauthz"]),
        "ratelimit" => application("ratelimit", &["ratelimit"]),
        "helloworld" => application("helloworld", &["helloworld"]),
        "https" => application("https", &["https"]),
        "testing-app" => application("testing-app", &["testing-app"]),
        "nginxhttps" => nginx_with_tls(),
        "curl" | "curl-ssl" => host(&["curl"]),
        "busybox" | "alpine" | "sleep" | "debian" | "ubuntu" | "bash" | "netshoot" => host(&["sh"]),
        "postgres" => database("postgres", &["postgres"], "postgres"),
        "examples-bookinfo-mongodb" => application("mongodb", &["mongod", "docker-entrypoint.sh"]),
        "examples-bookinfo-mysqldb" => database("mysqldb", &["mariadbd", "mysqld"], "mariadbd"),
        "mariadb" | "mysql" => database("mariadb", &["mariadbd", "mysqld"], "mariadbd"),
        "redis" => host(&["redis-server", "--protected-mode", "no"]),
        "nginx" => host(&["nginx", "-g", "daemon off;"]),
        "python" => host(&["python3"]),
        "pilot" => ours("pilot-discovery", "lateen", &["control-plane"]),
        "proxyv2" | "proxy" | "proxy_debug" | "istio-proxy" | "auto" => {
            ours("pilot-agent", "lateen-proxy", &[])
        }
        "lateen" => ours("lateen", "lateen", &[]),
        "lateen-proxy" => ours("lateen-proxy", "lateen-proxy", &[]),
        "pause" => Image { arguments: vec!["infinity".to_owned()], ..host(&["sleep"]) },
        _ => return None,
    };
    Some(image)
}

/// `bookinfo-reviews-v2` or `helloworld-v1` as (application, version).
fn example(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix("bookinfo-").unwrap_or(name);
    let (app, version) = name.rsplit_once('-')?;
    let ours = ["productpage", "details", "reviews", "ratings", "helloworld"];
    (ours.contains(&app) && version.starts_with('v')).then_some((app, version))
}

/// One of the sample applications, which are one program; also under other commands' names.
fn application(app: &str, commands: &[&str]) -> Image {
    let mut image = ours(app, "lateen-apps", &[app]);
    let words = image.commands.get(app).cloned().unwrap_or_default();
    image.commands.extend(commands.iter().map(|c| ((*c).to_owned(), words.clone())));
    image
}

/// The sample's own script starts its server with the configuration that is mounted.
fn nginx_with_tls() -> Image {
    let mut image = application("https", &["https"]);
    let mut words = image.commands.get("https").cloned().unwrap_or_default();
    words.extend(["--nginx", "/etc/nginx"].map(str::to_owned));
    image.commands.insert("auto-reload-nginx.sh".to_owned(), words);
    Image { entrypoint: vec!["auto-reload-nginx.sh".to_owned()], ..image }
}

/// The host's own server, behind a program of ours that does what the image's entry point does.
fn database(app: &str, commands: &[&str], server: &'static str) -> Image {
    let mut image = application(app, &[commands, &["docker-entrypoint.sh"]].concat());
    image.needs = Some(server);
    image.env[0].1 = search_path().join(":");
    image
}

/// A program that stands beside this one.
fn ours(command: &str, binary: &str, args: &[&str]) -> Image {
    let path = Path::new(PROGRAMS).join(binary).display().to_string();
    let words = std::iter::once(path).chain(args.iter().map(|a| (*a).to_owned()));
    Image {
        entrypoint: vec![command.to_owned()],
        env: base_env(),
        commands: [(command.to_owned(), words.collect())].into(),
        ..Default::default()
    }
}

/// A program of the host. Like such images it has no entry point, only a default command.
fn host(words: &[&str]) -> Image {
    let arguments = words.iter().map(|w| (*w).to_owned()).collect();
    Image { arguments, env: base_env(), ..Default::default() }
}

fn on_host(program: &str) -> bool {
    let program = Path::new(program);
    program.is_absolute() && program.exists()
        || search_path().iter().any(|d| Path::new(d).join(program).is_file())
}

/// Debian keeps the servers of each PostgreSQL apart; the newest comes first.
fn search_path() -> Vec<String> {
    let releases = std::fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    let mut releases: Vec<u32> =
        releases.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    releases.sort_unstable_by(|a, b| b.cmp(a));
    let special = releases.iter().map(|release| format!("{POSTGRES}/{release}/bin"));
    special.chain(SEARCH_PATH.split(':').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn words(image: &str, command: &[&str], args: &[&str]) -> String {
        let owned = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let image = known(short_name(image)).unwrap();
        command_line(&image, &owned(command), &owned(args)).join(" ")
    }

    #[test]
    fn names_match_whatever_registry_and_tag() {
        for image in [
            "istio/examples-bookinfo-reviews-v2:1.10.1",
            "registry.istio.io:5000/release/examples-bookinfo-reviews-v2:1.20.3",
            "examples-bookinfo-reviews-v2@sha256:abc",
        ] {
            assert_eq!(words(image, &[], &[]), "/lateen/programs/lateen-apps reviews", "{image}");
            let env = known(short_name(image)).unwrap().env;
            assert!(env.contains(&("SERVICE_VERSION".into(), "v2".into())));
        }
        assert_eq!(known("hello-world"), None);
    }

    #[test]
    fn command_and_args_replace_as_in_images() {
        let table: &[(&str, &[&str], &[&str], &str)] = &[
            ("curlimages/curl", &["/bin/sleep", "infinity"], &[], "/bin/sleep infinity"),
            ("curlimages/curl", &[], &[], "curl"),
            ("busybox", &[], &["echo", "x"], "echo x"),
            (
                "istio/proxyv2:1.28",
                &[],
                &["proxy", "sidecar"],
                "/lateen/programs/lateen-proxy proxy sidecar",
            ),
            ("istio/pilot", &[], &["discovery"], "/lateen/programs/lateen control-plane discovery"),
            ("fortio/fortio", &[], &[], "/lateen/programs/lateen-apps fortio server"),
            (
                "postgres:16",
                &[],
                &["-c", "fsync=off"],
                "/lateen/programs/lateen-apps postgres -c fsync=off",
            ),
            ("library/mysql", &[], &[], "/lateen/programs/lateen-apps mariadb"),
            ("istio/examples-bookinfo-mysqldb:1", &[], &[], "/lateen/programs/lateen-apps mysqldb"),
            (
                "istio/examples-bookinfo-mongodb:1",
                &[],
                &["--ipv6"],
                "/lateen/programs/lateen-apps mongodb --ipv6",
            ),
            (
                "kennethreitz/httpbin",
                &["gunicorn", "-b", "0.0.0.0:80"],
                &[],
                "/lateen/programs/lateen-apps httpbin -b 0.0.0.0:80",
            ),
            (
                "istio/proxyv2",
                &["/usr/local/bin/pilot-agent", "istio-iptables"],
                &[],
                "/lateen/programs/lateen-proxy istio-iptables",
            ),
            (
                "ymqytw/nginxhttps:1.5",
                &["/home/auto-reload-nginx.sh"],
                &[],
                "/lateen/programs/lateen-apps https --nginx /etc/nginx",
            ),
        ];
        for (image, command, args, expected) in table {
            assert_eq!(words(image, command, args), *expected, "{image}");
        }
    }

    #[test]
    fn what_is_ours_is_never_missing() {
        for name in ["nginxhttps", "https", "httpbin", "tcp-echo", "proxyv2", "pilot"] {
            assert_eq!(missing(&known(name).unwrap()), None, "{name}");
        }
    }

    #[test]
    fn an_image_of_ours_needs_no_program_of_the_host() {
        for image in ["ymqytw/nginxhttps:1.5", "httpbin", "istio/examples-bookinfo-mongodb:1.20.3"]
        {
            assert_eq!(missing(&known(short_name(image)).unwrap()), None, "{image}");
        }
        let absent = program(&["/no/such/program".to_owned()]);
        assert_eq!(missing(&absent).as_deref(), Some("/no/such/program"));
    }

    #[test]
    fn an_unknown_image_says_how_to_map_it_and_the_users_map_comes_first() {
        let object = Arc::new(json!({
            "metadata": {"name": "p", "annotations": {}},
            "spec": {"containers": [{"name": "c", "image": "example.com/team/thing:7"}]}
        }));
        let pod = Pod::read(&object).unwrap();
        let refused = find(&pod, &pod.spec.containers[0], &UserImages::default()).unwrap_err();
        assert!(refused.to_string().ends_with("lateen image map thing PROGRAM [ARG...]"));
        let user = UserImages(
            [("thing".to_owned(), vec!["/opt/thing/run".to_owned(), "-v".to_owned()])].into(),
        );
        let image = find(&pod, &pod.spec.containers[0], &user).unwrap();
        assert_eq!(command_line(&image, &[], &[]), ["/opt/thing/run", "-v"]);
        assert_eq!(image.visible.as_deref(), Some(Path::new("/opt/thing")));
    }
}
