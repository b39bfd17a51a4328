"""A process that imports what takes seconds and then forks a child for every job it reads from stdin.

A job is a line of JSON with the arguments of `be_python`; the answer on stdout is the child's exit code.
"""

import gc
import importlib
import json
import multiprocessing
import os
import runpy
import sys


LONGEST_RUN_S = 300


def serve(modules: list[str]) -> None:
    """Import the modules, then do the jobs one after the other."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # or the first collection in every child copies all pages
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        child = fork.Process(target=be_python, kwargs=json.loads(line))
        child.start()
        child.join(LONGEST_RUN_S)
        if child.is_alive():
            child.kill()
            child.join()
        print(child.exitcode, flush=True)


def be_python(argv: list[str], env: dict[str, str], cwd: str, printed: list[str]) -> None:
    """Do in this process what `python` would do with these arguments.

    Args:
        argv: "-c" and code, "-m" and a module, or a script, then its arguments.
        env: more environment variables.
        cwd: where to run.
        printed: files for stdout and stderr.
    """
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
        sys.modules.pop(argv[1], None)  # it may have been imported early
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1:])
