//! Which application is meant: by its own name, or by the name of the image that it stands in for.

use crate::httpbin::Flavour;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    Productpage,
    Details,
    Reviews(u8),
    Ratings(u8),
    Httpbin(Flavour),
    Helloworld(u8),
    TcpEcho,
    Health,
    WebSocket,
    Fortio,
    ExtAuthz,
    RateLimit,
    Https,
    /// Istio's own test program.
    Testing,
    Load,
    Postgres,
    Mariadb,
    /// MariaDB with the shop's ratings in it.
    MysqlDb,
    MongoDb,
}

const NAMES: [(&str, App); 25] = [
    ("productpage", App::Productpage),
    ("details", App::Details),
    ("reviews", App::Reviews(1)),
    ("ratings", App::Ratings(1)),
    ("go-httpbin", App::Httpbin(Flavour::Go)),
    ("httpbin", App::Httpbin(Flavour::Python)),
    ("gunicorn", App::Httpbin(Flavour::Python)),
    ("helloworld", App::Helloworld(1)),
    ("tcp-echo", App::TcpEcho),
    ("tcp-echo-server", App::TcpEcho),
    ("health", App::Health),
    ("websocket-demo", App::WebSocket),
    ("tornado-websocket-example", App::WebSocket),
    ("fortio", App::Fortio),
    ("ext-authz", App::ExtAuthz),
    ("ratelimit", App::RateLimit),
    ("https", App::Https),
    ("nginxhttps", App::Https),
    ("testing-app", App::Testing),
    ("load", App::Load),
    ("postgres", App::Postgres),
    ("mariadb", App::Mariadb),
    ("mysql", App::Mariadb),
    ("mysqldb", App::MysqlDb),
    ("mongodb", App::MongoDb),
];

/// The application and the arguments that are left for it.
pub fn choose(args: &[String]) -> Option<(App, &[String])> {
    let (program, rest) = args.split_first()?;
    let program = program.rsplit('/').next().unwrap_or(program);
    if let Some(app) = by_name(program) {
        return Some((app, rest));
    }
    let (name, rest) = rest.split_first()?;
    Some((by_name(name)?, rest))
}

/// `docker.io/istio/examples-bookinfo-reviews-v2:1.20.3` is `reviews` in version 2.
pub fn by_name(name: &str) -> Option<App> {
    let name = name.rsplit('/').next()?;
    let name = name.split([':', '@']).next()?;
    let name = name.strip_prefix("examples-").unwrap_or(name);
    let name = name.strip_prefix("bookinfo-").unwrap_or(name);
    let (name, version) = match name.rsplit_once("-v") {
        Some((name, version)) => (name, Some(version.parse().ok()?)),
        None => (name, None),
    };
    let (_, app) = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(match (app, version) {
        (App::Reviews(_), Some(version)) => App::Reviews(version),
        (App::Ratings(_), Some(version)) => App::Ratings(version),
        (App::Helloworld(_), Some(version)) => App::Helloworld(version),
        (app, _) => *app,
    })
}

pub fn usage() -> String {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    format!("there are: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_images_are_understood() {
        let table = [
            ("reviews", Some(App::Reviews(1))),
            ("examples-bookinfo-reviews-v3", Some(App::Reviews(3))),
            ("docker.io/istio/examples-bookinfo-ratings-v2:1.20.3", Some(App::Ratings(2))),
            ("examples-bookinfo-productpage-v1", Some(App::Productpage)),
            ("docker.io/mccutchen/go-httpbin:v2.15.0", Some(App::Httpbin(Flavour::Go))),
            ("docker.io/kennethreitz/httpbin", Some(App::Httpbin(Flavour::Python))),
            ("examples-helloworld-v2:1.0", Some(App::Helloworld(2))),
            ("registry.istio.io/release/tcp-echo-server:1.3", Some(App::TcpEcho)),
            ("ymqytw/nginxhttps:1.5", Some(App::Https)),
            ("nothing-of-ours", None),
        ];
        for (name, expected) in table {
            assert_eq!(by_name(name), expected, "{name}");
        }
    }

    #[test]
    fn the_program_may_be_called_by_the_applications_name() {
        let args: Vec<String> = ["/bin/tcp-echo", "9000", "hello"].map(str::to_owned).into();
        let (app, rest) = choose(&args).unwrap();
        assert_eq!((app, rest.len()), (App::TcpEcho, 2));
        let args: Vec<String> = ["/bin/lateen-apps", "details"].map(str::to_owned).into();
        assert_eq!(choose(&args).unwrap().0, App::Details);
    }
}
