"""Between members: the transport port, and its two implementations, libp2p (wire) and memory."""
