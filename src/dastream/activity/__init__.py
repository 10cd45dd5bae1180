"""The writing side: a PostgreSQL server's log becomes an activity stream."""
