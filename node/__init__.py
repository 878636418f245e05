"""The daemon: composes protocol, ledger and learners; nothing imports it."""
