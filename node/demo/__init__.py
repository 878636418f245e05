"""A whole run on one machine: an embedded Hedera network, N daemons, an auditor, and pictures of what happened."""
