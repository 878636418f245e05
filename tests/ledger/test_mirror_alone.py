import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_reading_and_checking_need_neither_sdk_nor_torch():
    code = (
        "import sys, ledger.mirror, ledger.chunks, ledger.pages;"
        "print(sorted({'hiero_sdk_python', 'grpc', 'torch', 'libp2p', 'trio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
