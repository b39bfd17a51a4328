"""The command `sleepvit` as a whole."""

import subprocess
import sys


def test_help_does_not_wait_for_pytorch():
    code = """
import sys
from train_scripts import cli
try:
    cli.main(["--help"])
except SystemExit as end:
    print("torch" in sys.modules, end.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "explain" in done.stdout
    assert done.stdout.splitlines()[-1] == "False 0"
