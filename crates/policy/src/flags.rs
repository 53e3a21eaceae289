//! Response flags: in two letters, what went wrong with a request.

use std::fmt;

macro_rules! flags {
    ($($name:ident $short:literal $long:literal,)*) => {
        /// Envoy's response flags, in Envoy's order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flag { $($name,)* }

        const NAMES: &[(&str, &str)] = &[$(($short, $long),)*];
    };
}

flags! {
    FailedLocalHealthCheck "LH" "FailedLocalHealthCheck",
    NoHealthyUpstream "UH" "NoHealthyUpstream",
    UpstreamRequestTimeout "UT" "UpstreamRequestTimeout",
    LocalReset "LR" "LocalReset",
    UpstreamRemoteReset "UR" "UpstreamRemoteReset",
    UpstreamConnectionFailure "UF" "UpstreamConnectionFailure",
    UpstreamConnectionTermination "UC" "UpstreamConnectionTermination",
    UpstreamOverflow "UO" "UpstreamOverflow",
    NoRouteFound "NR" "NoRouteFound",
    DelayInjected "DI" "DelayInjected",
    FaultInjected "FI" "FaultInjected",
    RateLimited "RL" "RateLimited",
    UnauthorizedExternalService "UAEX" "UnauthorizedExternalService",
    RateLimitServiceError "RLSE" "RateLimitServiceError",
    DownstreamConnectionTermination "DC" "DownstreamConnectionTermination",
    UpstreamRetryLimitExceeded "URX" "UpstreamRetryLimitExceeded",
    StreamIdleTimeout "SI" "StreamIdleTimeout",
    InvalidEnvoyHeaders "IH" "InvalidEnvoyRequestHeaders",
    DownstreamProtocolError "DPE" "DownstreamProtocolError",
    UpstreamMaxDurationReached "UMSDR" "UpstreamMaxStreamDurationReached",
    ResponseFromCacheFilter "RFCF" "ResponseFromCacheFilter",
    NoFilterConfig "NFCF" "NoFilterConfigFound",
    DurationTimeout "DT" "DurationTimeout",
    UpstreamProtocolError "UPE" "UpstreamProtocolError",
    NoClusterFound "NC" "NoClusterFound",
    OverloadManager "OM" "OverloadManagerTerminated",
    DnsResolutionFailed "DF" "DnsResolutionFailed",
    DropOverload "DO" "DropOverload",
}

/// The response flags of one request, in the order in which they came; shown as the log shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// Places in [`NAMES`], as many as `len`; the others are zero.
    places: [u8; MOST],
    len: u8,
}

/// Flags of one request that are remembered; more than a few never come together.
const MOST: usize = 7;

impl Flags {
    pub fn set(&mut self, flag: Flag) {
        if !self.has(flag)
            && let Some(place) = self.places.get_mut(usize::from(self.len))
        {
            *place = flag as u8;
            self.len += 1;
        }
    }

    pub fn has(self, flag: Flag) -> bool {
        self.places[..usize::from(self.len)].contains(&(flag as u8))
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether one of these short names is set; no names stand for any flag.
    pub fn any_of(self, names: &[std::sync::Arc<str>]) -> bool {
        if names.is_empty() {
            return !self.is_empty();
        }
        self.shorts().any(|short| names.iter().any(|n| &**n == short))
    }

    pub fn shorts(self) -> impl Iterator<Item = &'static str> {
        self.names().map(|(short, _)| short)
    }

    pub fn longs(self) -> impl Iterator<Item = &'static str> {
        self.names().map(|(_, long)| long)
    }

    fn names(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.places.into_iter().take(usize::from(self.len)).map(|place| NAMES[usize::from(place)])
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (i, short) in self.shorts().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(short)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_shown_in_the_order_in_which_they_came() {
        let mut flags = Flags::default();
        assert_eq!(flags.to_string(), "-");
        flags.set(Flag::UpstreamRetryLimitExceeded);
        flags.set(Flag::UpstreamConnectionFailure);
        flags.set(Flag::UpstreamRetryLimitExceeded);
        assert_eq!(flags.to_string(), "URX,UF");
        assert!(flags.has(Flag::UpstreamConnectionFailure) && !flags.has(Flag::LocalReset));
        assert!(flags.any_of(&["URX".into()]) && !flags.any_of(&["UH".into()]));
    }
}
