//! A pod in, the injected pod out: typed patch, decision table.
