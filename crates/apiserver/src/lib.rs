//! The embedded cluster API over SQLite.
