"""The virtual environment: is it what is asked, and if not, build another one beside it and prove it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from ansible.module_utils.project import indexes
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

RECORD = ".reset.json"  # in the venv: what was asked when it was built, and what it then held
STEP_SECONDS = 900.0  # no single command of a build takes longer on purpose
_STALL_SECONDS = "10"  # an index that says nothing for so long has failed

# Asked of an interpreter: who it is, what it holds, and whether that imports. Names come on standard input. Each
# package is imported by a process of its own: what crashes one says nothing of the others. As many run at once as
# there are processors, the largest first, for it decides how long all take. Garbage is not collected: there is none.
# Numeric libraries are kept to one thread each: the others would only wait, and spin as they do.
PROBE = r"""
import gc, json, os, re, sys
gc.disable()
os.environ.setdefault("OMP_NUM_THREADS", "1")
asked = json.load(sys.stdin)
answer = {"version": "%d.%d.%d" % sys.version_info[:3], "executable": sys.executable, "prefix": sys.prefix}
answer["base"] = getattr(sys, "_base_executable", None) or sys.executable
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, ValueError):
    libc = ""
answer["platform"] = {"implementation": sys.implementation.name, "machine": os.uname().machine, "libc": libc}
def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
def modules(d):
    names = (d.read_text("top_level.txt") or "").split()
    if not names:
        tops = {str(path).split("/")[0] for path in d.files or () if str(path).endswith((".py", ".so"))}
        names = sorted({top.split(".")[0] for top in tops})
    return [n for n in names if n.isidentifier() and not n.startswith("_") and n not in ("tests", "test")]
def start(d):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            from importlib import import_module
            for module in modules(d):
                import_module(module)
        except BaseException as error:
            text = "does not import: %s: %s" % (type(error).__name__, error)
            os.write(writing, text[:300].encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    return pid, reading
if asked is not None:
    from importlib import metadata
    found = {plain(d.metadata["Name"]): d for d in metadata.distributions() if d.metadata["Name"]}
    answer["installed"] = {name: d.version for name, d in found.items()}
    answer["failed"] = {name: "is not installed" for name in asked if plain(name) not in found}
    present = [name for name in asked if plain(name) in found]
    waiting = sorted(present, key=lambda name: len(found[plain(name)].read_text("RECORD") or ""))
    running = {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            name = waiting.pop()
            pid, reading = start(found[plain(name)])
            running[pid] = name, reading
        pid, status = os.wait()
        name, reading = running.pop(pid)
        with open(reading, "rb") as pipe:
            text = pipe.read().decode()
        if text or status:
            answer["failed"][name] = text or "does not import: its import ended the interpreter (status %d)" % status
print("\n" + json.dumps(answer, sort_keys=True))
"""


class Runner(Protocol):
    """Runs a program as the owner of the root: exit code, standard output, standard error.

    ``env`` changes the environment; a name with None is taken out of it. ``seconds`` bounds the run.
    """

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        text: str = "",
        seconds: float = 60.0,
    ) -> tuple[int, str, str]:
        """Run it to its end."""


@dataclass(frozen=True)
class Wanted:
    """What is asked.

    Attributes:
        python: the interpreter to build with, as the user names it.
        minimum: its least version, ``3.9``.
        packages: requirements, as pip reads them.
        index_urls: package indexes in order; empty text is the host's own.
        rebuild: build even where nothing is wrong.
    """

    python: str
    minimum: str
    packages: Sequence[str]
    index_urls: Sequence[str] = ("",)
    rebuild: bool = False

    def __post_init__(self) -> None:
        """A requirement that no tool may see is refused before anything is done."""
        for package in self.packages:
            distribution(package)


@dataclass
class Built:
    """How a build went.

    Attributes:
        tool: ``uv`` or ``pip``.
        index: the index that served it, without credentials.
        version: what the new interpreter says it is.
        installed: name to version of all that it holds.
        warnings: an index that was passed over, and why.
        imported: sources that the proof compiled, a line each, where the control node can compile them for other hosts.
    """

    tool: str
    index: str
    version: str
    installed: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    imported: str = ""


def distribution(requirement: str) -> str:
    """The distribution's name in a requirement: ``uvicorn`` of ``uvicorn[standard]>=0.30; python_version>'3'``."""
    name = requirement.strip()
    for mark in "[<>=!~;@ (":
        name = name.split(mark)[0]
    if re.search(r"://.*@", requirement):
        # It would stand on a command line, and in the record of the environment.
        raise Problem(
            f"project_packages holds credentials for {name}. Put them into project_index_urls, and the package's"
            " name alone into project_packages."
        )
    if not name or name.startswith(("-", ".", "/")):
        raise Problem(f"project_packages holds {requirement!r}, which does not begin with a package's name.")
    return name


def normalised(name: str) -> str:
    """A distribution's name as the probe lists it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def probe(run: Runner, python: str, packages: Sequence[str] | None) -> dict[str, Any] | None:
    """What an interpreter says of itself and of ``packages``; None where it does not run."""
    names = None if packages is None else [distribution(package) for package in packages]
    code, out, _ = run([python, "-I", "-c", PROBE], text=json.dumps(names))
    try:
        answer = json.loads(out.rsplit("\n", 2)[-2]) if code == 0 else None
    except (ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None


def interpreter(run: Runner, wanted: Wanted) -> dict[str, Any]:
    """The interpreter to build with: its ``version`` as it says itself, and ``base``, its path."""
    answer = probe(run, wanted.python, None)
    if answer is None:
        raise Problem(
            f"project_python {wanted.python!r} does not run on this host. Install it or set project_python."
        )
    if _numbers(answer["version"]) < _numbers(wanted.minimum):
        raise Problem(
            f"project_python {wanted.python!r} is Python {answer['version']}, below project_python_minimum"
            f" {wanted.minimum}. Set project_python to a newer one. Nothing was touched."
        )
    return answer


def _numbers(version: str) -> list[int]:
    try:
        return [int(part) for part in version.split(".")]
    except ValueError:
        raise Problem(f"project_python_minimum {version!r} is no version such as 3.9.") from None


def outdated(root: Directory, name: str, wanted: Wanted, python: Mapping[str, Any]) -> list[str]:
    """Why the environment under ``name`` must be built anew, as far as its files tell; empty: they do not."""
    found = root.stat(name)
    if found is None:
        return ["it is missing"]
    if not stat.S_ISDIR(found.st_mode):
        return ["it is not a folder"]
    with root.enter(name) as folder:
        try:
            record = json.loads(folder.read(RECORD) or b"null")
        except (ValueError, OSError):
            record = None
    if not isinstance(record, dict):
        return ["it was not built by this project"]
    reasons = []
    if record.get("asked") != list(wanted.packages):
        reasons.append("other packages are asked for")
    if record.get("python") != python["version"]:
        reasons.append(f"it is Python {record.get('python')}, {wanted.python} is {python['version']}")
    if wanted.rebuild:
        reasons.append("project_rebuild is set")
    return reasons


def broken(root: Directory, name: str, wanted: Wanted, run: Runner) -> list[str]:
    """Why an environment that looks right is not, as its own interpreter says; empty: it holds what is asked."""
    answer = probe(run, os.path.join(root.path, name, "bin", "python"), wanted.packages)
    if answer is None:
        return ["its python does not run"]
    with root.enter(name) as folder:
        record = json.loads(folder.read(RECORD) or b"{}")
        with folder.enter("bin") as scripts:
            missing = [script for script in ("activate", "pip") if scripts.stat(script) is None]
    reasons = [f"bin/{script} is missing" for script in missing]
    reasons += [f"{package} {why}" for package, why in answer["failed"].items()]
    changed = sorted(dict(set(record["installed"].items()) ^ set(answer["installed"].items())))
    if changed and not reasons:
        reasons.append(f"what it holds was changed by hand: {', '.join(changed)}")
    return reasons


def build(
    folder: Directory,
    final: str,
    wanted: Wanted,
    python: Mapping[str, Any],
    run: Runner,
    uv: Callable[[Mapping[str, str | None]], str | None],
    own_index: Callable[[], dict[str, str]],
    get: Callable[[str, float], bytes] = indexes.fetch,
    bytecode: str = "",
) -> Built:
    """Build and prove an environment as ``folder``/venv, ready to stand at ``final``; raises Problem.

    Args:
        folder: an empty folder that belongs to the build.
        final: the path at which its scripts will be called.
        python: the answer of ``interpreter``.
        uv: gives the path of uv, got by means of an index's environment where the host has none; None: use pip.
        own_index: the host's own pip configuration, by pip's option names.
        get: fetches a page, for the first look at an index.
        bytecode: archive for the folder of the packages; empty: there is none.
    """
    passed_over = []
    for url in wanted.index_urls:
        why = indexes.refusal(url, get)
        if why is None:
            environ = index_environment(url, own_index)
            tool = uv(environ)
            folder.remove("venv")
            why = _install(run, os.path.join(folder.path, "venv"), wanted, python["base"], environ, tool)
        if why is None:
            break
        # Cut after scrubbing: half a password would not be known again. The cause stands at the end.
        passed_over.append(f"{indexes.masked(url)}: {indexes.scrubbed(why, list(wanted.index_urls))[-600:]}")
    else:
        raise Problem(
            "The new venv could not be built; the one in place, if any, still serves. Tried in the order of"
            f" project_index_urls: {'; '.join(passed_over)}. Mend project_index_urls or project_packages.",
            wanting=target(python),
        )
    interpreter = os.path.join(folder.path, "venv", "bin", "python")
    if bytecode:
        code, _, err = run([interpreter, "-I", "-m", "tarfile", "-e", bytecode, packages(folder, python)])
        if code:
            raise Problem(
                f"The control node's bytecode could not be unpacked: {err.strip()[-300:]}. The venv in place, if any,"
                " still serves."
            )
    answer = probe(run, interpreter, wanted.packages)
    if answer is None or answer["failed"]:
        failures = answer["failed"] if answer else {"its python": "does not run"}
        failed = "; ".join(f"{name} {why}" for name, why in failures.items())
        raise Problem(
            f"The new venv was built and is not sound: {failed}. The one in place, if any, still serves."
            " Mend project_packages (pin a version that works) or project_python."
        )
    with folder.enter("venv") as venv:
        _settle(venv, final)
        record = {
            "asked": list(wanted.packages),
            "python": answer["version"],
            "installed": answer["installed"],
        }
        venv.write_new(RECORD, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n", 0o644)
    warnings = [f"Package index passed over, {why}" for why in passed_over]
    return Built(
        "uv" if tool else "pip", indexes.masked(url), answer["version"], answer["installed"], warnings
    )


def packages(folder: Directory, python: Mapping[str, Any]) -> str:
    """The folder of the packages in the environment ``folder``/venv."""
    minor = ".".join(python["version"].split(".")[:2])
    return os.path.join(folder.path, "venv", "lib", f"python{minor}", "site-packages")


def target(python: Mapping[str, Any]) -> dict[str, str]:
    """What wheels for this host must fit, out of the answer of ``interpreter``."""
    return {"python": python["version"], **python.get("platform", {})}


def index_environment(url: str, own_index: Callable[[], dict[str, str]]) -> dict[str, str | None]:
    """Environment for uv and pip; never a command line, which everybody on the host can read.

    Args:
        url: an index; empty: the host's own; an absolute path: a folder of wheels.
        own_index: the host's own pip configuration, by pip's option names.
    """
    environ: dict[str, str | None] = {
        "UV_HTTP_TIMEOUT": _STALL_SECONDS, "UV_HTTP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": _STALL_SECONDS,
        "PIP_RETRIES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COMPILE": "1",
        "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1",
    }  # fmt: skip
    if not url:
        return {**environ, **indexes.uv_environment(own_index())}
    # This index alone: nothing that the host is configured with may answer in its place.
    others = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    environ.update(dict.fromkeys(others), UV_NO_CONFIG="1", PIP_CONFIG_FILE=os.devnull)
    if url.startswith("/"):
        only = {"UV_OFFLINE": "1", "UV_FIND_LINKS": url, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": url}
        return {**environ, **only}
    return {**environ, "UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}


def _install(
    run: Runner, path: str, wanted: Wanted, python: str, environ: Mapping[str, str | None], uv: str | None
) -> str | None:
    """Make the environment at ``path`` and install; why it failed, or None."""
    packages = ["pip", *wanted.packages]
    target = os.path.join(path, "bin", "python")
    if uv:
        commands = [
            [uv, "venv", "--no-project", "--python", python, path],
            [uv, "pip", "install", "--python", target, "--", *packages],
        ]
    else:
        commands = [
            [python, "-m", "venv", path],
            [target, "-m", "pip", "install", "--quiet", "--", *packages[1:]],
        ]
    for command in commands:
        code, out, err = run(command, env=environ, seconds=STEP_SECONDS)
        if code:
            lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
            return " / ".join(lines[-4:]) or f"{os.path.basename(command[0])} ended with {code}"
    return None


def _settle(venv: Directory, final: str) -> None:
    """Make the scripts name the place where the environment will stand instead of where it was built."""
    built, final_bytes = os.fsencode(venv.path), os.fsencode(final)
    with venv.enter("bin") as scripts:
        for folder in (venv, scripts):
            for name in folder.names():
                found = folder.stat(name)
                if found is None or not stat.S_ISREG(found.st_mode):
                    continue
                content = folder.read(name) or b""
                if built in content and b"\0" not in content:
                    folder.write(name, content.replace(built, final_bytes), stat.S_IMODE(found.st_mode))
