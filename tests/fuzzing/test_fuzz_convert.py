"""Some mutants of every run of the tests; `.ci/run` has more, and `python -m fuzzing.fuzz_convert` has no end."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import lua
import pytest
from fuzzing import mutations

import torchmigrate as tm


@pytest.mark.parametrize("mutation", mutations.MUTATIONS)
def test_each_mutation_changes_the_file(mutation: mutations.Mutation, tmp_path: Path) -> None:
    mutations.CLASSES = ("nn.Tanh",)
    before, after = tmp_path / "before.t7", tmp_path / "after.t7"
    changed = 0
    for seed in range(12):
        layers = [lua.linear(3, 2), lua.module("nn.View", size=tm.Storage("torch.LongStorage", lua.np.array([2, 3])))]
        value = tm.LuaTable([("model", lua.sequential(*layers, lua.module("nn.ReLU", inplace=False, threshold=0)))])
        tm.dump(value, before)
        mutation(random.Random(seed), mutations.Parts(value))
        try:
            tm.dump(value, after)
        except tm.T7Error:
            continue
        changed += before.read_bytes() != after.read_bytes()
    assert changed


@pytest.mark.slow
# Windows has no fork, and a process for each mutant would import PyTorch each time
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each mutant is converted in a fork")
def test_every_mutant_gets_an_answer() -> None:
    command = [sys.executable, "-m", "fuzzing.fuzz_convert", "--seconds", "10", "--jobs", "1", "--first", "500000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) mutants, (\d+) past build", done.stdout)
    assert found is not None
    mutants, built = map(int, found.groups())
    assert mutants > 5
    assert built >= 0.3 * mutants
