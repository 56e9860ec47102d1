"""Sessions: `uvx nox -s ablations`, `uvx nox -s tests`; each makes its environment from uv.lock."""

import json
import os
import shutil
import time
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]


def sync(session: nox.Session, *groups: str, alone: bool = False) -> None:
    """Install what the lock file says, with uv where there is one; else what pip resolves; `alone`: not the project."""
    if shutil.which("uv"):
        chosen = [f"--{'only-' if alone else ''}group={group}" for group in groups]
        session.run_install(
            "uv", "sync", "--frozen", "--no-default-groups", *chosen, f"--python={session.virtualenv.location}",
            env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}, external=True, silent=True,
        )  # fmt: skip
        return
    session.install("pip>=25.1")
    session.install(*(() if alone else ("-e", ".")), *(f"--group={group}" for group in groups))


@nox.session
def ablations(session: nox.Session) -> None:
    """Run the paper's experiments (--all: ours too) and render them into results/ablations/report."""
    sync(session, "bench", "reports", "counters", "export", "weights")
    session.run("python", "-m", "bench.ablations", *session.posargs)


@nox.session
def efficiency(session: nox.Session) -> None:
    """Measure blocks: nox -s efficiency -- --size 256x128."""
    sync(session, "bench", "reports", "gallery")
    session.run("python", "-m", "bench.efficiency", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """Ask whether a change made it worse: nox -s gate -- --base main."""
    sync(session, "bench", "reports")
    session.run("python", "-m", "bench.regress", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Measure what a new device is asked, in order of worth: nox -s reference -- --out DIR."""
    sync(session, "bench", "reports", "test")
    session.run("python", "-m", "bench.reference", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, as many at once as there are cores; with arguments, which go to pytest, one at a time."""
    sync(
        session,
        "bench",
        "reports",
        "test",
        "counters",
        "export",
        "gallery",
        "accessibility",
        "weights",
    )
    parallel = ["-q", "-n", "logical", "--maxprocesses", "8"]
    session.run(
        "python", "-m", "pytest", *(session.posargs or parallel),
        env={} if session.posargs else {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


# Counting, prediction, names, records and reports; the system's own says what it can't do.
PORTABLE = (
    "tests/ann/test_spec.py", "tests/ann/test_blocks.py", "tests/ann/test_build.py", "tests/bench/analysis",
    "tests/bench/predict/test_ledger.py", "tests/bench/records/test_image_confusions.py",
    "tests/bench/shell/test_output.py", "tests/reports/gate", "tests/reports/model", "tests/test_kept_ids.py",
    "tests/test_kept_lines.py", "tests/test_names.py",
    *(f"tests/test_systems.py::test_a_worker_{how}" for how in (
        "is_started_without_a_fork", "without_a_fork_runs_where_it_is_told_to",
    )),
)  # fmt: skip


@nox.session
def portable(session: nox.Session) -> None:
    """Run the tests of what works on every system."""
    sync(session, "bench", "reports", "test")
    session.run("python", "-m", "pytest", "-q", *(session.posargs or PORTABLE))


# What several processes do together takes slower tests.
SEVERAL = "processes or torchrun or dies or ray or cluster or slower or compiler"


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and show which branches none of them takes; below 95 % it fails."""
    sync(
        session, "bench", "reports", "test", "counters", "export", "accessibility", "weights", "cluster",
        "coverage",
    )  # fmt: skip
    run = ("python", "-m", "pytest", "-q", "--cov", "--cov-append")
    one_thread = {"OMP_NUM_THREADS": "1"}
    session.run("coverage", "erase")
    session.run(
        *run, "-n", "logical", "--maxprocesses", "8", "--cov-report=", *session.posargs,
        env=one_thread,
    )  # fmt: skip
    session.run(
        *run, "-m", "slow", "-k", SEVERAL, "--cov-report=json:results/coverage.json",
        "--cov-report=term:skip-covered", "--cov-fail-under=95", "tests/bench",
        env=one_thread,
    )  # fmt: skip
    # What pytest-cov holds to 95 % is lines and branches together.
    totals = json.loads(Path("results/coverage.json").read_text(encoding="utf-8"))["totals"]
    share = f"{totals['percent_branches_covered']:.1f} % of {totals['num_branches']} branches"
    if totals["percent_branches_covered"] < 95:
        session.error(share)
    session.log(share)


MUTANTS = """
[cosmic-ray]
module-path = "{module}"
timeout = 120.0
excluded-modules = []
test-command = "python -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


@nox.session
def mutants(session: nox.Session) -> None:
    """Change a module bit by bit, and show what its tests miss: nox -s mutants -- MODULE.py TEST.py."""
    module, *tests = session.posargs
    sync(session, "bench", "reports", "test", "mutants")
    folder = Path(session.create_tmp()).resolve()
    tree, kept = folder / "tree", folder / "mutants.sqlite"
    kept.unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)  # of a session that was killed
    session.run("git", "worktree", "add", "--force", "--detach", str(tree), external=True)
    try:
        with session.chdir(tree):
            Path("mutants.toml").write_text(MUTANTS.format(module=module, tests=" ".join(tests)))
            for step in ("init", "baseline", "exec"):
                files = ["mutants.toml"] if step == "baseline" else ["mutants.toml", str(kept)]
                session.run("cosmic-ray", step, *files)
            session.run("cr-report", "--show-diff", "--surviving-only", str(kept))
    finally:
        session.run("git", "worktree", "remove", "--force", str(tree), external=True)


@nox.session(venv_backend="none")
def main_job(session: nox.Session) -> None:
    """Time all of `ablations` at a revision and here, by turns: nox -s main_job -- REVISION [TURNS]; an hour a turn."""
    if len(session.posargs) not in (1, 2):
        session.error("which revision, and how many turns? nox -s main_job -- REVISION [TURNS]")
    revision, *turns = session.posargs
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder / "tree", ignore_errors=True)  # of a session that was killed
    at = ("git", "worktree", "add", "--force", "--detach", str(folder / "tree"), revision)
    session.run(*at, external=True)
    trees = {revision: folder / "tree", "here": Path.cwd()}
    groups = [f"--group={group}" for group in ("bench", "reports", "counters", "export")]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
    try:
        for turn in range(int(*turns or [1])):
            for name, tree in trees.items():
                out, env = folder / f"results-{name}-{turn}", folder / f"env-{name}"
                shutil.rmtree(out, ignore_errors=True)
                with session.chdir(tree):
                    sync = ("uv", "sync", "--frozen", "--no-default-groups", *groups)
                    session.run(
                        *sync, env={"UV_PROJECT_ENVIRONMENT": str(env)}, external=True, silent=True
                    )
                    began_s, before = time.monotonic(), os.times()
                    python = str(env / "bin" / "python")
                    session.run(
                        python,
                        "-m",
                        "bench.ablations",
                        "--out",
                        str(out),
                        external=True,
                        silent=True,
                    )
                    after = os.times()
                spent_s = sum(after[2:4]) - sum(before[2:4])
                taken[name].append((time.monotonic() - began_s, spent_s))
                session.log(f"{name}: {taken[name][-1][0]:.0f} s, {spent_s:.0f} s of processors")
    finally:
        session.run("git", "worktree", "remove", "--force", str(folder / "tree"), external=True)
    for clock, kind in enumerate(("wall time", "processor time")):
        ratios = [new[clock] / old[clock] for old, new in zip(*taken.values(), strict=True)]
        session.log(
            f"{kind}, here over {revision}: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
        )


@nox.session
def wheel(session: nox.Session) -> None:
    """Install the wheel: the library alone, then the command beside a project with folders of our names."""
    session.install(".")
    session.run("python", "-I", "tests/installed_alone.py")
    session.install(".[bench]")
    session.run("python", "-I", "tests/installed_beside.py")


@nox.session
def cluster(session: nox.Session) -> None:
    """Test on Ray: workers that die, and one of two nodes."""
    sync(session, "bench", "reports", "test", "cluster", "weights")
    arguments = session.posargs or ["-q", "-m", "slow", "-k", "cluster"]
    session.run("python", "-m", "pytest", "tests/bench", *arguments)


@nox.session
def zoo(session: nox.Session) -> None:
    """Hold what is predicted of 29 packages' blocks against real calls; six minutes."""
    sync(session, "bench", "reports", "test", "zoo")
    session.run(
        "python", "-m", "pytest", "-q", "-m", "slow or not slow", "tests/zoo", *session.posargs
    )


# What writes the files that are read here. Beside the lock, which would have to take their versions of everything else.
PEERS = (
    *("accelerate==1.15.0", "cityscapesscripts==2.3.0", "datumaro==1.13.12", "lightning==2.6.6"),
    *("mmcv-lite==2.1.0", "mmengine==0.10.7", "mmsegmentation==1.2.2"),
    *("ftfy==6.3.1", "regex==2026.11.19"),  # mmsegmentation imports them
    *("pycocotools==2.0.11", "pyoxipng==9.1.1"),
)


@nox.session
def interop(session: nox.Session) -> None:
    """Hold what is read and predicted against files and labels that other packages make; ten minutes."""
    sync(session, "bench", "reports", "test", "counters", "export")
    session.install(*PEERS)
    arguments = session.posargs or ["-q", "-m", "slow or not slow"]
    session.run("python", "-m", "pytest", *arguments, "tests/interop")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a link that leads nowhere fails."""
    sync(session, "docs", "reports", alone=True)  # the reference reads the models of records
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("python", "-m", "mkdocs", "build", "--strict", *session.posargs, env=quiet)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and who imports whom."""
    sync(session, "bench", "reports", "test", "lint", "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("zizmor", "--offline", "--quiet", ".github")
