"""Python in processes of its own whose Hugging Face clients talk to the Hub of the tests.

huggingface_hub reads HF_ENDPOINT when it is imported, so that no client can live in the process of the tests.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from .hub_server import Hub


PROJECT = Path(__file__).resolve().parents[1]
OUR_PACKAGES = ("modeling_sleepvit", "dataset_builders", "train_scripts", "model_cards")
IMPORTED_EARLY = {True: ("train_scripts.prepare_dataset",), False: ("datasets",)}
"""What warm processes have imported, with our packages and without."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self):
        """The last line of stdout, read as JSON."""
        return json.loads(self.stdout.strip().splitlines()[-1])


class HubForTests:
    """A Hub that runs while the block lasts, and a folder for its clients.

    Args:
        folder: empty; holds caches, what was printed, and `work`, where the clients run.
    """

    def __init__(self, folder: Path):
        self.server = Hub()
        self.url, self.repos, self.refuse = self.server.url, self.server.repos, self.server.refuse
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        # Installed packages cannot be imported either: Python turns away what is None among its modules.
        self.without_package = folder / "without_package"
        self.without_package.mkdir()
        (self.without_package / "sitecustomize.py").write_text(
            f"import sys\n\nsys.modules.update(dict.fromkeys({OUR_PACKAGES}))\n"
        )
        self._warm: dict[bool, subprocess.Popen] = {}
        self._n_runs = 0

    def __enter__(self) -> "HubForTests":
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *args) -> None:
        for process in self._warm.values():
            process.kill()  # it waits for jobs; an orderly end of torch takes a second
            process.communicate()
        self.server.shutdown()
        self.server.server_close()

    def environment(self, package: bool = True) -> dict[str, str]:
        """Environment variables of a client; nothing of the user's own Hugging Face settings gets in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.server.token,
            "HF_HOME": str(self.folder / "hf_home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # or datasets counts loads at another address
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(PROJECT if package else self.without_package),
        }

    def run(
        self,
        program: str | Sequence[str | Path],
        *,
        expect: int | None = 0,
        env: dict[str, str] | None = None,
        package: bool = True,
        warm: bool = True,
    ) -> Outcome:
        """Run Python in a fresh process.

        Args:
            program: code, or arguments as `python` takes them: ("-m", "train_scripts.cli", "prepare", ...).
            expect: the exit code that is asserted; None takes any.
            env: more environment variables; too late in a warm process for what clients read when they are imported.
            package: whether our own packages can be imported.
            warm: whether the process is the child of one that has imported the heavy libraries already.

        Returns:
            exit code, stdout and stderr.
        """
        argv = ["-c", program] if isinstance(program, str) else [str(part) for part in program]
        run = self._run_warm if warm else self._run_cold
        outcome = run(argv, env or {}, package)
        if expect is not None and outcome.returncode != expect:
            raise AssertionError(
                f"python {shlex.join(argv)[:300]}\nended with {outcome.returncode}, expected {expect}\n"
                f"{outcome.stdout[-2000:]}\n{outcome.stderr[-6000:]}"
            )
        return outcome

    def _run_cold(self, argv: list[str], env: dict[str, str], package: bool) -> Outcome:
        done = subprocess.run(
            [sys.executable, *argv],
            env=self.environment(package) | env,
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _run_warm(self, argv: list[str], env: dict[str, str], package: bool) -> Outcome:
        if package not in self._warm:
            self._warm[package] = subprocess.Popen(
                [sys.executable, PROJECT / "tests" / "hub_warm_process.py", *IMPORTED_EARLY[package]],
                env=self.environment(package),
                cwd=self.work,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._warm[package]
        self._n_runs += 1
        printed = [self.folder / f"{self._n_runs}.{stream}" for stream in ("stdout", "stderr")]
        job = {"argv": argv, "env": env, "cwd": str(self.work), "printed": [str(path) for path in printed]}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"the warm process ended with {process.wait()}; its stderr tells why"
        return Outcome(int(answer), *(path.read_text() for path in printed))
