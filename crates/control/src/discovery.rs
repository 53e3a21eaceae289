//! The discovery port: who calls is established first, then the method decides which of the two
//! services answers, ADS or certificates.

use crate::ads::Ads;
use crate::authority::Authority;
use crate::grpc;
use crate::listen::{Body, Peer, Serve};
use crate::metrics::Metrics;
use base::{SpiffeId, TrustDomain};
use ca::{AuthError, IssueError, Names, TokenAuthenticator};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use proto::discovery::{DELTA, STREAM};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Serves discovery and certificates on one port.
#[derive(Clone)]
pub(crate) struct Discovery {
    pub ads: Ads,
    pub authority: Authority,
    pub tokens: Arc<dyn TokenAuthenticator>,
    /// The mesh's own and its aliases. A root that the operator plugs in may sign for others, too.
    pub domains: Arc<[TrustDomain]>,
    pub metrics: Arc<Metrics>,
}

/// Who is at the other end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Known(SpiffeId),
    /// On the plaintext port nobody is asked.
    Trusted,
}

impl Serve for Discovery {
    async fn serve(self, peer: Peer, request: http::Request<Incoming>) -> http::Response<Body> {
        let response = match request.uri().path() {
            STREAM => {
                grpc::streaming(request, |r| Box::pin(self.state_of_the_world(peer, r))).await
            }
            DELTA => grpc::streaming(request, |r| Box::pin(self.delta(peer, r))).await,
            CREATE_CERTIFICATE => grpc::unary(request, |r| Box::pin(self.certificate(r))).await,
            other => grpc::unimplemented(other),
        };
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

impl Discovery {
    /// A certificate that was verified in the handshake, else the token; without TLS, trust.
    async fn caller<T>(&self, peer: &Peer, r: &tonic::Request<T>) -> Result<Caller, Status> {
        if let Some(id) = &peer.identity {
            if !self.domains.contains(&id.trust_domain) {
                let why = format!("{id} is of no trust domain of this mesh");
                return Err(self.refusal(AuthError::Refused(why)));
            }
            return Ok(Caller::Known(id.clone()));
        }
        if !peer.tls && grpc::bearer(r).is_none() {
            return Ok(Caller::Trusted);
        }
        self.holder(r).await.map(Caller::Known)
    }

    /// Whose token it is.
    async fn holder<T>(&self, r: &tonic::Request<T>) -> Result<SpiffeId, Status> {
        let token = grpc::bearer(r).ok_or_else(|| self.refusal(AuthError::Missing))?;
        let caller = self.tokens.authenticate(&token).await;
        caller.map(|caller| caller.identity).map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: AuthError) -> Status {
        self.metrics.count("citadel_server_authentication_failure_count", &[]);
        match error {
            AuthError::Unavailable(_) => Status::unavailable(error.to_string()),
            _ => Status::unauthenticated(error.to_string()),
        }
    }

    async fn state_of_the_world(
        self,
        peer: Peer,
        r: tonic::Request<tonic::Streaming<proto::discovery::DiscoveryRequest>>,
    ) -> Result<grpc::Answers<proto::discovery::DiscoveryResponse>, Status> {
        let caller = self.caller(&peer, &r).await?;
        self.ads.state_of_the_world(caller, r.into_inner())
    }

    async fn delta(
        self,
        peer: Peer,
        r: tonic::Request<tonic::Streaming<proto::discovery::DeltaDiscoveryRequest>>,
    ) -> Result<grpc::Answers<proto::discovery::DeltaDiscoveryResponse>, Status> {
        let caller = self.caller(&peer, &r).await?;
        self.ads.delta(caller, r.into_inner())
    }

    /// Against a token only: renewed against a certificate, a stolen one would live on for ever, past the
    /// rotation that is to end it and past its ServiceAccount.
    async fn certificate(
        self,
        r: tonic::Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Status> {
        self.metrics.count("citadel_server_csr_count", &[]);
        let identity = self.holder(&r).await?;
        let asked = r.get_ref();
        let validity =
            Duration::from_secs(u64::try_from(asked.validity_duration).unwrap_or_default());
        match self.authority.issue(&asked.csr, Names::Workload(identity), validity).await {
            Ok(issued) => {
                self.metrics.count("citadel_server_success_cert_issuance_count", &[]);
                Ok(IstioCertificateResponse { cert_chain: issued.chain })
            }
            Err(error @ IssueError::Request(_)) => {
                self.metrics.count("citadel_server_csr_parsing_err_count", &[]);
                Err(Status::invalid_argument(error.to_string()))
            }
            Err(error) => {
                self.metrics.count("citadel_server_csr_sign_err_count", &[]);
                Err(Status::invalid_argument(error.to_string()))
            }
        }
    }
}
