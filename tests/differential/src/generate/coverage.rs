//! Which fields of the API occur in generated objects, by the paths of the CRDs: `[]` for the items of a
//! list, `{}` for the values of a map.

use super::Config;
use serde_json::Value;
use std::collections::BTreeSet;

/// One line of the list of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub kind: String,
    pub path: String,
    /// Why it does not occur, if it does not.
    pub absent: Option<String>,
}

/// The networking fields: kind, path, and after them the reason why one does not occur.
pub fn fields() -> Vec<Field> {
    let line = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        let (kind, path) = (parts.next()?, parts.next()?);
        Some(Field { kind, path, absent: parts.next().filter(|why| !why.is_empty()) })
    };
    include_str!("fields.tsv").lines().filter(|l| !l.starts_with('#')).filter_map(line).collect()
}

/// All paths that occur, as `(kind, path)`; those of a port's and of a subset's policy as of any policy.
pub fn occurring<'a>(configs: impl IntoIterator<Item = &'a Config>) -> BTreeSet<(String, String)> {
    let known: BTreeSet<(String, String)> =
        fields().into_iter().map(|f| (f.kind, f.path)).collect();
    let mut found = BTreeSet::new();
    for object in configs.into_iter().flat_map(|c| &c.objects) {
        let kind = object["kind"].as_str().unwrap_or_default();
        walk(kind, "spec", &object["spec"], &known, &mut found);
    }
    let anywhere = |(kind, path): &(String, String)| {
        let path = path.replace("spec.subsets[].trafficPolicy.", "spec.trafficPolicy.");
        (kind.clone(), path.replace(".portLevelSettings[].", "."))
    };
    found.iter().map(anywhere).chain(found.clone()).collect()
}

fn walk(
    kind: &str,
    path: &str,
    value: &Value,
    known: &BTreeSet<(String, String)>,
    found: &mut BTreeSet<(String, String)>,
) {
    let key = |path: &str| (kind.to_owned(), path.to_owned());
    found.insert(key(path));
    match value {
        Value::Array(items) => {
            items.iter().for_each(|v| walk(kind, &format!("{path}[]"), v, known, found));
        }
        Value::Object(entries) => {
            let map = format!("{path}{{}}");
            for (name, v) in entries {
                let field = format!("{path}.{name}");
                let at = if known.contains(&key(&map)) { &map } else { &field };
                walk(kind, at, v, known, found);
            }
        }
        _ => {}
    }
}
