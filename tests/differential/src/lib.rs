//! Real Envoy as the judge: the same bootstrap is given to Envoy and to `lateen-proxy`, the same
//! requests are sent through both, and what clients and upstreams see is compared.
//!
//! `cases` makes configurations with their requests from a seed, `bootstrap` one file of them all,
//! `upstream` answers with what it got, `client` sends, `compare` removes what may differ (times,
//! random identifiers) and names every other difference.

mod authorizer;
pub mod bootstrap;
pub mod cases;
pub mod client;
pub mod compare;
pub mod dice;
pub mod generate;
pub mod http;
pub mod proxy;
pub mod run;
pub mod second;
pub mod statistics;
pub mod upstream;
pub mod way;
