"""What Ray, MLflow and OpenMP read of a process's environment, once, at import; and the token of Ray's processes."""

import os
from contextlib import suppress
from pathlib import Path

NO_HOME = "/nonexistent"
"""the home of a user who has none, as Debian has it"""


def prepare_environment(own_cluster: bool = True, token: bool = True) -> None:
    """Settings that Ray, MLflow and OpenMP read once, at import: no telemetry, one thread, a token file of one's own, and
    no port that other machines can reach.

    Args:
        own_cluster: Ray is started here; a cluster that runs already has a token, which Ray finds where ``ray start`` left it.
        token: Ray will be used, and needs one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    for wait in ("gcs_server_port_wait_time_s", "gcs_server_request_timeout_seconds", "worker_register_timeout_seconds"):
        os.environ.setdefault(f"RAY_{wait}", "300")  # half a minute or one, which is too short on busy cores
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if own_cluster:  # the name notwithstanding: a Ray that no other machine can join listens on 127.0.0.1 only
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if token:
        _prepare_token(own_cluster)
    if _home() is None:  # after the token, which must not be there: MLflow cannot be imported without a home
        os.environ["HOME"] = NO_HOME


def _prepare_token(own_cluster: bool) -> None:
    has_token = "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_TOKEN" in os.environ
    home = _home()
    if own_cluster and not has_token:
        _take_token(home)
        has_token = True
    if has_token or (home is not None and os.path.exists(home / ".ray" / "auth_token")):
        # or ray.init does not show the token to a cluster that asks for it; said before Ray, which reads it once, is imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _take_token(home: Path | None) -> None:
    """The token in a file, or, without a place for one, in the environment of this process and of those that it starts."""
    if home is not None:
        with suppress(OSError):
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(_private_token(home))
            return
    import secrets

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _private_token(home: Path) -> Path:
    """A file that only this user can read, with the token by which Ray's processes know each other.

    Raises:
        OSError: it cannot be written.
    """
    import secrets

    path = home / ".cache" / "grad-instructor" / "ray-token"
    mine = path.with_name(f".ray-token-{os.getpid()}")
    try:
        if not path.exists() or not path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # another process was first: its token is everyone's
                os.link(mine, path)
            if not path.stat().st_size:
                os.replace(mine, path)
        path.chmod(0o600)
        path.read_bytes()  # another user's, where HOME is somebody else's
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    return path
