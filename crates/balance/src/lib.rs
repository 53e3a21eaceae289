//! Which endpoint gets the next request, and whether it may be sent at all: load-balancing
//! algorithms, outlier detection, circuit breakers and retry budgets. The meanings, the orders and
//! the hash tables are Envoy's.
//!
//! Pure: time and random numbers come from [`base::Env`]. A [`Picker`] belongs to one worker and one
//! cluster and takes no lock; [`Breakers`] share their counts between the workers of a cluster.

mod breaker;
mod edf;
mod hash;
mod hosts;
mod maglev;
mod outlier;
mod picker;
mod priority;
mod ring;
mod set;

pub use breaker::{Breakers, Limit, Permit, Usage};
pub use hash::{xxh64, xxh64_seeded};
pub use hosts::EndpointId;
pub use outlier::{Change, LocalFailure, Outcome};
pub use picker::{Picker, Want};
