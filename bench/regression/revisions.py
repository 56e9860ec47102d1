"""Checks out base and head into worktrees, each with its own environment.

The harness is one: `bench`, `experiments` and `reports` of the running suite measure both sides.
What is measured comes from the revision. A folder of links for each side, first on the path of its
processes, puts the two together; a fence keeps other checkouts of the repository out of them, which an
editable installation has on every path.
"""

import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import resolve_name
from pathlib import Path

import psutil

from bench.run import commit
from bench.workers import Fence, ForkServer, Worker

# In a wheel all of it is in one package, and what is beside that is somebody's own.
SUITE = __name__.partition(".")[0]
HARNESS_ROOT = Path(__file__).resolve().parents[__name__.count(".")]
HARNESS = ("bench", "experiments", "reports") if SUITE == "bench" else (SUITE,)
LIBRARY = "ann"
WORKING_TREE = "working tree"
# Of the folders of worktrees, before the number of the process whose they are.
PREFIX = "ann-bench-regress-"
# What links of a checkout would only disturb.
NOT_LINKED = ("build", "dist", "results", "tests")


class SideError(RuntimeError):
    """A side can't be measured by this suite; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionSide:
    """A revision that can be run."""

    name: str
    commit: str | None  # of the checkout, `-dirty` if changed since
    code: str  # twelve digits of the Python files
    path: Path  # folder of links, the first on the path of its processes
    python: str  # interpreter of its environment
    fence: Fence = Fence()  # noqa: RUF009  # frozen; around its checkout

    def worker(self, target: str, *, server: ForkServer | None = None, **variables: str) -> Worker:
        """A process, not yet started, that runs a target of `bench.regression.worker`: the server's fork if given."""
        return Worker(
            resolve_name(f".worker:{target}", __package__),
            python=self.python,
            variables={**self.variables, **variables},
            folder=self.path,
            server=server,
        )

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of its processes."""
        places = [place for place in (self.path, self.path / "src") if place.is_dir()]
        path = os.pathsep.join(map(str, places))
        variables = {**os.environ, "PYTHONPATH": path, **self.fence.variables}
        variables.pop("PYTHONSAFEPATH", None)
        return variables

    def server_variables(self, folder: Path) -> Mapping[str, str]:
        """Those of a process of which both sides' are forks: it has the harness alone, in a folder of links."""
        fence = replace(self.fence, own="", others=(self.fence.own, *self.fence.others))
        return {
            **self.variables,
            **(fence if self.fence.own else self.fence).variables,
            "PYTHONPATH": str(folder),
            "PYTHONSAFEPATH": "1",  # its folder may have anything
        }


def _top(folder: Path) -> Path:
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        msg = (
            "--base and --head name revisions, and this folder is in no git repository; "
            "change to one, or pass two folders of records"
        )
        raise ValueError(msg)
    return Path(done.stdout.strip())


def _resolved(top: Path, revision: str) -> str:
    verify = ("rev-parse", "--verify", "--quiet", "--end-of-options")
    done = _git(top, *verify, f"{revision}^{{commit}}")
    if done.returncode:
        listed = _git(top, "for-each-ref", "--format=%(refname:short)").stdout.split()
        near = difflib.get_close_matches(revision, listed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        msg = (
            f"revision {revision!r} is not in this clone, nor is it a folder; {hint}pass a commit, branch or tag that "
            "it has (in CI check out with fetch-depth: 0)"
        )
        raise ValueError(msg)
    return done.stdout.strip()


@contextmanager
def sides(folder: Path, base: str, head: str | None) -> Iterator[tuple[RevisionSide, RevisionSide]]:
    """Check both revisions out, of the repository that a folder is in; a head of None is its working tree.

    Everything is gone afterwards, however it ends.

    Raises:
        ValueError: there is no repository, a revision is not in it, or its environment can't be made.
        SideError: a revision has no library where the other one has.
    """
    if not hasattr(os, "fork"):
        msg = "revisions are compared under Linux, macOS or WSL; pass two folders of records"
        raise ValueError(msg)
    top = _top(folder)
    commits = [_resolved(top, revision) for revision in (base, head) if revision]
    _remove_abandoned(top)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as temporary:
        trees: list[Path] = []
        try:
            for revision in commits:
                trees.append(Path(temporary) / f"tree{len(trees)}")
                add = ("worktree", "add", "--detach", "--quiet", str(trees[-1]), revision)
                _require_success(_git(top, *add), f"revision {revision} can't be checked out")
            roots = [*trees, top][:2]
            names = [base, head or WORKING_TREE]
            libraries = [(root / LIBRARY / "__init__.py").exists() for root in roots]
            if any(libraries) and not all(libraries):
                # It would be compared with the running one, which nobody wants.
                lacking = names[libraries.index(False)]
                msg = f"revision {lacking!r} has no library {LIBRARY!r}, and the other one has; pass two that have"
                raise SideError(msg)
            fences = fences_of(top, roots, shares_library=not any(libraries))
            first, second = (
                RevisionSide(
                    name=name,
                    commit=commit(root),
                    code=_digest(root),
                    path=link(root, Path(temporary) / f"links{number}"),
                    python=interpreter(root, top, name=name),
                    fence=fence,
                )
                for number, (name, root, fence) in enumerate(zip(names, roots, fences, strict=True))
            )
            yield first, second
        finally:
            for tree in trees:
                _git(top, "worktree", "remove", "--force", "--force", str(tree))


def _remove_abandoned(top: Path) -> None:
    """Remove the worktrees of this repository whose gate had no time to, as when it was killed."""
    listed = _git(top, "worktree", "list", "--porcelain").stdout
    trees = re.findall(r"^worktree (.+)$", listed, re.MULTILINE)
    for folder in {Path(tree).parent for tree in trees}:
        owner = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)
    _git(top, "worktree", "prune")


def fences_of(top: Path, roots: Sequence[Path], *, shares_library: bool) -> list[Fence]:
    """What keeps each checkout's processes from all other worktrees of a repository, but for what runs the suite."""
    listed = _git(top, "worktree", "list", "--porcelain").stdout
    trees = [Path(tree) for tree in re.findall(r"^worktree (.+)$", listed, re.MULTILINE)]
    known = dict.fromkeys(str(tree.resolve()) for tree in (top, *roots, *trees))
    names = (*HARNESS, LIBRARY) if shares_library else HARNESS
    shared = tuple(str((HARNESS_ROOT / name).resolve()) for name in names)
    owned = [str(root.resolve()) for root in roots]
    return [
        Fence(own=own, others=tuple(each for each in known if each != own), shared=shared)
        for own in owned
    ]


def link(root: Path, links: Path) -> Path:
    """Make a folder of links: the harness from this suite, everything else from a checkout."""
    links.mkdir()
    entries = {entry.name: entry for entry in root.iterdir() if not entry.name.startswith(".")}
    harness = {name: HARNESS_ROOT / name for name in HARNESS}
    for name, place in ({LIBRARY: HARNESS_ROOT / LIBRARY} | entries | harness).items():
        if name not in NOT_LINKED:
            (links / name).symlink_to(place)
    return links


def link_harness(folder: Path) -> Path:
    """Fill a folder with links to the harness, without what lies beside it: a library, or all that is installed."""
    for name in HARNESS:
        (folder / name).symlink_to(HARNESS_ROOT / name)
    return folder


def interpreter(root: Path, top: Path, *, name: str) -> str:
    """The running interpreter where a checkout wants the same packages as the working tree; else one of its own.

    Raises:
        ValueError: it wants others, and uv is missing or can't install them.
    """
    if root == top or _requirements(root) in (None, _requirements(top)):
        return sys.executable
    uv = shutil.which("uv")
    if uv is None:
        msg = (
            f"revision {name!r} wants other packages than the working tree (uv.lock or pyproject.toml differ), "
            "and uv, which would install them, is missing; install uv (pip install uv)"
        )
        raise ValueError(msg)
    command = [uv, "sync", "--quiet", *(["--frozen"] if (root / "uv.lock").exists() else [])]
    if not (root / ".python-version").exists():
        command += ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
    unset = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH")
    variables = {key: value for key, value in os.environ.items() if key not in unset}
    # The command is fixed; uv is the one on the path.
    done = subprocess.run(  # noqa: S603
        command, cwd=root, env=variables, capture_output=True, text=True, check=False
    )
    _require_success(done, f"revision {name!r}: uv can't install its packages")
    return str(root / ".venv" / "bin" / "python")


def _requirements(root: Path) -> bytes | None:
    paths = (root / name for name in ("uv.lock", "pyproject.toml"))
    return next((path.read_bytes() for path in paths if path.exists()), None)


def _digest(root: Path) -> str:
    """Twelve digits of all Python files that git knows or would add."""
    which = ("--cached", "--others", "--exclude-standard", "--", "*.py")
    listed = _git(root, "ls-files", "-z", *which)
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = root / name
        digest.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()[:12]


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    git = shutil.which("git")
    if git is None:
        msg = (
            "git is missing, and revisions are compared by checking them out; "
            "install git, or pass two folders of records"
        )
        raise ValueError(msg)
    # Arguments are this module's; a revision stands behind --end-of-options or is a resolved commit.
    return subprocess.run(  # noqa: S603
        [git, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def _require_success(done: subprocess.CompletedProcess[str], failure: str) -> None:
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        msg = f"{failure}: {last}"
        raise ValueError(msg)
