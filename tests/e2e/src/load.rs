//! Open-loop load by `lateen-apps load`, from the host or from inside a pod, with a journal of every
//! request, so that a test can say afterwards which answers were wrong when they came.

use crate::{Mesh, eventually};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// Microseconds since 1970: the one clock that host and pods have in common.
pub type Moment = u64;

pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("before the year 500000")
}

/// What became of one request; times are counted from when it was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub due: Moment,
    pub took: Duration,
    /// What the answer was counted as, or why it is none.
    pub result: Result<String, String>,
}

impl Outcome {
    pub fn end(&self) -> Moment {
        self.due + u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)
    }
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Aim {
    /// For people, and for the journal's file.
    pub name: &'static str,
    /// `keep-alive`, `new`, `h2c` or `grpc`.
    pub mode: &'static str,
    pub url: String,
    /// Where to connect, if not to what the URL names.
    pub connect: Option<String>,
    pub rate: u32,
    /// Response headers that name an answer.
    pub headers: &'static [&'static str],
}

/// Load that runs until it is stopped.
pub struct Load {
    journal: String,
    process: Process,
}

enum Process {
    Host(Child),
    Pod { pod: String, container: String, pid: String },
}

/// Nothing runs longer, whoever forgets to stop it.
const LONGEST: &str = "600";

impl Aim {
    fn arguments(&self, journal: &str) -> Vec<String> {
        let rate = self.rate.to_string();
        let url = self.url.as_str();
        let mut list = vec!["load", "--url", url, "--mode", self.mode, "--rate", &rate];
        list.extend(["--seconds", LONGEST, "--connections", "4", "--journal", journal]);
        list.extend(self.headers.iter().flat_map(|h| ["--count-header", h]));
        list.extend(self.connect.iter().flat_map(|c| ["--connect", c]));
        list.into_iter().map(str::to_owned).collect()
    }
}

impl Load {
    /// From the machine that the mesh runs on.
    pub fn from_host(mesh: &Mesh, aim: &Aim) -> Load {
        let journal = mesh.state().join(format!("{}.journal", aim.name)).display().to_string();
        let child = Command::new(mesh.program("lateen-apps"))
            .args(aim.arguments(&journal))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Load { journal, process: Process::Host(child.expect("lateen-apps starts")) }
    }

    /// From a container, in which it runs beside the container's own program.
    pub fn from_pod(mesh: &Mesh, pod: &str, container: &str, aim: &Aim) -> Load {
        let journal = format!("/tmp/{}.journal", aim.name);
        let arguments = aim.arguments(&journal).join(" ");
        let script = format!(
            "/lateen/programs/lateen-apps {arguments} >/tmp/{0}.out 2>&1 </dev/null & echo $!",
            aim.name
        );
        let pid = mesh.exec(pod, container, &["sh", "-c", &script]).trim().to_owned();
        let (pod, container) = (pod.to_owned(), container.to_owned());
        Load { journal, process: Process::Pod { pod, container, pid } }
    }

    /// Ends it when all requests that are under way have ended.
    pub fn stop(self, mesh: &Mesh) -> Vec<Outcome> {
        let text = match self.process {
            Process::Host(mut child) => {
                let pid = child.id().to_string();
                let killed = Command::new("kill").arg(&pid).status().expect("kill");
                assert!(killed.success(), "the load has ended by itself");
                child.wait().expect("a child of ours");
                std::fs::read_to_string(&self.journal).expect("the load wrote its journal")
            }
            Process::Pod { pod, container, pid } => {
                mesh.exec(&pod, &container, &["kill", &pid]);
                eventually("the load ends", Duration::from_secs(20), || {
                    let script = format!("kill -0 {pid} 2>/dev/null && echo runs || echo ended");
                    match mesh.exec(&pod, &container, &["sh", "-c", &script]).trim() {
                        "ended" => Ok(()),
                        other => Err(other.to_owned()),
                    }
                });
                mesh.exec(&pod, &container, &["cat", &self.journal])
            }
        };
        text.lines().map(read).collect()
    }
}

/// A line of the journal.
fn read(line: &str) -> Outcome {
    let fields: Vec<&str> = line.splitn(4, '\t').collect();
    let &[due, took, word, text] = &fields[..] else { panic!("no line of a journal: {line:?}") };
    let number = |field: &str| field.parse().unwrap_or_else(|e| panic!("{line:?}: {e}"));
    let result = match word {
        "ok" => Ok(text.to_owned()),
        _ => Err(text.to_owned()),
    };
    Outcome { due: number(due), took: Duration::from_micros(number(took)), result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read() {
        let good = read("1000\t250\tok\t7 echo-v1-x");
        assert_eq!((good.due, good.end()), (1000, 1250));
        assert_eq!(good.result, Ok("7 echo-v1-x".into()));
        assert_eq!(read("1\t2\tfailed\tstatus 503 none").result, Err("status 503 none".into()));
    }
}
