"""The topic everybody agrees by: writing to it, reading it back, and auditing it."""
