//! Conditions on texts, with texts that meet them and texts that nearly do.

use crate::dice::Dice;
use serde_json::{Value, json};

/// A `StringMatch`; what it takes; what it just does not take, or takes by a hair.
#[derive(Clone, Debug)]
pub struct Text {
    pub json: Value,
    pub hits: Vec<String>,
    pub near: Vec<String>,
}

impl Text {
    fn new<S: Into<String>>(
        json: Value,
        hits: impl IntoIterator<Item = S>,
        near: impl IntoIterator<Item = S>,
    ) -> Self {
        let all = |list: &mut dyn Iterator<Item = S>| list.map(Into::into).collect();
        Self { json, hits: all(&mut hits.into_iter()), near: all(&mut near.into_iter()) }
    }

    pub fn hit(&self) -> &str {
        self.hits.first().map_or("", String::as_str)
    }
}

const PLAIN: [&str; 12] = [
    "/a",
    "/a/b",
    "/api/v1",
    "/api/v1/",
    "/Shop",
    "/x.y",
    "/a-b_c",
    "/p;q=1",
    "/tilde~",
    "/a+b",
    "/long/path/of/parts",
    "/%7Euser",
];

/// Regular expressions for paths, with hits and near misses.
const PATHS: [(&str, &[&str], &[&str]); 9] = [
    ("/r/[a-z]+", &["/r/a", "/r/abc", "/r/abc?x=1"], &["/r/", "/r/A", "/r/a/b", "/r/a1", "/xr/a"]),
    ("/item/[0-9]{2,3}", &["/item/12", "/item/123"], &["/item/1", "/item/1234", "/item/12a"]),
    ("^/start/.*$", &["/start/", "/start/x"], &["/start", "/x/start/"]),
    (".*\\.(png|jpg)", &["/a.png", "/b/c.jpg", "/.png"], &["/a.pngx", "/a.PNG", "/apng"]),
    ("/(foo|bar)/baz", &["/foo/baz", "/bar/baz"], &["/foobar/baz", "/foo/baz/", "/baz"]),
    ("(?i)/case/[a-f]+", &["/case/abc", "/CASE/AbC"], &["/case/g", "/case/"]),
    ("/u/\\d+(/.*)?", &["/u/1", "/u/22/x/y"], &["/u/", "/u/1x", "/u/a"]),
    ("/a[^/]*/b", &["/a/b", "/axx/b"], &["/a/x/b", "/a/b/"]),
    ("/dots/..", &["/dots/ab", "/dots/.x"], &["/dots/a", "/dots/abc"]),
];

const WORDS: [(&str, &[&str], &[&str]); 6] = [
    ("v[0-9]+", &["v1", "v22"], &["v", "V1", "v1x", "1"]),
    ("(alpha|beta)", &["alpha", "beta"], &["alphabeta", "Alpha", "gamma"]),
    (".*jason.*", &["jason", "xjasonx"], &["Jason", "jaso"]),
    ("^a.c$", &["abc", "a-c"], &["ac", "abcd", "abbc"]),
    ("[^,]+", &["one", "a b"], &["a,b", ""]),
    (".+", &["x", "yz"], &[""]),
];

/// For a path.
pub fn path(dice: &Dice) -> Text {
    match dice.below(10) {
        0..=3 => exact_path(dice.one(&PLAIN)),
        4..=7 => {
            prefix_path(dice.one(&["/", "/a", "/a/", "/api", "/api/v1/", "/Shop", "/x.", "/%7E"]))
        }
        _ => {
            let (regex, hits, near) = dice.one(&PATHS);
            Text::new(json!({ "regex": regex }), hits.iter().copied(), near.iter().copied())
        }
    }
}

pub fn exact_path(p: &str) -> Text {
    let hits = [p.to_owned(), format!("{p}?a=b"), format!("{p}?"), format!("/./{}", &p[1..])];
    let near = [
        format!("{p}/"),
        format!("{p}x"),
        p.to_uppercase(),
        p[..p.len() - 1].to_owned(),
        format!("/{p}"),
        format!("{p}#part"),
        format!("{p};v=1"),
    ];
    Text::new(
        json!({ "exact": p }),
        hits,
        near.into_iter().filter(|n| n.starts_with('/')).collect::<Vec<_>>(),
    )
}

pub fn prefix_path(p: &str) -> Text {
    let hits = [
        p.to_owned(),
        format!("{p}x"),
        format!("{p}/deeper?a=/b"),
        format!("{p}%2Fx"),
        format!("{p}?q"),
    ];
    let near =
        [p.to_uppercase(), p[..p.len() - 1].to_owned(), format!("/z{p}"), format!("/z/..{p}")];
    Text::new(
        json!({ "prefix": p }),
        hits,
        near.into_iter().filter(|n| n.starts_with('/')).collect::<Vec<_>>(),
    )
}

/// For the value of a header or a query parameter.
pub fn word(dice: &Dice) -> Text {
    match dice.below(10) {
        0 | 1 => Text::new(json!({}), ["x", "anything at all"], []),
        2..=5 => {
            let w = dice.one(&["v1", "jason", "a b", "x=y;z", "0"]);
            let near = [format!("{w}x"), w.to_uppercase(), format!("x{w}"), String::new()];
            Text::new(json!({ "exact": w }), [w.to_owned()], near)
        }
        6 | 7 => {
            let w = dice.one(&["v", "Bearer ", "jas"]);
            let hits = [format!("{w}1"), w.trim().to_owned() + " more"];
            let near = [w.to_uppercase(), format!("x{w}"), w[..w.len() - 1].to_owned()];
            Text::new(json!({ "prefix": w }), hits, near)
        }
        _ => {
            let (regex, hits, near) = dice.one(&WORDS);
            Text::new(json!({ "regex": regex }), hits.iter().copied(), near.iter().copied())
        }
    }
}

pub fn method(dice: &Dice) -> Text {
    let made: [(Value, &[&str], &[&str]); 4] = [
        (json!({ "exact": "GET" }), &["GET"], &["POST", "HEAD"]),
        (json!({ "exact": "POST" }), &["POST"], &["GET", "PUT"]),
        (json!({ "prefix": "P" }), &["POST", "PUT", "PATCH"], &["GET", "OPTIONS"]),
        (json!({ "regex": "GET|DELETE" }), &["GET", "DELETE"], &["HEAD", "POST"]),
    ];
    let (json, hits, near) = dice.one(&made);
    Text::new(json, hits.iter().copied(), near.iter().copied())
}

/// For a host, of which `host` is an example.
pub fn host(dice: &Dice, host: &str) -> Text {
    let first = host.split('.').next().unwrap_or(host);
    let near =
        [format!("x{host}"), host.to_uppercase(), format!("{host}:8080"), format!("{host}.")];
    match dice.below(3) {
        0 => Text::new(json!({ "exact": host }), [host.to_owned()], near),
        1 => Text::new(json!({ "prefix": first }), [host.to_owned(), format!("{host}:80")], near),
        _ => {
            let regex = format!("{first}\\..*");
            Text::new(json!({ "regex": regex }), [host.to_owned(), format!("{host}:80")], near)
        }
    }
}
