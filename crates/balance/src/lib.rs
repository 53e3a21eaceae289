//! Load-balancing algorithms, outlier detection, circuit breakers.
