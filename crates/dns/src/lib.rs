//! Answers names from a table; forwards the rest.
