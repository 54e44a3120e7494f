"""Every option of every command: its range, and that it has an effect or is refused by name."""

import inspect
import math
import re
from dataclasses import fields
from types import SimpleNamespace

import pytest

from snnjax.app import cli, pipeline, program_export
from snnjax.app.commands import conversion, exchange, simulation, training
from snnjax.app.configurations import (
    ConvertConfig,
    FineTuneConfig,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
)
from snnjax.app.configurations.conversion import MEASURED_SCALES
from snnjax.app.configurations.effects import RULES
from snnjax.conversion.threshold_balancing import BALANCING_RULES
from snnjax.io import preparation
from snnjax.runtime.processes import DeviceConfig
from snnjax.runtime.ranges import ranges_of

CONFIGS = (TrainConfig, FineTuneConfig, ConvertConfig, SimulateConfig, ReadoutConfig, DeviceConfig)


def commands(app=None, before=()):
    """Every command, by its words, with its arguments as the parser has them."""
    app = app or cli._make_app()
    for name in (name for name in app if not name.startswith("-")):
        inner = app[name]
        if any(not word.startswith("-") for word in inner):
            yield from commands(inner, (*before, name))
        else:
            found = inner.assemble_argument_collection()
            yield (
                (*before, name),
                {a.name: a for a in found if not a.children and a.parameter.parse is not False},
            )


COMMANDS = dict(commands())


def is_number(argument):
    return bool({int, float} & {argument.hint, *getattr(argument.hint, "__args__", ())})


def test_f_every_number_states_its_range_in_the_help():
    for words, arguments in COMMANDS.items():
        for name, argument in arguments.items():
            if is_number(argument):
                shown = argument.parameter.metavar or ""
                assert re.fullmatch(r"\d+\.\.\d+|[\[(].+, .+[\])]", shown), (words, name)


@pytest.mark.parametrize("config", CONFIGS)
def test_f_a_number_out_of_its_range_is_refused_by_name(config):
    ranges = ranges_of(config)
    numbers = [f.name for f in fields(config) if "int" in str(f.type) or "float" in str(f.type)]
    assert set(numbers) <= set(ranges)
    for name, allowed in ranges.items():
        bad = [10**26, -(10**26), math.nan, math.inf, allowed.lowest - 1, allowed.highest + 1]
        for value in [*bad, True, *([1.5] if allowed.whole else [1e39, 1e-330 - 1e9])]:
            with pytest.raises(ValueError, match=rf"{name} is .*; want"):
                config(**{name: value})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --seed -1", "seed is -1; want at least 0 and at most 4,294,967,295"),
        ("train --seed 9223372036854775808", "seed is 9223372036854775808; want at least 0"),
        ("train --levels 99999999999", "levels is 99999999999; want at least 0"),
        ("train --epochs 99999999999999999999999999", "; want at least 1 and at most 1,000,000"),
        ("train --batch-size 1000000000000", "batch_size is 1000000000000; want at least 1"),
        ("run --gain 1e-45", "gain is 1e-45; want it in [1e-06, 1e+06]"),
        ("run --threshold 1e39", "threshold is 1e+39; want it in [1e-06, 1e+06]"),
        ("run --pre-steps 2.5", "Invalid value for --pre-steps: 2.5 is no whole number. See"),
        ("simulate snn --seed -1", "seed is -1; want at least 0"),
        ("simulate snn --batch-size 0", "batch_size is 0; want at least 1"),
        ("learn snn --seed 4294967296", "seed is 4294967296; want at least 0"),
        ("energy snn --images 0", "images is 0; want at least 1"),
        ("energy snn --batch-size 99999999999", "batch_size is 99999999999; want at least 1"),
        ("report ann --images -5", "images is -5; want at least 1"),
        ("report ann --seed -1", "seed is -1; want at least 0"),
        ("run --activation rate_norm --levels 0 --rate-inference-weight inf",
         "rate_inference_weight is inf; want it in [0, 1e+06]"),
    ],
)  # fmt: skip
def test_f_a_number_too_large_is_one_line_and_no_work(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


STDP = ["--readout", "stdp"]
LEARNING = {
    "--readout-images": (["--readout-rule", "nothing"], []),
    "--readout-epochs": (["--readout-rule", "nothing"], []),
    "--readout-labels": ([], ["--readout-start", "random"]),
    **{f"--{name}": (["--readout-rule", "teacher"], []) for name in
       ("a-plus", "a-minus", "tau-plus", "tau-minus")},
}  # fmt: skip
CONVERSION = {
    "--for-steps": ([], ["--shift"]),
    "--calibration-images": (["--scales", "unit"], ["--scales", "percentile_99"]),
}
TRAINING = {
    "--alpha": (["--activation", "th_relu"], ["--activation", "sth_leaky_relu"]),
    "--theta": (["--activation", "relu", "--levels", "0"], ["--activation", "th_relu"]),
    "--learn-theta": (["--activation", "rate_norm"], []),
    "--step": ([], ["--activation", "step_relu", "--levels", "0"]),
    "--rate-inference-epochs": ([], ["--activation", "rate_norm"]),
    "--rate-inference-weight": (
        ["--activation", "rate_norm", "--rate-inference-epochs", "0"],
        ["--activation", "rate_norm"],
    ),
}
SHOWN = {"--shown-steps": (["--num-steps", "2"], [])}
NEVER = (None, None)
ENCODED = (["--encoding", "constant"], ["--encoding", "rate"])
EXITS = {"--exit-margin": NEVER, "--exit-tolerance": NEVER}
CONDITIONAL = {
    ("train",): TRAINING,
    ("convert",): CONVERSION,
    ("report",): {
        "--for-steps": CONVERSION["--for-steps"], **EXITS, "--gain": ENCODED, "--readout": NEVER,
        "--pre-steps": NEVER, "--shown-steps": NEVER,
    },
    ("simulate",): SHOWN,
    ("energy",): SHOWN,
    ("export",): {**SHOWN, **EXITS},
    ("learn",): {
        **LEARNING, **EXITS, "--readout": NEVER, "--num-steps": NEVER, "--shown-steps": NEVER,
    },
    ("run",): {
        **TRAINING, **CONVERSION, **SHOWN, "--gain": ENCODED,
        "--output-leak": (["--readout", "count"], []),
        **{name: ([*STDP, *no], [*STDP, *yes]) for name, (no, yes) in LEARNING.items()},
        **{f"--readout-{name}": (["--readout", "leaky"], STDP) for name in
           ("rule", "start")},
        "--readout-neurons": ((), STDP),
        **{f"--readout-{name}": (["--readout", "count"], ["--readout", "leaky"]) for name in
           ("leak", "threshold", "steps")},
    },
}  # fmt: skip
"""By command and option: words with which it has no effect, and words with which it has one."""

VALUES = {
    "--levels": "3", "--mix-levels-to": "8", "--smooth-epochs": "2", "--exit-tolerance": "0.01",
    "--activation": "th_relu", "--method": "opi", "--scales": "percentile", "--neuron": "offset",
    "--readout-neurons": "20", "--readout-start": "random", "--readout-rule": "literal",
    "--shown-steps": "5", "--pre-steps": "1", "--correct": "shift", "--platforms": "tpu",
    "--coupled": None, "--readout": "stdp", "--num-steps": "9", "--dataset": "mnist",
}  # fmt: skip
"""Values other than the default, where the parser does not give one that fits."""

NEEDS = {
    "--readout-neurons": ["--readout-start", "random"], "--pre-steps": ["--neuron", "offset"],
    "--correct": ["--neuron", "double-threshold", "--for-steps", "4"],
    "--shift": ["--for-steps", "4"], "--start": ["--output", "elsewhere"],
    "--processes": None, "--process-id": None, "--coordinator": None, "--devices": None,
}  # fmt: skip
"""Options that need others; those of processes are tested in tests/runtime/test_processes.py."""


def value_words(name, argument):
    """An option with a value that is not its default."""
    default, choices = argument.field_info.default, argument.get_choices()
    if name in VALUES and VALUES[name] in (choices or VALUES.values()):
        value = VALUES[name]
    elif argument.hint is bool:
        value = None
    elif choices:
        value = next(c for c in reversed(choices) if c != default)
    elif is_number(argument):
        value = {0.1: "0.2"}.get(
            default,
            "0.5"
            if "." not in str(argument.parameter.metavar) or "1e" in str(argument.parameter.metavar)
            else "3",
        )
        other = "4" if isinstance(default, int) else "0.25"
        value = other if str(default) == value else value
    else:
        value = "elsewhere"
    return [name] if value is None else [name, value]


def test_a7_every_rule_that_takes_images_gets_them():
    taken = {
        name for name, rule in BALANCING_RULES.items()
        if inspect.signature(rule).parameters["images"].default is inspect.Parameter.empty
    }  # fmt: skip
    assert set(MEASURED_SCALES) == taken


class Reached(Exception):
    """A stage was called, with these arguments."""


@pytest.fixture
def stage(monkeypatch, tmp_path):
    """Stages that only say with what they were called."""

    def called(*arguments, **named):
        raise Reached(repr((arguments, named)))

    for module, name in (
        (pipeline, "train"),
        (pipeline, "check_before_training"),
        (conversion, "convert_to_file"),
        (conversion, "quantise_file"),
        (exchange, "export_integers"),
        (simulation, "measure_energy"),
        (training, "fine_tune"),
        (program_export, "export_file"),
        (preparation, "prepare"),
    ):
        monkeypatch.setattr(module, name, called)
    monkeypatch.setattr(conversion, "layer_report", SimpleNamespace(report=called))
    monkeypatch.setattr(simulation, "simulation", SimpleNamespace(simulate=called))
    monkeypatch.setattr(simulation, "readout_learning", SimpleNamespace(learn=called))
    monkeypatch.chdir(tmp_path)


def reach(words):
    with pytest.raises(Reached) as found:
        raise AssertionError(cli.main(words))
    return str(found.value)


OPTIONS = [
    pytest.param(words, name, id=" ".join((*words, name)))
    for words, arguments in COMMANDS.items()
    for name in arguments
    if name.startswith("--") and words[0] != "nir"
]


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(("words", "name"), OPTIONS)
def test_f_an_option_has_an_effect_or_is_refused(words, name, capsys):
    """The options come from the parser, so that a new one is tested too."""
    argument = COMMANDS[words][name]
    file = ["mnist"] if words[0] == "data" else ["file"] if words[0] not in ("train", "run") else []
    start, option = [*words, *file], value_words(name, argument)
    without, with_ = CONDITIONAL.get(words, {}).get(name, ((), []))
    if without != ():
        assert cli.main([*start, *option, *(without or [])]) == 2
        assert f"{' '.join(option)}" in (said := capsys.readouterr().err)
        assert "has no effect" in said and said.count("\n") == 1
    more = NEEDS.get(name, [])
    if with_ is None or more is None:
        return
    pairs = zip(more[::2], more[1::2], strict=True)
    more = [word for pair in pairs if pair[0] in COMMANDS[words] for word in pair]
    assert reach([*start, *option, *with_, *more]) != reach([*start, *with_])


def test_f_every_rule_is_in_the_table_above():
    named = {name for table in CONDITIONAL.values() for name in table}
    for rule in RULES:
        assert {"--" + option.replace("_", "-") for option in rule.options} <= named


@pytest.mark.usefixtures("stage")
def test_f_values_of_a_method_are_not_the_users():
    """A method sets options that a rule would refuse, such as the theta of QCFS."""
    for method in ("qcfs", "calibration", "wang2023", "model_norm"):
        assert "Config" in reach(["run", "--method", method, "--readout", "count"])
