"""The reading side: search in what was delivered."""
