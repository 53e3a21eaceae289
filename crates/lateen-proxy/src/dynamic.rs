//! `dynamic_resources` of a bootstrap: which control plane to follow.

use agent::{ControlPlane, Dial, Source};
use anyhow::{Context, bail};
use ir::{Cluster, Discovery};
use xds::bootstrap::Bootstrap;
use xds::server::Dialect;

/// The control plane that the bootstrap names, if it names one.
pub fn source(bootstrap: &Bootstrap) -> anyhow::Result<Option<Source>> {
    let Some(dynamic) = &bootstrap.dynamic else { return Ok(None) };
    let name = &dynamic.ads_cluster;
    let cluster = bootstrap.config.clusters.iter().find(|c| c.name == *name);
    let cluster = cluster.with_context(|| format!("ads_config: there is no cluster {name}"))?;
    let address = address(cluster)?;
    Ok(Some(Source {
        control_plane: ControlPlane::Plain { address, dial: Dial::default() },
        dialect: if dynamic.delta { Dialect::Delta } else { Dialect::StateOfTheWorld },
        node: bootstrap.node.clone(),
        fixed: bootstrap.config.clone(),
        asks: xds::client::CONFIGURATION,
    }))
}

fn address(cluster: &Cluster) -> anyhow::Result<ir::Address> {
    let name = &cluster.name;
    if cluster.tls.is_some() || !cluster.tls_matches.is_empty() {
        bail!(
            "cluster {name}: a control plane behind TLS is reached as a mesh's (lateen-proxy proxy)"
        );
    }
    let groups = match &cluster.discovery {
        Discovery::Static(groups)
        | Discovery::StrictDns { groups, .. }
        | Discovery::LogicalDns { groups, .. } => groups,
        Discovery::Eds(_) | Discovery::OriginalDst | Discovery::ByHost(_) => {
            bail!("cluster {name}: the control plane's endpoints must be static or by DNS")
        }
    };
    let endpoint = groups.iter().flat_map(|g| &g.endpoints).next();
    let endpoint = endpoint.with_context(|| format!("cluster {name} has no endpoint"))?;
    Ok(endpoint.address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api: &str, clusters: &str) -> anyhow::Result<Option<Source>> {
        let text = format!(
            "{{node: {{id: me}}, static_resources: {{clusters: [{clusters}]}}, dynamic_resources: {{\
             ads_config: {{api_type: {api}, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]}}, \
             cds_config: {{ads: {{}}}}, lds_config: {{ads: {{}}}}}}}}"
        );
        source(&xds::bootstrap::read(&text).unwrap())
    }

    const ENDPOINT: &str = "load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: istiod.istio-system, port_value: 15010}}}}]}]}";

    #[test]
    fn the_stream_goes_where_its_cluster_says() {
        for (api, dialect) in [("DELTA_GRPC", Dialect::Delta), ("GRPC", Dialect::StateOfTheWorld)] {
            let cluster = format!("{{name: xds, type: STRICT_DNS, {ENDPOINT}}}");
            let source = of(api, &cluster).unwrap().unwrap();
            assert_eq!((source.dialect, &*source.node.id), (dialect, "me"));
            let ControlPlane::Plain { address, .. } = source.control_plane else { panic!("TLS") };
            assert_eq!(address.to_string(), "istiod.istio-system:15010");
        }
    }

    #[test]
    fn a_cluster_that_leads_nowhere_is_refused_by_name() {
        let tls = "transport_socket: {name: tls, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}";
        let table = [
            (String::new(), "no cluster xds"),
            ("{name: xds}".to_owned(), "has no endpoint"),
            (format!("{{name: xds, {ENDPOINT}, {tls}}}"), "behind TLS"),
            (
                "{name: xds, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}".to_owned(),
                "must be static",
            ),
        ];
        for (clusters, message) in table {
            let error = of("GRPC", &clusters).unwrap_err().to_string();
            assert!(error.contains(message), "{clusters}: {error}");
        }
    }

    #[test]
    fn without_dynamic_resources_there_is_nothing_to_follow() {
        assert!(source(&xds::bootstrap::read("{}").unwrap()).unwrap().is_none());
    }
}
