"""An acquisition worker loads nothing that only others need: it has 250 MB to hold messages in."""

import os
import subprocess
import sys

from tests.acquisition import ROOT

LOADED = """
import sys
import django
django.setup()
from config.celery import app
app.loader.import_default_modules()
import workers.acquisition.service, workers.acquisition.step
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_no_compiler_and_no_other_workers_tasks() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OHMWATCH_ACQUISITION_SLOT": "0",
        "PYTHONPATH": f"{ROOT}/src:{ROOT}",
    }
    said = subprocess.run(
        [sys.executable, "-c", LOADED], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    loaded = set(said.stdout.splitlines()[-1].split())
    assert "paho" in loaded
    assert not loaded & {"numba", "llvmlite", "scipy", "onnxruntime", "matplotlib"}
