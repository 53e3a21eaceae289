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

/// A set of response flags; shown as the log shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    pub fn set(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u32;
    }

    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
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
        NAMES.iter().enumerate().filter(move |(i, _)| self.0 & (1 << i) != 0).map(|(_, n)| *n)
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
    fn flags_are_shown_in_order_or_as_a_dash() {
        let mut flags = Flags::default();
        assert_eq!(flags.to_string(), "-");
        flags.set(Flag::UpstreamRetryLimitExceeded);
        flags.set(Flag::UpstreamConnectionFailure);
        assert_eq!(flags.to_string(), "UF,URX");
        assert!(flags.any_of(&["URX".into()]) && !flags.any_of(&["UH".into()]));
    }
}
