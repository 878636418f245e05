"""The transport over libp2p, which nothing else imports: TCP, Noise and Yamux, bounded at every step."""
