//! What pods without a sidecar learn about services.

use super::*;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde_json::json;

fn example() -> Table {
    let service = |name: &str, spec: Value| {
        Arc::new(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}))
    };
    let services = [
        service(
            "web",
            json!({"clusterIPs": ["10.96.0.9", "fd00:10:96::9"], "ports": [{"name": "http", "port": 80}]}),
        ),
        service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
        service(
            "out",
            json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
        ),
        service("far", json!({"type": "ExternalName", "externalName": "example.com"})),
    ];
    let slices = [Arc::new(json!({
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
        "endpoints": [
            {"addresses": ["10.244.0.3"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.0.4"], "hostname": "db-1", "conditions": {"ready": false}},
        ]
    }))];
    table("cluster.local", &services, &slices)
}

fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    let Answered::Here(bytes) = answer(&example(), &query.to_bytes().unwrap(), false) else {
        panic!("{name} is ours")
    };
    let reply = Message::from_bytes(&bytes).unwrap();
    let answers = reply.answers.iter().map(|r| r.data.to_string()).collect();
    (reply.metadata.response_code, answers)
}

#[test]
fn services_endpoints_aliases_and_pods_have_names() {
    use RecordType::{A, AAAA, SRV};
    let table: &[(&str, RecordType, &[&str])] = &[
        ("web.shop.svc.cluster.local", A, &["10.96.0.9"]),
        ("WEB.shop.svc.Cluster.Local", A, &["10.96.0.9"]),
        ("web.shop.svc.cluster.local", AAAA, &["fd00:10:96::9"]),
        ("db.shop.svc.cluster.local", A, &["10.244.0.3"]),
        ("db-0.db.shop.svc.cluster.local", A, &["10.244.0.3"]),
        ("db.shop.svc.cluster.local", AAAA, &[]),
        ("out.shop.svc.cluster.local", A, &["web.shop.svc.cluster.local.", "10.96.0.9"]),
        ("far.shop.svc.cluster.local", A, &["example.com."]),
        ("_http._tcp.web.shop.svc.cluster.local", SRV, &["0 100 80 web.shop.svc.cluster.local."]),
        ("10-244-0-7.shop.pod.cluster.local", A, &["10.244.0.7"]),
    ];
    for (name, kind, expected) in table {
        let (code, answers) = ask(name, *kind);
        assert_eq!(
            (code, answers.as_slice()),
            (
                ResponseCode::NoError,
                &expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]
            ),
            "{name} {kind}"
        );
    }
}

#[test]
fn what_does_not_exist_is_said_to_and_others_are_asked_outside() {
    assert_eq!(ask("no.shop.svc.cluster.local", RecordType::A).0, ResponseCode::NXDomain);
    assert_eq!(ask("db-1.db.shop.svc.cluster.local", RecordType::A).0, ResponseCode::NXDomain);
    assert_eq!(ask("shop.svc.cluster.local", RecordType::A).0, ResponseCode::NoError);
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii("example.com.").unwrap(), RecordType::A));
    assert_eq!(answer(&example(), &query.to_bytes().unwrap(), false), Answered::Outside);
    assert_eq!(answer(&example(), &[1, 2, 3], false), Answered::Nonsense);
}
