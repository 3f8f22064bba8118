"""Faults injected for real into tiny runs of the program: processes killed, a node lost, servers gone, a disk full, files cut.

    python -m tests.support.faults                     # all of them, about half an hour on two busy cores
    python -m tests.support.faults --faults actor node
    python -m tests.support.faults --kills 50          # and no others: SIGTERM and SIGKILL at random moments; hours
    python -m tests.support.faults --quick             # records cut, in runs without actors: a minute or two

For each: the run ends by itself, or the same command given again ends it; every result is bit-identical to those of a run that
nothing disturbed; no run in MLflow is left RUNNING; no record is lost or there twice. Prints a table, and puts the row of each
fault into benchmarks/results/faults.json. A fault that cannot be had here (no right to mount, no PostgreSQL) is said to be so.
Kills (tests/support/kills.py) are kept one by one in runs/kills, so that the same command goes on; all of them stand in
benchmarks/results/kills.json.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import quick, tables
from benchmarks.quick import TINY
from pipeline.cluster.watch import LOST
from pipeline.files import read_json, write_json
from pipeline.results.mlflow import ui_command, ui_environment
from pipeline.results.provenance import provenance
from tests.support import kills
from tests.support.tiny_run import (
    HANGS,
    MARK,
    STAGES,
    Running,
    assert_mirrored,
    assert_recorded,
    assert_same,
    end_all_in,
    ended,
    finish,
    results,
    start,
    wait,
)

ROOT = Path(__file__).resolve().parents[2]

RUN = ("run", "--output", "run", *TINY)
ONE = (*RUN, "--workers", "1")
RUNNERS = (*ONE, "--rl.env-runners", "2", "--rl.rounds", "5")
SEARCH = ("search", "tiny.yaml", "--output", "run", "--workers", "2")
OF = {"env runner": RUNNERS, "trial": SEARCH}
"""faults into something else than ``ONE``"""
ITSELF, AGAIN = "the run itself", "the same command"


class Missing(Exception):
    """What a fault needs is not on this machine."""


# -- processes ----------------------------------------------------------------------------------------------------------


def env_runner(folder: Path, _like: Path) -> str:
    """SIGKILL of one of two processes that collect experience, after the first round."""
    running = start(folder, *RUNNERS)
    wait(running, lambda: STAGES["ENN"](folder / "run"))
    _kill_worker(running, "SingleAgentEnvRunner")
    ended(running)
    return ITSELF


def actor(folder: Path, like: Path) -> str:
    """SIGKILL of an actor that trains targets, in the midst of a population, in a run whose ENN is there."""
    shutil.copytree(like, folder / "run", ignore=shutil.ignore_patterns("arms", "report*"))
    running = start(folder, *RUN, "--workers", "2")
    wait(running, lambda: STAGES["targets"](folder / "run"))
    _kill_worker(running, "_Worker")
    ended(running)
    return ITSELF


def trial(folder: Path, _like: Path) -> str:
    """SIGKILL of a process that judges a candidate of a search, in the midst of a Tune trial, and of the next one."""
    write_search(folder)
    running = start(folder, *SEARCH)
    for judged in (1, 4):
        wait(running, lambda: len(list((folder / "run" / "candidates").glob("*/prediction.json"))) >= judged)  # noqa: B023
        _kill_worker(running, "ImplicitFunc")
    ended(running)
    return "the search itself"


def write_search(folder: Path) -> None:
    """A search of four candidates. Nothing that a clock says decides anything in it, so that its front is known."""
    text = (ROOT / "tune_configs" / "smoke.yaml").read_text()
    for old, new in (("candidates: 8", "candidates: 4"), ("ms_per_instruction: minimise", "parameters: minimise")):
        assert old in text
        text = text.replace(old, new)
    (folder / "tiny.yaml").write_text(text)


def driver(folder: Path, _like: Path) -> str:
    """SIGKILL of the program itself, while the ENN is trained and again while targets are."""
    for stage in ("ENN", "targets"):
        kill_driver(folder, stage)
    finish(folder, *ONE)
    return AGAIN


def kill_driver(folder: Path, stage: str) -> None:
    """Begin the run, or go on with it, and kill its driver outright in a stage; Ray goes with it."""
    running = start(folder, *ONE)
    wait(running, lambda: STAGES[stage](folder / "run"))
    running.process.kill()
    assert running.process.wait(HANGS) == -signal.SIGKILL
    assert running.vanished(), running.processes()


def raylet(folder: Path, _like: Path) -> str:
    """SIGKILL of Ray's raylet while targets are trained: one sentence, and the same command goes on."""
    return _kill_of_ray(folder, "raylet", "raylet")


def control_store(folder: Path, _like: Path) -> str:
    """SIGKILL of Ray's control store (GCS) while targets are trained: one sentence, and the same command goes on."""
    return _kill_of_ray(folder, "gcs_server", "control store")


def _kill_of_ray(folder: Path, program: str, name: str) -> str:
    running = start(folder, *ONE)
    wait(running, lambda: STAGES["targets"](folder / "run"))
    for process in running.processes():
        with suppress(psutil.NoSuchProcess):
            if process.name() == program:
                process.kill()
    output = ended(running, LOST)
    assert output.count(f"Ray's {name} was killed") == 1 and "Traceback" not in output and "[state-dump]" not in output, output
    finish(folder, *ONE)
    return AGAIN


def _kill_worker(running: Running, name: str) -> None:
    """Stop a worker, so that work is given to it, then kill it."""
    found: list[psutil.Process] = []

    def appeared() -> bool:
        found[:] = running.named(f"ray::{name}")
        return bool(found)

    wait(running, appeared)
    found[0].suspend()
    time.sleep(2)
    found[0].kill()


def node(folder: Path, _like: Path) -> str:
    """A machine of a cluster of two lost, with all that runs on it, while it trains targets."""
    with cluster(1, 2) as (address, nodes, variables):
        running = start(folder, *RUN, "--workers", "3", "--address", address, **variables)
        wait(running, lambda: STAGES["targets"](folder / "run"))
        wait(running, lambda: bool(nodes[1].named("ray::_Worker")))
        for process in nodes[1].processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        ended(running)
    return ITSELF


@contextmanager
def cluster(*cores: int, dashboard: int = 0) -> Iterator[tuple[str, list[Running], dict[str, str]]]:
    """Ray's head and workers, one per count of cores, started by ``ray start`` on this machine, as on several.

    Args:
        dashboard: its port, which takes jobs; 0 for none. It needs the extra ``cluster``: pip install '.[cluster]'.

    Yields:
        The address, the nodes, and the environment variables by which they are joined.
    """
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))  # sockets have short names
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("faults" * 8)
    variables = {"RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    address = f"127.0.0.1:{free_port()}"
    common = ["--disable-usage-stats", "--node-ip-address", "127.0.0.1", "--object-store-memory", str(10**8)]
    nodes: list[Running] = []
    try:
        for number, count in enumerate(cores):
            place = ["--address", address]
            if number == 0:
                place = ["--head", "--port", address.split(":")[1], "--temp-dir", str(folder)]
                place += [f"--include-dashboard={str(bool(dashboard)).lower()}", "--dashboard-host=127.0.0.1"]
                place += ["--dashboard-port", str(dashboard)] if dashboard else []
            mark, log = f"node-{folder.name}-{number}", folder / f"node-{number}.log"
            environment = os.environ | variables | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: mark}
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", *place, *common, "--num-cpus", str(count)]
            with log.open("w") as file:
                process = subprocess.Popen(
                    command, env=environment, stdout=file, stderr=file, start_new_session=True, cwd=folder
                )
            nodes.append(Running(process, mark, log))
            assert process.wait(HANGS) == 0, log.read_text()  # it goes when the node has started
        yield address, nodes, variables
    finally:
        for one in nodes:
            for process in one.processes():
                process.kill()
            one.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- MLflow -------------------------------------------------------------------------------------------------------------


def mlflow_sqlite(folder: Path, like: Path) -> str:
    """`mlflow server` on SQLite killed while targets are trained, and started again before the run ends."""
    _server_goes_and_comes_back(folder, like, f"sqlite:///{folder / 'server.db'}")
    return ITSELF


def mlflow_postgresql(folder: Path, like: Path) -> str:
    """The same on PostgreSQL, whose server is killed as well."""
    with postgresql() as (uri, restart):
        _server_goes_and_comes_back(folder, like, uri, restart)
    return ITSELF


def _server_goes_and_comes_back(folder: Path, like: Path, store: str, restart: Callable[[], None] = lambda: None) -> None:
    port = free_port()
    server = _server(folder, port, store)
    uri = f"http://127.0.0.1:{port}"
    try:
        running = start(folder, *ONE, "--tracking-uri", uri)
        wait(running, lambda: STAGES["targets"](folder / "run"))
        _kill_group(server)
        restart()
        wait(running, lambda: "warning: MLflow" in running.log.read_text())
        running.process.send_signal(signal.SIGSTOP)  # a server takes longer to start than is left of so short a run
        server = _server(folder, port, store)
        running.process.send_signal(signal.SIGCONT)
        output = ended(running)
        assert output.count("warning:") == 1, output
        assert_mirrored(folder / "run", like, uri)
    finally:
        _kill_group(server)


def _server(folder: Path, port: int, store: str) -> subprocess.Popen:
    if store.startswith("sqlite"):
        Path(store.removeprefix("sqlite:///")).touch()
    command = ui_command(folder, port, store)
    with (folder / "server.log").open("ab") as log:
        environment = os.environ | ui_environment(folder, store)
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder)
    for _ in range(1200):
        time.sleep(0.1)
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return server
        except OSError:
            assert server.poll() is None, (folder / "server.log").read_text()
    raise AssertionError("the MLflow server did not start")


def _kill_group(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def postgresql() -> Iterator[tuple[str, Callable[[], None]]]:
    """A database of its own in a temporary folder, from Debian's package: its address, and how to kill and restart it.

    Raises:
        Missing: PostgreSQL, or Python's driver for it, is not installed.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    try:
        import psycopg2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        programs = []
    if not programs:
        raise Missing("PostgreSQL (Debian's postgresql, PyPI's psycopg2-binary) is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port()
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    options = {"cwd": folder, "user": user, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    here = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}

    def do(program: str, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen([programs[-1] / program, *arguments], env=here, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def begin() -> subprocess.Popen:
        server = do("postgres", "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder))
        while do("pg_isready", "-h", "127.0.0.1", "-p", str(port)).wait():
            assert server.poll() is None, "PostgreSQL did not start"
            time.sleep(0.1)
        return server

    assert do("initdb", "-D", str(folder / "data"), "-U", "mlflow", "--auth", "trust").wait() == 0
    servers = [begin()]

    def restart() -> None:
        _kill_tree(servers[-1])
        servers.append(begin())

    try:
        assert do("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow").wait() == 0
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow", restart
    finally:
        _kill_tree(servers[-1])
        shutil.rmtree(folder, ignore_errors=True)


def _kill_tree(process: subprocess.Popen) -> None:
    for child in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


# -- disks and files ----------------------------------------------------------------------------------------------------


def disk_full(folder: Path, _like: Path) -> str:
    """A file system that is full while the ENN is trained, then while targets are, then has room (a tmpfs made larger)."""
    place = folder / "run"
    place.mkdir()
    with ExitStack() as stack:
        _mount(place, "600k")
        stack.callback(subprocess.run, ["umount", "--lazy", place], check=True)
        for size in ("1200k", "2000k", None):
            output = ended(start(folder, *ONE), 2)
            assert "the disk is full" in output and "Traceback" not in output, output
            if size is not None:
                subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
        subprocess.run(["mount", "-o", "remount,size=200m", place], check=True)
        finish(folder, *ONE)
        shutil.copytree(place, folder / "copy", symlinks=True)
    place.rmdir()
    (folder / "copy").rename(place)
    return AGAIN


def _mount(place: Path, size: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"no small file system can be mounted here ({done.stderr.strip()})")


def records_cut(folder: Path, _like: Path) -> str:
    """records.jsonl cut in the midst of a line after the driver was killed, and to half of a finished run's."""
    kill_driver(folder, "targets")
    _cut(folder / "run" / "records.jsonl", lambda size: size - 9)
    finish(folder, *ONE)
    _cut(folder / "run" / "records.jsonl", lambda size: size // 2)
    finish(folder, *ONE)
    return AGAIN


def result_cut(folder: Path, _like: Path) -> str:
    """The files of a population, JSON and weights, cut to half: each is named, and trained again once it is deleted."""
    finish(folder, *ONE)
    for name in ("report.json", "report.md"):
        (folder / "run" / name).unlink()
    for name in ("conventional-1.json", "instructed-0.safetensors"):
        file = folder / "run" / "arms" / name
        _cut(file, lambda size: size // 2)
        output = ended(start(folder, *ONE), 2)
        assert f"{file} is truncated or corrupt; delete it" in output and "Traceback" not in output, output
        file.unlink()
        file.with_suffix(".json").unlink(missing_ok=True)
    finish(folder, *ONE)
    return f"{AGAIN}, after deleting the file that it names"


def _cut(file: Path, length: Callable[[int], int]) -> None:
    os.truncate(file, length(file.stat().st_size))


FAULTS: dict[str, Callable[[Path, Path], str]] = {
    "env runner": env_runner,
    "actor": actor,
    "trial": trial,
    "driver": driver,
    "node": node,
    "raylet": raylet,
    "control store": control_store,
    "MLflow on SQLite": mlflow_sqlite,
    "MLflow on PostgreSQL": mlflow_postgresql,
    "disk full": disk_full,
    "records cut": records_cut,
    "result cut": result_cut,
}


def check(name: str, folder: Path, like: Path) -> dict[str, Any]:
    """Inject a fault into a run in ``folder`` and compare it with the undisturbed one.

    Raises:
        AssertionError: something is lost, there twice, different, or left RUNNING.
        Missing: the fault cannot be had here.
    """
    started = time.monotonic()
    by = FAULTS[name](folder, like)
    assert_same(results(folder / "run"), results(like))
    assert_recorded(folder / "run", like)
    if not name.startswith("MLflow"):  # which were compared with their own servers
        assert_mirrored(folder / "run", like)
    what = " ".join((FAULTS[name].__doc__ or "").split())
    facts = {"files": len(results(like)), "records": len((folder / "run" / "records.jsonl").read_text().splitlines())}
    return {"fault": name, "what": what, "ended_by": by, "seconds": round(time.monotonic() - started), **facts}


def undisturbed(folder: Path, arguments: tuple[str, ...] = ONE) -> Path:
    """A run that nothing disturbs."""
    folder.mkdir(parents=True)
    if arguments == SEARCH:
        write_search(folder)
    finish(folder, *arguments)
    return folder / "run"


QUICK = {"ONE": (*RUN, "--local")}
QUICKEST = ("records cut",)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), help="default: all")
    parser.add_argument("--kills", type=int, default=0, help="so many kills at random moments, instead of faults")
    options, console = parser.parse_args(), Console()
    if options.quick:
        globals().update(QUICK)
    options.faults = options.faults or (QUICKEST if options.quick else list(FAULTS))
    found = quick.results_folder(options.quick)
    output = found / "faults.json"
    facts = provenance(" ".join(["python", "-m", "tests.support.faults", *sys.argv[1:]]), 0)
    if options.kills:
        return _kill_all(options.kills, found, facts)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder, like = Path(name), {}
        for number, fault in enumerate(options.faults):
            arguments = OF.get(fault, ONE)
            if arguments not in like:
                like[arguments] = undisturbed(folder / f"undisturbed-{len(like)}", arguments)
            place = folder / str(number)
            place.mkdir()
            try:
                rows.append(check(fault, place, like[arguments]))
            except Missing as error:
                rows.append({"fault": fault, "missing": str(error)})
            except (AssertionError, subprocess.SubprocessError) as error:
                console.print(f"{fault} FAILED: {error!r}", markup=False)
                failed.append(fault)
                continue
            finally:
                end_all_in(place)
            _keep(output, rows[-1] | {"provenance": facts})
            console.print(rows[-1])
    table = Table("fault", "ended by", "results", "MLflow", "records", "s")
    for row in rows:
        told = (
            row.get("missing", row.get("ended_by")),
            *(("", "", "") if "missing" in row else ("identical", "all FINISHED", "each once")),
        )
        table.add_row(row["fault"], *told, str(row.get("seconds", "")))
    console.print(table)
    return 1 if failed else 0


def _kill_all(count: int, output: Path, facts: dict[str, Any]) -> int:
    kept = Path("runs", "kills")
    failed = kills.kill_all(count, kept, facts)
    write_json(output / "kills.json", kills.gathered(kept))
    return 1 if failed else 0


def _keep(output: Path, row: dict[str, Any]) -> None:
    """Put a fault's row in the place of its earlier one."""
    rows = {row["fault"]: row for row in read_json(output)["rows"]} if output.exists() else {}
    rows[row["fault"]] = row
    write_json(output, {"settings": " ".join(TINY), "rows": [rows[name] for name in FAULTS if name in rows]})


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any], killed: dict[str, Any]) -> str:
    """One row per fault; then the kills, by stage."""
    origins, cells = tables.Origins([row["provenance"] for row in results["rows"]]), []
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        if "missing" in row:
            cells.append([f"{row['fault']}{mark}: not done", row["missing"], "", "", ""])
        else:
            cells.append([row["what"].rstrip(".") + mark, row["ended_by"], "bit-identical", "all FINISHED", "each once"])
    caption = f"`python -m tests.support.faults` ({tables.where(origins.facts)})."
    head = ["what was done to a run", "who ended it", "results", "runs in MLflow", "records"]
    return tables.blocks(tables.table(head, cells, left=5), caption, origins.notes, kills.table(killed))


def figures(results: dict[str, Any], _killed: dict[str, Any]) -> dict[str, Any]:
    done = [row for row in results["rows"] if "missing" not in row]
    alone = [row for row in done if row["ended_by"].endswith("itself")]
    return {"done": str(len(done)), "alone": str(len(alone)), "missing": str(len(results["rows"]) - len(done))}


def verdict(results: dict[str, Any], killed: dict[str, Any]) -> str:
    own = figures(results, killed)
    return (
        f"After each of {own['done']} faults {kills.clause(killed)} the results were bit-identical to those of a run that "
        f"nothing disturbed, MLflow's runs were finished and every record was there once. After {own['alone']} of the faults "
        "the run ended by itself, after the others by the same command given again."
    )


def doubts(results: dict[str, Any], _killed: dict[str, Any]) -> list[tables.Doubt]:
    return []


if __name__ == "__main__":
    sys.exit(main())
