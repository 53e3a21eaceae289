//! Protocols that are not HTTP: the client speaks first (redis, postgres), or the server (MariaDB).

use super::shell;
use e2e::Mesh;

pub fn redis(mesh: &Mesh) {
    let script = "printf 'SET a 1\\r\\nGET a\\r\\nQUIT\\r\\n' | timeout 5 curl -s telnet://redis:6379 || true";
    assert_eq!(shell(mesh, script).replace('\r', ""), "+OK\n$1\n1\n+OK\n");
}

pub fn postgres(mesh: &Mesh) {
    let script = "PGPASSWORD='fair wind' PGCONNECT_TIMEOUT=10 \
                  $(ls -d /usr/lib/postgresql/*/bin | tail -1)/psql -h postgres -U postgres -d fleet -Atq -v ON_ERROR_STOP=1 2>&1 <<'END'\n\
                  CREATE TABLE boats (id serial, name text);\n\
                  INSERT INTO boats (name) SELECT 'boat ' || n FROM generate_series(1, 100000) n;\n\
                  SELECT count(*), max(length(name)), inet_client_addr() IS NULL FROM boats;\n\
                  END";
    assert_eq!(shell(mesh, script), "100000|11|f\n");
}

/// The server speaks first, on a port that says nothing about its protocol.
pub fn mariadb(mesh: &Mesh) {
    let script = "mariadb --connect-timeout=10 -h mariadb -u sailor '-pfair wind' -N -B fleet -e \"\
                  CREATE TABLE boats (name text); INSERT INTO boats SELECT 'boat' FROM seq_1_to_10000; \
                  SELECT count(*), current_user() FROM boats\" 2>&1";
    assert_eq!(shell(mesh, script), "10000\tsailor@%\n");
}
