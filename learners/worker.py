"""A learner in a process of its own.

    python -m learners.worker --socket PATH --learner NAME --data DIR --options JSON

It serves one request at a time, and ends with its parent: its standard input is a pipe that closes when the
parent is gone. It may be killed at any moment, since learners write whole files or none. The kernel's
parent-death signal is of no use here: it fires when the *thread* that started us ends.
"""

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from pydantic import BaseModel, ValidationError

from learners import channel
from learners.channel import (
    Adopt,
    Compared,
    Describe,
    Done,
    Fault,
    Initial,
    Merge,
    Merged,
    Propose,
    Request,
    Score,
    Spec,
    Trained,
)
from learners.learner import Adopter, BadWeights, Learner, LearnerError, Merger, Merging
from learners.registry import find_learner
from learners.wanted import GivenUp, wanted_while

NICENESS = 5
"""The network loops of the daemon come first."""
MAX_WAITING = 8
"""Requests that may wait for the one in progress; the daemon sends one at a time."""

_log = logging.getLogger(__name__)


def main() -> None:
    """Serve until told to stop, or until the parent is gone."""
    # Ctrl-C goes to the whole process group, but what becomes of a round is for the daemon to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    os.nice(NICENESS)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    say = _claim_stdout()
    arguments = _arguments()
    try:
        learner = find_learner(arguments.learner)(_options(arguments.options), arguments.data)
    except LearnerError as fault:
        say(Fault(blames="learner", message=str(fault)))
        sys.exit(2)
    with ThreadPoolExecutor(max_workers=1) as worker:
        server = _server(learner, worker)
        server.add_insecure_port(f"unix:{arguments.socket}")  # in a folder only this user may enter
        server.start()
        gc.freeze()  # what was loaded by now stays, and need not be looked through again
        say(channel.Ready())
        server.wait_for_termination()


def answer(learner: Learner, request: Request) -> BaseModel:
    """What the learner has to say to a request."""
    try:
        return _ask(learner, request)
    except BadWeights as fault:
        return Fault(blames="bad-weights", message=str(fault))
    except LearnerError as fault:
        return Fault(blames="learner", message=str(fault))


def _ask(learner: Learner, request: Request) -> BaseModel:
    match request:
        case Describe():
            return Spec.of(learner.describe(), isinstance(learner, Adopter), isinstance(learner, Merger))
        case Initial():
            learner.initial(request.out)
        case Propose():
            return Trained.of(learner.propose(request.head, channel.round_of(request), request.out))
        case Merge():
            return Merged.of(_merge(learner, request))
        case Score():
            return Compared.of(learner.score(request.head, request.candidate, channel.round_of(request)))
        case Adopt() if isinstance(learner, Adopter):
            learner.adopt(request.head, channel.round_of(request))
    return Done()


def _merge(learner: Learner, request: Merge) -> Merging:
    if not isinstance(learner, Merger):
        raise LearnerError("this learner cannot merge updates; install a version that can")
    number = channel.round_of(request)
    return learner.merge(request.head, request.own, request.updates, number, request.out)


def _server(learner: Learner, worker: ThreadPoolExecutor) -> grpc.Server:
    methods = {kind.__name__: _method(learner, kind) for kind in channel.METHODS}
    return grpc.server(
        worker,
        handlers=[grpc.method_handlers_generic_handler(channel.SERVICE, methods)],
        maximum_concurrent_rpcs=MAX_WAITING,
        options=[("grpc.max_receive_message_length", channel.MAX_MESSAGE)],
    )


def _method(learner: Learner, kind: type[Request]) -> "grpc.RpcMethodHandler[bytes, bytes]":
    def serve(body: bytes, context: grpc.ServicerContext) -> bytes:
        if not context.is_active():
            return b""  # whoever asked has given up while we were busy
        try:
            with wanted_while(context.is_active):
                return channel.encode(answer(learner, kind.model_validate_json(body)))
        except GivenUp:
            return b""
        except ValidationError as fault:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"not a {kind.__name__}: {fault.errors()[0]['msg']}"
            )
        except Exception as bug:  # noqa: BLE001  a bug in one request must not take the learner's state with it
            _log.exception("%s failed", kind.__name__)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(bug).__name__}: {bug}"[:500])

    return grpc.unary_unary_rpc_method_handler(serve)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m learners.worker", description="Serve one learner.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen, in a private folder")
    parser.add_argument("--learner", required=True, help="a registered name, or package.module:Class")
    parser.add_argument("--data", type=Path, required=True, help="the learner's private folder")
    parser.add_argument("--options", default="{}", help="the learner's options, a JSON object")
    return parser.parse_args()


def _options(text: str) -> dict[str, object]:
    try:
        options = json.loads(text)
    except ValueError as fault:
        raise LearnerError(f"the learner's options are not JSON: {fault}") from fault
    if not isinstance(options, dict):
        raise LearnerError("the learner's options are not a JSON object")
    return options


def _claim_stdout() -> Callable[[BaseModel], None]:
    """Keep standard output for one line of ours; what libraries print goes to standard error instead."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def say(message: BaseModel) -> None:
        os.write(own, channel.encode(message) + b"\n")
        os.close(own)

    return say


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
