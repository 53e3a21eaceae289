//! accept -> detect -> identify -> admit -> route -> filter -> pick -> forward -> record.
