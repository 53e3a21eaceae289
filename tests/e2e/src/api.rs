//! A kept-alive client of the mesh's API for tests that change it faster than kubectl starts.

use crate::Mesh;
use k8s::connection::{ConnectError, Connection, Reply};
use serde_json::Value;
use std::time::{Duration, Instant};

/// While the API is away, a write is tried this long; it may be killed on the way.
const PATIENCE: Duration = Duration::from_secs(30);
const ONE_TRY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// The API of one mesh, for one thread.
pub struct Api {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

impl Api {
    pub fn of(mesh: &Mesh) -> Api {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let kubeconfig = mesh.state().join("kubeconfig");
        let connection = runtime.block_on(Connection::open(Some(&kubeconfig), None));
        Api { runtime, connection: connection.expect("the kubeconfig is good") }
    }

    /// Writes an object of the namespace `default`; returns once that is acknowledged.
    pub fn apply(&self, path: &str, object: &Value) {
        self.acknowledged(path, || self.connection.apply(path, object, true));
    }

    /// Deletes it; that it is gone already is as good.
    pub fn delete(&self, path: &str) {
        self.acknowledged(path, || self.connection.delete(path));
    }

    /// The object, however long the API is away.
    pub fn get(&self, path: &str) -> Value {
        self.acknowledged(path, || self.connection.get(path)).expect("it is there").body
    }

    fn acknowledged<F>(&self, path: &str, ask: impl Fn() -> F) -> Option<Reply>
    where
        F: Future<Output = Result<Reply, ConnectError>>,
    {
        let begun = Instant::now();
        loop {
            let answer =
                self.runtime.block_on(async { tokio::time::timeout(ONE_TRY, ask()).await });
            let why = match answer {
                Ok(Ok(reply)) => return Some(reply),
                Ok(Err(ConnectError::Status { code: 404, .. })) => return None,
                Ok(Err(ConnectError::Status { code, message, .. }))
                    if code < 500 && code != 429 =>
                {
                    panic!("{path}: {code} {message}")
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {ONE_TRY:?}"),
            };
            assert!(begun.elapsed() < PATIENCE, "{path}: {why}, for {PATIENCE:?}");
            std::thread::sleep(PAUSE);
        }
    }
}
