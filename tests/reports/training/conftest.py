"""Trainings of Tables 6 and 7, and the tables that they give."""

import pytest

from tests.reports.training.trained_tables import KILLED, named, table7


@pytest.fixture(scope="module")
def records(make):
    """Table 6 with a row that was not run and a seed that failed, and a part of Table 7."""
    found = [
        record
        for record in make.table6()
        if record.axes["network"] != "paper/common-fusion+nb"
        and (record.axes["network"], record.axes.get("seed")) != ("paper/fnb", 2)
    ]
    failed = make.training("table6", {"network": "paper/fnb"}, 2, failure=KILLED)
    return [*found, failed, *table7(make)]


@pytest.fixture(scope="module")
def made(records):
    return named(records)
