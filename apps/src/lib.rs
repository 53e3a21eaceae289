//! Sample applications: Bookinfo, httpbin and the small programs that image names map to.
