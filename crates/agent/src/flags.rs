//! Flags as Istio's programs take them: `--name value`, `--name=value`, `-n value`. Names that we do
//! not know are kept, since manifests carry flags of many releases.

use std::collections::BTreeMap;

/// Positional words and flags of one command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub words: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Flags {
    /// A flag is followed by its value unless another flag, or nothing, comes next.
    pub fn parse(args: &[String]) -> Self {
        let mut flags = Self::default();
        let mut rest = args.iter().peekable();
        while let Some(arg) = rest.next() {
            let Some(name) = name_of(arg) else {
                flags.words.push(arg.clone());
                continue;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (
                    name,
                    rest.next_if(|next| name_of(next).is_none()).cloned().unwrap_or_default(),
                ),
            };
            flags.values.insert(name.to_owned(), value);
        }
        flags
    }

    /// The value under any of `names` (long and short).
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.values.get(*n)).map(String::as_str)
    }

    /// A switch: present, and not switched off by its value.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|v| v.is_empty() || v == "true")
    }
}

fn name_of(arg: &str) -> Option<&str> {
    arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|n| !n.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_spellings_are_read() {
        let args =
            ["proxy", "sidecar", "--domain", "x", "--proxyLogLevel=warning", "-x", "", "--on"];
        let flags = Flags::parse(&args.map(str::to_owned));
        assert_eq!(flags.words, ["proxy", "sidecar"]);
        assert_eq!(flags.get(&["domain"]), Some("x"));
        assert_eq!(flags.get(&["p", "proxyLogLevel"]), Some("warning"));
        assert_eq!(flags.get(&["x"]), Some(""));
        assert!(flags.is_set("on") && !flags.is_set("off"));
    }
}
