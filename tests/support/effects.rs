//! Append-only files and keyspace events as lists that can be compared.
