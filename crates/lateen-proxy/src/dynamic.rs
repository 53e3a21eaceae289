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
        Discovery::Eds(_) | Discovery::OriginalDst => {
            bail!("cluster {name}: the control plane's endpoints must be static or by DNS")
        }
    };
    let endpoint = groups.iter().flat_map(|g| &g.endpoints).next();
    let endpoint = endpoint.with_context(|| format!("cluster {name} has no endpoint"))?;
    Ok(endpoint.address.clone())
}
