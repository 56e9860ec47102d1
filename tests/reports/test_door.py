"""The door of reports: what commands use, imported when it is used."""

import subprocess
import sys

import pytest

import reports
from reports import report


def test_the_door_loads_nothing_heavy():
    code = "import sys, reports; print({'pandas', 'pydantic', 'rich', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", reports._HOMES)
def test_everything_on_the_door_is_there(module):
    for name in reports._HOMES[module]:
        assert callable(getattr(reports, name))


def test_what_is_not_on_the_door_is_an_error():
    with pytest.raises(AttributeError, match="'reports' has no attribute 'nothing'"):
        _ = reports.nothing


def test_each_experiment_stands_in_one_chapter():
    names = [name for chapter in report.chapters() for name in chapter.tables]
    assert {"efficiency", "table1", "zoo_ann", "counters", "crossover", "ceilings"} <= set(names)
    assert len(names) == len(set(names))
