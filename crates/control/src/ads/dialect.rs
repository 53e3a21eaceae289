//! The two dialects of discovery on the wire. Within, a session knows only one form.

use proto::discovery::{
    ControlPlane, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse, Node,
};
use xds::server::{self, Push, Request};

/// How a stream's messages are written.
pub(super) trait Dialect: Send + 'static {
    type Request: prost::Message + Default + Send + 'static;
    type Response: prost::Message + Send + 'static;
    const NAME: &'static str;
    const OF_SESSION: server::Dialect;

    fn node(request: &Self::Request) -> Option<&Node>;
    /// `None` for types that are not served here.
    fn read(request: Self::Request) -> Option<Request>;
    fn write(push: Push, sender: &ControlPlane) -> Self::Response;
}

/// Each response of clusters and listeners holds all of them.
pub(super) struct StateOfTheWorld;

/// Only what changed.
pub(super) struct Delta;

impl Dialect for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const NAME: &'static str = "sotw";
    const OF_SESSION: server::Dialect = server::Dialect::StateOfTheWorld;

    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn read(request: DiscoveryRequest) -> Option<Request> {
        Request::of_whole(request)
    }

    fn write(push: Push, sender: &ControlPlane) -> DiscoveryResponse {
        DiscoveryResponse { control_plane: Some(sender.clone()), ..push.into_whole() }
    }
}

impl Dialect for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const NAME: &'static str = "delta";
    const OF_SESSION: server::Dialect = server::Dialect::Delta;

    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn read(request: DeltaDiscoveryRequest) -> Option<Request> {
        Request::of_delta(request)
    }

    fn write(push: Push, sender: &ControlPlane) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse { control_plane: Some(sender.clone()), ..push.into_delta() }
    }
}
