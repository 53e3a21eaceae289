//! External authorization, and what goes with it.

use super::Gen;
use ir::{
    AuthzBody, AuthzService, AuthzSettings, Compressed, Compressor, ExtAuthz, GrpcAuthz,
    HeaderToMetadata, HttpAuthz, MetadataEntry, MetadataMatch, MetadataRule, MetadataSource,
    NetworkAuthz, StringMatch, ValueMatch,
};

impl Gen {
    pub(super) fn ext_authz(&self) -> ExtAuthz {
        ExtAuthz {
            service: self.authz_service(),
            failure_mode_allow: self.yes(),
            failure_mode_allow_header: self.yes(),
            body: self.opt(|| self.authz_body()),
            clear_route_cache: self.yes(),
            status_on_error: self.opt(|| 400 + self.below(100) as u16),
            validate_mutations: self.yes(),
            metadata_context: self.some_of(|| self.word()),
            enabled: self.opt(|| self.runtime_fraction()),
            enabled_metadata: self.opt(|| self.metadata_match()),
            deny_at_disable: self.yes(),
            include_peer_certificate: self.yes(),
            include_tls_session: self.yes(),
            stat_prefix: self.text(),
            allowed_headers: self.opt(|| self.patterns()),
            disallowed_headers: self.patterns(),
            charge_cluster: self.opt(|| self.yes()),
            raw_headers: self.yes(),
            ingest_metadata: self.opt(|| self.yes()),
            max_denied_body: self.u32(),
        }
    }

    pub(super) fn network_authz(&self) -> NetworkAuthz {
        NetworkAuthz {
            service: GrpcAuthz {
                cluster: format!("outbound|1||{}", self.word()).into(),
                timeout: self.opt(|| self.duration()),
            },
            failure_mode_allow: self.yes(),
            enabled_metadata: self.opt(|| self.metadata_match()),
            include_peer_certificate: self.yes(),
            include_tls_session: self.yes(),
            stat_prefix: self.text(),
        }
    }

    pub(super) fn authz_settings(&self) -> AuthzSettings {
        let mut context = self.some_of(|| (self.word(), self.word()));
        context.sort();
        context.dedup_by(|a, b| a.0 == b.0);
        AuthzSettings {
            context,
            no_body: self.yes(),
            body: self.opt(|| self.authz_body()),
            service: self.opt(|| self.authz_service()),
        }
    }

    fn authz_service(&self) -> AuthzService {
        let timeout = self.opt(|| self.duration());
        if self.yes() {
            return AuthzService::Grpc(GrpcAuthz { cluster: self.word(), timeout });
        }
        AuthzService::Http(Box::new(HttpAuthz {
            uri: self.text(),
            cluster: self.word(),
            timeout,
            path_prefix: self.text(),
            path_override: self.text(),
            allowed_headers: self.opt(|| self.patterns()),
            headers_to_add: self.some_of(|| (self.word(), self.word())),
            upstream: self.patterns(),
            upstream_append: self.patterns(),
            client: self.patterns(),
            client_on_success: self.patterns(),
            metadata: self.patterns(),
        }))
    }

    fn authz_body(&self) -> AuthzBody {
        AuthzBody { max: 1 + self.below(1000) as u32, partial: self.yes(), as_bytes: self.yes() }
    }

    pub(super) fn header_to_metadata(&self) -> HeaderToMetadata {
        let entry = || MetadataEntry {
            namespace: self.text(),
            key: self.word(),
            value: self.text(),
            rewrite: self.opt(|| self.regex_rewrite()),
            number: self.yes(),
            base64: self.yes(),
        };
        let rules = self.some_of(|| MetadataRule {
            from: match self.yes() {
                true => MetadataSource::Header(self.word()),
                false => MetadataSource::Cookie(self.word()),
            },
            present: self.opt(entry),
            missing: self.opt(entry),
            remove: self.yes(),
        });
        HeaderToMetadata { rules }
    }

    pub(super) fn compressor(&self) -> Compressor {
        let which = || Compressed {
            disabled: self.yes(),
            min_length: self.opt(|| self.u32()),
            content_types: self.some_of(|| self.word()),
        };
        Compressor {
            level: self.opt(|| 1 + self.below(9) as u32),
            responses: which(),
            requests: self.opt(which),
            disable_on_etag: self.yes(),
            weaken_etag: self.yes(),
            remove_accept_encoding: self.yes(),
            uncompressible_codes: self.some_of(|| 200 + self.below(400) as u16),
        }
    }

    fn patterns(&self) -> Vec<StringMatch> {
        self.some_of(|| self.string_match())
    }

    pub(super) fn metadata_match(&self) -> MetadataMatch {
        MetadataMatch {
            filter: self.word(),
            path: self.some_of(|| self.word()),
            value: self.value_match(3),
            invert: self.yes(),
        }
    }

    fn value_match(&self, depth: u32) -> ValueMatch {
        match self.below(if depth > 0 { 7 } else { 4 }) {
            4 => ValueMatch::Any(self.some_of(|| self.value_match(depth - 1))),
            0 => ValueMatch::Null,
            1 => ValueMatch::Bool(self.yes()),
            2 => ValueMatch::Text(self.string_match()),
            3 => ValueMatch::Present(self.yes()),
            _ => ValueMatch::OneOf(Box::new(self.value_match(depth - 1))),
        }
    }
}
