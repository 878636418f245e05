"""One colearn learner on the digits task, behind colearn's own gRPC service; run by bench/colearn_round.py.

Runs in colearn's virtual environment, where none of our packages is. The task is that of learners/digits: the
same division of the same images, the same network, Adam, rate and batch, one epoch a proposal.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import torch
from colearn.ml_interface import MachineLearningInterface, ProposedWeights, Weights
from colearn_grpc.grpc_learner_server import GRPCLearnerServer
from colearn_grpc.mli_factory_interface import MliFactory
from colearn_grpc.proto.generated.interface_pb2_grpc import add_GRPCLearnerServicer_to_server
from colearn_pytorch.pytorch_learner import PytorchLearner
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32
WORKERS = 5  # as colearn's own server has


def parts_of(learner: int, of: int, seed: int) -> list[TensorDataset]:
    """The training, validation and test images of one share."""
    images, labels = load_digits(return_X_y=True)
    mine = np.array_split(np.random.RandomState(seed).permutation(len(images)), of)[learner]
    cuts = np.split(mine, [int(0.6 * len(mine)), int(0.8 * len(mine))])
    return [
        TensorDataset(torch.as_tensor((images[rows] / 16).astype(np.float32)), torch.as_tensor(labels[rows]))
        for rows in cuts
    ]


class TimedLearner(PytorchLearner):  # type: ignore[misc]
    """colearn's learner, and a note of when each call began and ended."""

    def __init__(self, times: Path, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._times = times.open("w", buffering=1)

    def mli_propose_weights(self) -> Weights:
        began = time.time_ns()
        try:
            return super().mli_propose_weights()
        finally:
            self._note("train", began)

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        began = time.time_ns()
        try:
            return super().mli_test_weights(weights)
        finally:
            self._note("score", began)

    def _note(self, what: str, began: int) -> None:
        self._times.write(json.dumps([what, began, time.time_ns()]) + "\n")


class Factory(MliFactory):  # type: ignore[misc]
    """Makes the one learner that this process serves."""

    def __init__(self, learner: MachineLearningInterface) -> None:
        self._learner = learner

    def get_models(self) -> dict[str, dict[str, Any]]:
        return {"digits": {}}

    def get_dataloaders(self) -> dict[str, dict[str, Any]]:
        return {"digits": {}}

    def get_compatibilities(self) -> dict[str, set[str]]:
        return {"digits": {"digits"}}

    def get_mli(self, *_: Any, **__: Any) -> MachineLearningInterface:
        return self._learner


def learner_of(learner: int, of: int, seed: int, times: Path) -> TimedLearner:
    """A learner that votes by its loss: voting by accuracy, colearn stalls."""
    training, validation, test = parts_of(learner, of, seed)
    torch.manual_seed(1000 + seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    loaders = [DataLoader(training, batch_size=BATCH, shuffle=True)]
    loaders += [DataLoader(part, batch_size=BATCH) for part in (validation, test)]
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    return TimedLearner(times, model, adam, *loaders, criterion=torch.nn.CrossEntropyLoss())


def main() -> None:
    """Serve until killed; the port is the one line on standard output."""
    parser = argparse.ArgumentParser()
    for name in ("learner", "of", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--times", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    learner = learner_of(asked.learner, asked.of, asked.seed, asked.times)
    server = grpc.server(ThreadPoolExecutor(WORKERS))
    add_GRPCLearnerServicer_to_server(GRPCLearnerServer(Factory(learner)), server)
    port = server.add_insecure_port("127.0.0.1:0")  # colearn's own server would listen on all addresses
    server.start()
    print(port, flush=True)  # noqa: T201
    server.wait_for_termination()


if __name__ == "__main__":
    main()
