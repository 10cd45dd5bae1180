"""Test vectors for readers of Database Activity Streams, and what writes them."""
