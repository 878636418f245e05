"""A localnet as a process of its own, on given ports, so that it is found again after it was killed.

Run with its directory and its ports: consensus, mirror gRPC, mirror REST. Says one line once it serves.
"""

import asyncio
import sys
from pathlib import Path

from ledger.localnet.serve import Ports, serve


def say() -> None:
    sys.stdout.write("serving\n")
    sys.stdout.flush()


if __name__ == "__main__":
    consensus, mirror_grpc, mirror_rest = map(int, sys.argv[2:])
    asyncio.run(serve(Path(sys.argv[1]), Ports((consensus,), mirror_grpc, (mirror_rest,)), ready=say))
