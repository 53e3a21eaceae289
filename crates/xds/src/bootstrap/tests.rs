//! Bootstraps that users have, and what is said about those that are wrong.

use super::*;
use ir::{Action, Discovery, LogFormat, LogSink, RouteSource, Terminal};
use std::time::Duration;

const STATIC: &str = include_str!("testdata/static.yaml");

#[test]
fn a_static_proxy_is_read() {
    let b = read(STATIC).unwrap();
    assert_eq!(b.admin, Some("127.0.0.1:19901".parse().unwrap()));
    assert_eq!(&*b.node.cluster, "app.default");
    assert_eq!(b.node.metadata["LABELS"]["app"], "app");
    let listener = &b.config.listeners[0];
    assert_eq!(listener.address, Address::Ip("127.0.0.1:19080".parse().unwrap()));
    let Terminal::Http(manager) = &listener.chains[0].terminal else { panic!("no HTTP") };
    assert!(manager.normalize_path && manager.merge_slashes && manager.use_remote_address);
    let LogSink::File { path, format: LogFormat::Text(text) } = &manager.access_log[0].sink else {
        panic!("no log file")
    };
    assert_eq!((&**path, &**text), ("/dev/stdout", "%PROTOCOL% %RESPONSE_CODE%\n"));
    let RouteSource::Inline(routes) = &manager.routes else { panic!("no routes") };
    let [admin, exact, all] = &routes.virtual_hosts[0].routes[..] else { panic!("three routes") };
    assert!(
        matches!(&admin.action, Action::Direct(d) if d.status == 403 && &d.body[..] == b"no\n")
    );
    assert!(matches!(&exact.action, Action::Forward(f) if &*f.prefix_rewrite == "/jason"));
    let Action::Forward(forward) = &all.action else { panic!("no forward") };
    assert_eq!(forward.timeout, Some(Duration::from_millis(2500)));
    let retry = forward.retry.as_ref().unwrap();
    assert_eq!(retry.on, ["5xx".into(), "connect-failure".into()]);
    assert_eq!((retry.num_retries, retry.host_selection_max_attempts), (Some(2), 5));
    let cluster = &b.config.clusters[0];
    assert_eq!(cluster.breakers.max_requests, Some(1 << 30));
    assert!(matches!(&cluster.discovery, Discovery::Static(g) if g[0].endpoints.len() == 1));
    assert_eq!(b.runtime["overload.global_downstream_max_connections"], Value::Number(50000.0));
    assert_eq!(b.findings, []);
}

#[test]
fn an_ads_client_is_read() {
    let text = r#"
node: {id: a, cluster: b, locality: {region: r, zone: z, subZone: s}}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]}
  cdsConfig: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resourceApiVersion: V3}
"#;
    let b = read(text).unwrap();
    let expected = Dynamic { ads_cluster: "xds-grpc".into(), delta: true, cds: true, lds: true };
    assert_eq!(b.dynamic, Some(expected));
    assert_eq!(&*b.node.locality.sub_zone, "s");
}

#[test]
fn an_empty_file_is_an_empty_bootstrap() {
    assert_eq!(read("{}").unwrap().config, Config::default());
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let chain = |filter: &str| {
        format!(
            "{{static_resources: {{listeners: [{{name: l, address: {{pipe: {{path: /x}}}}, filter_chains: [{{filters: [{{name: f, typed_config: {filter}}}]}}]}}]}}}}"
        )
    };
    let hcm = |field: &str| {
        chain(&format!(
            "{{\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, route_config: {{}}, http_filters: [{{name: r, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}], {field}}}"
        ))
    };
    const FILTER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let table = [
        (hcm("tracing: {verbose: true}"), format!("{FILTER}.tracing.verbose"), "is not supported"),
        (hcm("no_such_field: 1"), format!("{FILTER}.no_such_field"), "has no such field"),
        (hcm("codec_type: HTTP9"), format!("{FILTER}.codec_type"), "no value of this enumeration"),
        (hcm("codec_type: HTTP3"), format!("{FILTER}.codec_type"), "is not supported"),
        (hcm("request_timeout: 5"), format!("{FILTER}.request_timeout"), "must be a duration"),
        (hcm("rds: {route_config_name: x}"), format!("{FILTER}.rds"), "together with"),
        (
            chain("{\"@type\": type.googleapis.com/no.such.Filter}"),
            FILTER.to_owned(),
            "no.such.Filter is not supported",
        ),
        ("admin: {address: {pipe: {path: /x}}}".to_owned(), "admin.address".to_owned(), "no IP"),
        (
            "{static_resources: {clusters: [{name: a}, {name: a}]}}".to_owned(),
            "static_resources.clusters".to_owned(),
            "two clusters",
        ),
        ("node: [".to_owned(), String::new(), "neither JSON nor YAML"),
    ];
    for (text, path, message) in table {
        let findings = read(&text).unwrap_err();
        assert!(
            findings.iter().any(|f| f.path == path && f.message.contains(message)),
            "{text}\n{findings:#?}"
        );
    }
}

#[test]
fn a_refused_field_with_its_default_value_is_no_matter() {
    let text = "{static_resources: {clusters: [{name: a, lrs_server: null, use_tcp_for_dns_lookups: false}]}}";
    assert_eq!(read(text).unwrap().config.clusters.len(), 1);
}

#[test]
fn a_second_file_is_laid_over_the_first() {
    let b = read_merged(
        "{node: {id: a, cluster: b}, static_resources: {clusters: [{name: x}]}}",
        "{node: {id: c}, static_resources: {clusters: [{name: y}]}}",
    )
    .unwrap();
    assert_eq!((&*b.node.id, &*b.node.cluster, b.config.clusters.len()), ("c", "b", 2));
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
static_resources:
  clusters:
  - &a {name: a, connect_timeout: 1s}
  - {<<: *a, name: b}
";
    let b = read(text).unwrap();
    assert_eq!(b.config.clusters[1].connect_timeout, Some(Duration::from_secs(1)));
    assert_eq!(&*b.config.clusters[1].name, "b");
}

#[test]
fn older_spellings_keep_their_meaning() {
    let b = read(include_str!("testdata/older.yaml")).unwrap();
    let chain = &b.config.listeners[0].chains[0];
    let stats = ir::IstioStats {
        destination: true,
        disable_host_header_fallback: true,
        tcp_reporting: None,
    };
    assert_eq!(chain.network, [ir::NetworkFilter::IstioStats(stats)]);
    let Terminal::Http(manager) = &chain.terminal else { panic!("no HTTP") };
    assert_eq!(manager.access_log[0].sink, LogSink::Stdout(LogFormat::Text("%PROTOCOL%".into())));
    assert!(
        matches!(&manager.access_log[1].sink, LogSink::File { format: LogFormat::Text(t), .. } if &**t == "%DURATION%")
    );
    assert_eq!(manager.filters, []);
    let RouteSource::Inline(routes) = &manager.routes else { panic!("no routes") };
    let host = &routes.virtual_hosts[0];
    let add = &host.headers.request_add[0];
    assert_eq!((&*add.name, add.action), ("x-a", ir::AppendAction::OverwriteIfExistsOrAdd));
    assert!(host.retry.as_ref().unwrap().avoid_previous_hosts);
    let [(name, ir::HttpFilterConfig::Fault(fault)), (off, ir::HttpFilterConfig::Disabled)] =
        &host.per_filter[..]
    else {
        panic!("a fault, and a filter that is off")
    };
    assert_eq!(&**off, "c");
    assert_eq!((&**name, fault.max_active_faults), ("a", Some(3)));
    let header = &host.routes[0].matches.headers[0];
    let jason = ir::HeaderCondition::Value(ir::StringMatch::exact("jason"));
    assert_eq!((&*header.name, &header.condition), ("x-user", &jason));
    let Action::Forward(forward) = &host.routes[0].action else { panic!("no forward") };
    assert_eq!(forward.grpc_timeout.as_ref().unwrap().max, Some(Duration::ZERO));
    let cluster = &b.config.clusters[0];
    assert_eq!(cluster.protocol, ir::UpstreamProtocol::Http2);
    assert_eq!(cluster.http2.max_concurrent_streams, Some(7));
    assert_eq!(b.findings.len(), 1, "the optional filter that was left out: {:?}", b.findings);
}
