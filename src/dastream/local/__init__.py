"""The system on one machine: an embedded AWS peer, a delivery stream, a PostgreSQL server."""
