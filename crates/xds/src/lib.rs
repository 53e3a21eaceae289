//! ir <-> protobuf with its support table; discovery sessions, push plans and the assembler as state machines without I/O.
