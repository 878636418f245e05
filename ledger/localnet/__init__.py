"""An embedded Hedera network in one process: HAPI gRPC, mirror gRPC, mirror REST and a journal on disk."""
