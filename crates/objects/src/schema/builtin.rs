//! Reads `builtin.types` into shapes, once. The table is part of the program, so an error in it is
//! a programming error that the test below finds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use super::{Field, ListMerge, ObjectShape, Shape};

/// The shape of a built-in root type.
pub fn builtin(group: &str, version: &str, kind: &str) -> Option<Shape> {
    let name = BUILTIN.roots.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))?;
    builtin_named(name)
}

/// The shape of a built-in type by its OpenAPI name.
pub fn builtin_named(name: &str) -> Option<Shape> {
    BUILTIN.types.get(name).map(|t| Shape::Object(t.clone()))
}

/// Every built-in type, by OpenAPI name.
pub fn all_builtin() -> impl Iterator<Item = &'static Arc<ObjectShape>> {
    BUILTIN.types.values()
}

struct Builtin {
    types: BTreeMap<String, Arc<ObjectShape>>,
    roots: HashMap<(String, String, String), String>,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let sources = split(include_str!("builtin.types"));
    let mut builder = Builder { sources: &sources, done: BTreeMap::new() };
    for name in sources.keys() {
        builder.object(name);
    }
    let types = builder.done;
    let roots = types
        .values()
        .filter_map(|t| Some((t.gvk.clone()?, t.name.clone())))
        .collect::<HashMap<_, _>>();
    Builtin { types, roots }
});

struct Source<'a> {
    package: &'a str,
    gvk: Option<(String, String, String)>,
    fields: Vec<(&'a str, &'a str)>,
}

fn split(text: &str) -> BTreeMap<String, Source<'_>> {
    let mut sources: BTreeMap<String, Source<'_>> = BTreeMap::new();
    let mut package = "";
    let mut current = String::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        if let Some(name) = line.strip_prefix("package ") {
            package = name;
        } else if let Some(field) = line.strip_prefix("  ") {
            if let (Some(source), Some(pair)) = (sources.get_mut(&current), field.split_once(' ')) {
                source.fields.push(pair);
            }
        } else {
            let (name, gvk) = match line.split_once(" = ") {
                Some((name, gvk)) => (name, parse_gvk(gvk)),
                None => (line, None),
            };
            current = format!("{package}.{name}");
            sources.insert(current.clone(), Source { package, gvk, fields: Vec::new() });
        }
    }
    sources
}

fn parse_gvk(text: &str) -> Option<(String, String, String)> {
    let (api_version, kind) = text.split_once(' ')?;
    let (group, version) = crate::meta::split_api_version(api_version);
    Some((group.to_owned(), version.to_owned(), kind.to_owned()))
}

struct Builder<'a> {
    sources: &'a BTreeMap<String, Source<'a>>,
    done: BTreeMap<String, Arc<ObjectShape>>,
}

impl Builder<'_> {
    fn object(&mut self, name: &str) -> Option<Arc<ObjectShape>> {
        if let Some(done) = self.done.get(name) {
            return Some(done.clone());
        }
        let source = self.sources.get(name)?;
        let fields = source.fields.iter().map(|(field, notation)| {
            let (notation, wire) = notation.split_once(' ').unwrap_or((notation, ""));
            let shape = self.shape(source.package, notation);
            let short = field.trim_end_matches('!');
            Field {
                name: short.to_owned(),
                required: field.ends_with('!'),
                shape,
                wire: wire.split('.').filter_map(|n| n.parse().ok()).collect(),
                description: super::docs::describe_field(short).to_owned(),
            }
        });
        let shape = Arc::new(ObjectShape {
            name: name.to_owned(),
            description: String::new(),
            fields: fields.collect(),
            open: false,
            gvk: source.gvk.clone(),
        });
        self.done.insert(name.to_owned(), shape.clone());
        Some(shape)
    }

    fn shape(&mut self, package: &str, notation: &str) -> Shape {
        if let Some(rest) = notation.strip_prefix('~') {
            return match self.shape(package, rest) {
                Shape::Map { of, .. } => Shape::Map { of, atomic: true },
                Shape::Object(o) => Shape::AtomicObject(o),
                other => other,
            };
        }
        if let Some(inner) = notation.strip_prefix('{') {
            let of = Arc::new(self.shape(package, inner.trim_end_matches('}')));
            return Shape::Map { of, atomic: false };
        }
        if let Some((keys, item)) = notation.strip_prefix('[').and_then(|r| r.split_once(']')) {
            let merge = match keys {
                "" => ListMerge::Atomic,
                "*" => ListMerge::Set,
                keys => ListMerge::Keyed(keys.split(',').map(str::to_owned).collect()),
            };
            return Shape::List { of: Arc::new(self.shape(package, item)), merge };
        }
        scalar(notation).unwrap_or_else(|| {
            let object = self
                .object(&format!("{package}.{notation}"))
                .or_else(|| full_names(notation).iter().find_map(|n| self.object(n)));
            object.map_or(Shape::Any, Shape::Object)
        })
    }
}

fn scalar(notation: &str) -> Option<Shape> {
    Some(match notation {
        "string" => Shape::String,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "number" => Shape::Number,
        "bool" => Shape::Bool,
        "intstr" => Shape::IntOrString,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "bytes" => Shape::Bytes,
        "any" => Shape::Any,
        _ => return None,
    })
}

/// References across packages leave out the common prefixes.
fn full_names(short: &str) -> [String; 4] {
    [
        format!("io.k8s.api.{short}"),
        format!("io.k8s.apimachinery.pkg.apis.{short}"),
        format!("io.k8s.apiextensions-apiserver.pkg.apis.{short}"),
        format!("io.k8s.{short}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_table_resolves() {
        let sources = split(include_str!("builtin.types"));
        let mut builder = Builder { sources: &sources, done: BTreeMap::new() };
        for source in sources.values() {
            for (field, notation) in &source.fields {
                let item = notation
                    .split(' ')
                    .next()
                    .unwrap()
                    .trim_start_matches('~')
                    .rsplit([']', '{'])
                    .next()
                    .unwrap()
                    .trim_end_matches('}');
                if item != "any" {
                    let shape = builder.shape(source.package, item);
                    assert_ne!(shape, Shape::Any, "{}.{field}: {notation}", source.package);
                }
            }
        }
    }

    #[test]
    fn a_pod_has_containers_merged_by_name() {
        let pod = builtin("", "v1", "Pod").unwrap();
        let containers = pod.field("spec").unwrap().field("containers").unwrap();
        let Shape::List { of, merge } = containers else { panic!("not a list") };
        assert_eq!(*merge, ListMerge::Keyed(vec!["name".to_owned()]));
        assert_eq!(of.field("image"), Some(&Shape::String));
        assert_eq!(of.field("imagee"), None);
    }
}
