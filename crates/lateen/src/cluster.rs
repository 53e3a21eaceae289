//! The cluster process: the API server, the controllers and the pod runner in one.

pub mod controller_loop;
