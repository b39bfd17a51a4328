"""A process that has imported torch, transformers and datasets, which takes seconds, and forks a child per job."""

import json
import os
import runpy
import sys


def serve() -> None:
    """Import once, then fork a child for every job that stdin names and answer with its exit code."""
    import datasets  # noqa: F401
    import transformers  # noqa: F401

    import train_scripts.prepare_dataset  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            be_python(**job)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def be_python(argv: list[str], env: dict[str, str], cwd: str, printed: list[str]) -> None:
    """Do in this process what `python` would do with these arguments.

    Args:
        argv: "-c" and code, "-m" and a module, or a script, then its arguments.
        env: more environment variables.
        cwd: where to run.
        printed: files for stdout and stderr.
    """
    sys.stdin = open(os.devnull)  # noqa: SIM115
    for stream, path in zip((1, 2), printed):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
    if argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    elif argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    serve()
