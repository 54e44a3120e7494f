"""Seconds and memory of the compiled simulation: beside its ANN, and beside other simulators.

`python experiments/throughput/run.py` measures what is not yet in `results/throughput.json` and
adds it there one entry at a time, so that a run that was stopped goes on where it stopped; then it
writes the tables and the figure. `--peers .venv-peers/bin/python` measures other simulators by
turns with ours (`make peers` installs them). `--smoke --output DIR` does the whole path on a few
tiny cases. `--section products --network vgg16` measures a part.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import cases
import cyclopts
import jax
import peers as others
import plot
import sections
import trainings
from cases import Case, Effort
from tqdm.auto import tqdm

from snnjax.io import records
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
NAMES = (
    "rows",
    "peers",
    "memory",
    "thresholds",
    "cores",
    "training",
    "training_step",
    "profile",
    "products",
    "whole",
    "silent_inputs",
)
TINY = (Case("net2", 2, 4), Case("net1", 1, 2))


class Task(NamedTuple):
    """section: where its entry goes; key: what tells it from the others; run: measures it."""

    section: str
    key: dict[str, Any]
    run: Callable[[], dict[str, Any]]


def all_cases(num_steps: int) -> list[Case]:
    """Every network and batch."""
    return [
        Case(network, batch, num_steps) for network in cases.NETWORKS for batch in cases.BATCHES
    ]


def rows(chosen: list[Case], effort: Effort) -> Iterator[Task]:
    for case in chosen:
        for neuron in cases.NEURON_NAMES:
            for order in cases.orders(case):
                key = {**case._asdict(), "neuron": neuron, "order": order}
                yield Task("rows", key, partial(cases.measure, case, neuron, order, effort))


def beside_peers(chosen: list[Case], python: Path, effort: Effort) -> Iterator[Task]:
    for case in chosen:
        for name, kind in others.KINDS.items():
            if case.network in kind.networks:
                key = {**case._asdict(), "peer": name}
                yield Task("peers", key, partial(others.measure, case, name, python, effort))


def memory(probes: list[tuple[str, int, int, str]]) -> Iterator[Task]:
    for network, batch, steps, order in probes:
        case = Case(network, batch, steps)
        chunk = 1 if order == "step by step" else steps
        key = {**case._asdict(), "neuron": "exact-charge", "order": order}
        yield Task("memory", key, partial(sections.probe, case, "exact-charge", chunk_steps=chunk))


def at_once(case: Case, count: int, effort: Effort) -> Iterator[Task]:
    key = {**case._asdict(), "count": count}
    yield Task("thresholds", key, partial(sections.thresholds, case, count, effort))


def on_cores(chosen: list[Case], counts: list[int], repeats: int) -> Iterator[Task]:
    for case in chosen:
        key = {**case._asdict(), "neuron": "exact-charge"}
        yield Task("cores", key, partial(sections.cores, case, "exact-charge", counts, repeats))


def by_products(chosen: list[Case], effort: Effort) -> Iterator[Task]:
    for case in chosen:
        for name in cases.PRODUCTS:
            key = {**case._asdict(), "neuron": "exact-charge", "products": name}
            run = partial(sections.by_products, case, "exact-charge", name, effort)
            yield Task("products", key, run)


def split(case: Case, count: int, effort: Effort) -> Iterator[Task]:
    for name in cases.PRODUCTS:
        key = {**case._asdict(), "count": count, "products": name}
        yield Task("whole", key, partial(sections.whole, case, count, name, effort))


def skipping(
    chosen: list[Case], counts: list[int], output: Path, *, smoke: bool = False
) -> Iterator[Task]:
    for case in chosen:
        for neuron in cases.NEURON_NAMES:
            for count in counts:
                key = {**case._asdict(), "neuron": neuron, "used_cores": count}
                run = partial(
                    sections.silent_inputs, case, neuron, count, smoke=smoke, output=output
                )
                yield Task("silent_inputs", key, run)


def training(steps: int, batch: int, python: Path | None, effort: Effort) -> Iterator[Task]:
    key = {"network": "net2", "steps": steps, "batch": batch, "peer": "torch" if python else None}
    yield Task("training", key, partial(trainings.train, python, steps, batch, effort))


def through_time(
    chosen: list[Case], steps: int, python: Path | None, effort: Effort
) -> Iterator[Task]:
    for case in chosen if python else ():
        key = {**case._asdict(), "peer": "SpikingJelly, layer by layer", "steps": steps}
        run = partial(trainings.train_through_time, cast(Path, python), case, steps, effort)
        yield Task("training_step", key, run)


def parts(chosen: list[Case], size: int, effort: Effort) -> Iterator[Task]:
    able = cache(partial(sections.machine, size, effort))

    def profile(case: Case, neuron: str) -> dict[str, Any]:
        return sections.profile(case, neuron, effort, able())

    for case in chosen:
        for neuron in cases.NEURON_NAMES:
            yield Task(
                "profile", {**case._asdict(), "neuron": neuron}, partial(profile, case, neuron)
            )


def everything(python: Path | None, output: Path) -> list[Task]:
    """What the committed figures need; at T = 16 first, which is what is asked most."""
    effort = Effort()
    probes = [
        (network, batch, steps, order)
        for network, batch in (("net2", 128), ("vgg16", 16))
        for steps in (8, 128)
        for order in ("step by step", "layer by layer")
        if order == "step by step" or steps == 8
    ]
    deep = [Case("net2", 128, 16), Case("vgg16", 16, 16), Case("resnet20", 16, 16)]
    tasks: list[Task] = []
    if jax.default_backend() != "cpu":  # minutes on a CPU, which multiplies in float32
        tasks += by_products([case for case in all_cases(16) if case.network != "net1"], effort)
        tasks += split(Case("vgg16", 1000, 16), 10_000, effort)
    else:
        tasks += skipping([Case("net1", 1, 16), Case("net1", 16, 16)], [1, 2], output)
    tasks += [
        *memory(probes), *at_once(Case("net2", 16, 16), 16, effort), *on_cores(deep, [1, 2], 5),
        *training(50, 128, python, effort),
        *through_time([Case("net1", 128, 4), Case("net2", 128, 4)], 5, python, effort),
        *parts([*deep, Case("net2", 1, 16)], 2048, effort),
    ]  # fmt: skip
    for steps in sorted(cases.STEPS, key=lambda steps: steps != 16):
        if python:
            tasks += beside_peers(all_cases(steps), python, effort)
        tasks += rows(all_cases(steps), effort)
    return tasks


def tiny(python: Path | None, output: Path) -> list[Task]:
    """Every kind of entry, in seconds."""
    effort = Effort(repeats=2, seconds=0.0, limit=20.0)
    tasks = [
        *rows(list(TINY), effort), *memory([("net2", 2, 2, "step by step")]),
        *at_once(TINY[0], 3, effort), *on_cores([TINY[0]], [1], 1),
        *training(3, 8, python, effort),
        *through_time([Case("net2", 8, 4)], 3, python, effort),
        *parts([TINY[0]], 128, effort),
        *by_products(TINY[1:], effort), *split(TINY[0], 4, effort),
        *skipping(list(TINY[1:]), [1], output, smoke=True),
    ]  # fmt: skip
    beside = [TINY[0], Case("resnet20", 1, 2)]
    return tasks + list(beside_peers(beside, python, effort)) if python else tasks


def main(
    *,
    peers: Path | None = None,
    smoke: bool = False,
    section: str | None = None,
    network: str | None = None,
    output: Path = HERE,
) -> None:
    """Measure what is not there yet.

    Parameters
    ----------
    peers
        the Python of an environment with the other simulators, which `make peers` makes
    smoke
        a few tiny cases
    section
        only this list of the JSON
    network
        only this network
    output
        folder for the results
    """
    keep_freed_memory()
    cores.use_cores()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are to be real
    path = output / "results" / "throughput.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    record = {name: record.get(name, []) for name in NAMES}
    # An environment's Python is a link: resolved, it would be the one without its packages.
    python = Path(os.path.abspath(peers)) if peers else None
    if python:
        others.check(python)
    tasks = (tiny if smoke else everything)(python, output)
    missing = [
        task for task in tasks
        if section in (None, task.section) and network in (None, task.key["network"])
        and not any(task.key.items() <= entry.items() for entry in record[task.section])
    ]  # fmt: skip
    for task in tqdm(missing, "cases", mininterval=1):
        load = os.getloadavg()[0]
        entry = {**task.key, **task.run(), "cores": os.cpu_count(), "load_before": round(load, 2)}
        record[task.section].append({**entry, **records.provenance()})
        records.write_json(path, record)
    plot.main(output=output)


if __name__ == "__main__":
    cyclopts.run(main)
