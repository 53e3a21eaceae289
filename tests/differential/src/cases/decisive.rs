//! Access rules of one condition each: there a request is allowed or denied by the one field that the rules
//! ask for, in whatever spelling it comes.

use super::access::filter;
use super::{Case, any_host, says};
use crate::client::Request;
use crate::dice::Dice;
use serde_json::{Value, json};

/// Fields that rules ask for, by the beginning of the names of their cases.
pub const FIELDS: [&str; 8] =
    ["method", "path", "host", "header", "remote", "direct", "destination", "port"];

/// Configurations of each field, and requests to each.
const OF_FIELD: usize = 8;
const REQUESTS: usize = 60;

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let each = FIELDS.iter().flat_map(|field| (0..OF_FIELD).map(move |i| (field, i)));
    each.map(|(field, i)| case(dice, field, i)).collect()
}

fn case(dice: &Dice, field: &str, i: usize) -> Case {
    let any = json!({ "any": true });
    let list: Vec<Value> = (0..3).map(|_| condition(dice, field, i / 2)).collect();
    let (permissions, principals) = match field {
        "remote" | "direct" | "header" => (json!([any]), json!([{ "or_ids": { "ids": list } }])),
        _ => (json!([{ "or_rules": { "rules": list } }]), json!([any])),
    };
    let action = ["ALLOW", "DENY"][i % 2];
    let policy = json!({ "permissions": permissions, "principals": principals });
    let rules = json!({ "rules": { "action": action, "policies": { "p": policy } } });
    let requests = (0..REQUESTS).map(|_| request(dice)).collect();
    let answer = says(json!({ "prefix": "/" }), "allowed");
    Case::new(&format!("decisive_{field}_{i}"), any_host(vec![answer]), requests)
        .filter(filter(rules))
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
const HOSTS: &[&str] = &[
    "a.com",
    "A.com",
    "a.com:80",
    "a.com:8080",
    "a.com.",
    "b.com",
    "x.a.com",
    "a.co",
    "a.comm",
    "10.0.0.1",
    "[::1]",
    "[::1]:80",
];
const VALUES: &[&str] = &["one", "One", "one,two", "two", "two,one", "", "oneone", " one"];
const PIECES: &[&str] = &[
    "a", "b", "A", "%61", "%2fb", "a%2Fb", "..", ".", "", "a;x", "b.c", "~a", "a,b", "@b:c",
    "a%20b", "%5cb", "a+b",
];
const CLIENTS: &[&str] = &[
    "10.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "2001:db8::1",
    "2001:db8:1::1",
    "fe80::1",
    "::ffff:10.0.0.1",
    "::ffff:192.168.0.1",
    "::1",
    "no address",
    "10.0.0.1, 192.168.0.1",
];

fn request(dice: &Dice) -> Request {
    let mut path: String =
        (0..1 + dice.below(4)).map(|_| format!("/{}", dice.one(PIECES))).collect();
    path.push_str(dice.one(&["", "", "", "/", "?a", "?/a/b"]));
    let mut request = Request::get(path).host(dice.one(HOSTS)).method(dice.one(METHODS));
    for _ in 0..dice.below(3) {
        request = request.with("x-a", dice.one(VALUES));
    }
    if dice.below(4) > 0 {
        request = request.with("x-forwarded-for", dice.one(CLIENTS));
    }
    request
}

/// One that holds for about a fifth of the requests. `turn`: of what all requests have in common, it holds
/// every other time.
fn condition(dice: &Dice, field: &str, turn: usize) -> Value {
    match field {
        "method" => named(":method", text(dice, &["GET", "POST", "PUT", "DELETE", "get"])),
        "host" => named(":authority", text(dice, HOSTS)),
        "header" => named("x-a", text(dice, &VALUES[..4])),
        "path" => {
            let first = format!("/{}", dice.one(&["a", "b", "A", "%61", "~a"]));
            let path = match dice.below(4) {
                0 => json!({ "exact": first }),
                1 => json!({ "suffix": dice.one(&["/a", "b", "/b.c"]) }),
                _ => json!({ "prefix": first }),
            };
            json!({ "url_path": { "path": path } })
        }
        "remote" => json!({ "remote_ip": range(dice.one(&[
            ("10.0.0.0", 8), ("10.0.0.1", 32), ("192.168.0.0", 16), ("2001:db8::", 32),
            ("2001:db8::1", 128), ("::ffff:10.0.0.0", 104), ("127.0.0.0", 8), ("fe80::", 10),
        ])) }),
        "direct" => json!({ "direct_remote_ip": here(dice, turn) }),
        "destination" => json!({ "destination_ip": here(dice, turn) }),
        _ if turn.is_multiple_of(2) => {
            json!({ "destination_port_range": { "start": 1, "end": 65_536 } })
        }
        _ => json!({ "destination_port": 1 }),
    }
}

fn named(name: &str, text: Value) -> Value {
    json!({ "header": { "name": name, "string_match": text } })
}

fn text(dice: &Dice, of: &[&str]) -> Value {
    let value = dice.one(of);
    let mut text = match dice.below(4) {
        0 if !value.is_empty() => json!({ "prefix": value }),
        1 if !value.is_empty() => json!({ "suffix": value }),
        _ => json!({ "exact": value }),
    };
    if dice.below(2) == 0 {
        text["ignore_case"] = true.into();
    }
    text
}

fn range((prefix, length): (&str, u32)) -> Value {
    json!({ "address_prefix": prefix, "prefix_len": length })
}

/// Both ends of all connections are here.
fn here(dice: &Dice, turn: usize) -> Value {
    let holds = [("127.0.0.0", 8), ("127.0.0.1", 32), ("0.0.0.0", 0), ("127.0.0.0", 16)];
    let never = [("10.0.0.0", 8), ("::1", 128), ("127.0.0.2", 32), ("2001:db8::", 32)];
    range(dice.one(if turn.is_multiple_of(2) { &holds } else { &never }))
}
