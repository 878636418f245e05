from collections.abc import Iterator

import pytest

from tests.ledger.localnet_process import Localnet, running_localnet


@pytest.fixture(scope="session")
def localnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localnet]:
    """A Hedera network of our own, one for all tests that need a real one."""
    with running_localnet(tmp_path_factory.mktemp("localnet")) as running:
        yield running
