//! Who may see an object: `exportTo`.

/// The namespaces an object is exported to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExportTo {
    Everybody,
    Nobody,
    /// By name; `.` is the object's own.
    Namespaces(Vec<String>),
}

impl ExportTo {
    /// `None` when nothing is written, so that the mesh's default applies.
    pub fn parse<'a>(written: impl IntoIterator<Item = &'a str>) -> Option<ExportTo> {
        let list: Vec<&str> =
            written.into_iter().map(str::trim).filter(|s| !s.is_empty()).collect();
        if list.is_empty() {
            return None;
        }
        if list.contains(&"*") {
            return Some(ExportTo::Everybody);
        }
        if list == ["~"] {
            return Some(ExportTo::Nobody);
        }
        Some(ExportTo::Namespaces(list.into_iter().map(str::to_owned).collect()))
    }

    /// Whether an object of namespace `own` is seen from namespace `from`.
    pub fn reaches(&self, own: &str, from: &str) -> bool {
        match self {
            ExportTo::Everybody => true,
            ExportTo::Nobody => false,
            ExportTo::Namespaces(list) => {
                list.iter().any(|n| if n == "." { own == from } else { n == from })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility() {
        let table: [(&[&str], &str, bool); 8] = [
            (&["*"], "other", true),
            (&["."], "own", true),
            (&["."], "other", false),
            (&["other"], "other", true),
            (&["other"], "own", false),
            (&["~"], "own", false),
            (&[".", "other"], "other", true),
            (&["a", "*"], "b", true),
        ];
        for (written, from, expected) in table {
            let export = ExportTo::parse(written.iter().copied()).unwrap();
            assert_eq!(export.reaches("own", from), expected, "{written:?} from {from}");
        }
        assert_eq!(ExportTo::parse([]), None);
    }
}
