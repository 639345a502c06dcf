"""Every test has the same name wherever and whenever it is collected.

Two workers that collect different names end the whole run in an error.
"""

import os
import subprocess
import sys
import time

import pytest
from paths import REPOSITORY
from waiting import PATIENCE_S


@pytest.mark.slow
def test_a_second_collection_finds_the_same_tests_in_the_same_order():
    first = collect({"PYTHONHASHSEED": "1", "TZ": "UTC"})
    time.sleep(1.1)  # whatever is named after the clock's second differs now
    second = collect({"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu"})
    names = [one.communicate(timeout=PATIENCE_S)[0].splitlines()[:-1] for one in (first, second)]
    assert len(names[0]) > 1000 and names[0] == names[1]


def collect(environment):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, "-o", "addopts="],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
