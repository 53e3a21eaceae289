//! Arguments and environment, read in the plainest way: `--name value`, `--name=value`, positions.

#[derive(Debug, Default)]
pub struct Flags {
    named: Vec<(String, String)>,
    positions: Vec<String>,
}

impl Flags {
    pub fn parse(args: &[String]) -> Flags {
        let mut flags = Flags::default();
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                flags.positions.push(arg.clone());
                continue;
            };
            if let Some((name, value)) = name.split_once('=') {
                flags.named.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let value = args.next_if(|next| !next.starts_with("--"));
            flags.named.push((name.to_owned(), value.cloned().unwrap_or_default()));
        }
        flags
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.named.iter().rfind(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.named.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn position(&self, index: usize) -> Option<&str> {
        self.positions.get(index).map(String::as_str)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> anyhow::Result<T> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| anyhow::anyhow!("--{name} {text:?} is not a number of that range")),
        }
    }

    /// The port to listen on: `--port`, `$PORT`, the first position, or the default.
    pub fn port(&self, default: u16) -> anyhow::Result<u16> {
        let asked = self.get("port").map(str::to_owned).or_else(|| env("PORT"));
        let asked = asked.or_else(|| self.position(0).map(str::to_owned));
        match asked {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| anyhow::anyhow!("{text:?} is not a port number"))
            }
        }
    }
}

/// An environment variable that is set and not empty.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The pod's name: what Kubernetes gives a container as its host name.
pub fn pod_name() -> String {
    env("HOSTNAME")
        .or_else(|| {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
            Some(name.trim().to_owned())
        })
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_repetitions() {
        let args = ["9000", "--rate", "500", "--header=a: b", "--header", "c: d", "--quiet"];
        let flags = Flags::parse(&args.map(str::to_owned));
        assert_eq!(flags.position(0), Some("9000"));
        assert_eq!(flags.number("rate", 1).unwrap(), 500);
        assert_eq!(flags.all("header").collect::<Vec<_>>(), ["a: b", "c: d"]);
        assert!(flags.has("quiet") && !flags.has("loud"));
        assert!(flags.number::<u8>("rate", 1).is_err());
    }
}
