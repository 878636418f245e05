"""The Roundabout protocol: pure types and functions, no I/O, no clock, no randomness (see SPEC.md)."""
