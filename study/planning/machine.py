"""What Ray and MLflow need of this machine: a short temporary folder, a home, a user, open files.

Where something is missing and can be replaced, it is replaced for this process and its children.
Otherwise the command is refused, before anything starts.
"""

from __future__ import annotations

import atexit
import getpass
import os
import resource
import shutil
import tempfile
from pathlib import Path

from study.errors import BadInputError

LONGEST_SOCKET = 107  # bytes, of Linux
OWN_OF_RAY = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
SHORT = ("/tmp", "/var/tmp", "/dev/shm")
LEAST_FILES, ENOUGH_FILES = 512, 4096  # open files of one process of Ray


def prepare(own_ray: bool) -> None:
    """Set what can be set for this process and its children.

    Args:
        own_ray: whether a Ray of our own will be started on this machine.

    Raises:
        BadInputError: one line that names the variable or limit to change.
    """
    _home_and_user()
    if own_ray:
        _short_folder()
        _open_files()


def _home_and_user() -> None:
    """Libraries look for the home and the name of the user when they are imported."""
    try:
        home = Path.home()
        there = home.is_dir() and (str(home) != "/" or os.access(home, os.W_OK))
    except RuntimeError:  # neither $HOME nor an entry of the user
        there = False
    if not there:
        os.environ["HOME"] = tempfile.mkdtemp(prefix="gan-study-home-")
        atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid{os.getuid()}"


def _short_folder() -> None:
    """Ray's sockets have long names, in the temporary folder."""
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), None)
    if variable is None:  # Ray takes /tmp
        return
    folder = os.environ[variable]
    most = LONGEST_SOCKET - len(OWN_OF_RAY)
    usable = os.access(folder, os.W_OK | os.X_OK)
    if usable and len(os.fsencode(folder)) <= most:
        return
    if variable == "TMPDIR":
        for short in SHORT:
            if os.access(short, os.W_OK | os.X_OK):
                os.environ["RAY_TMPDIR"] = short
                return
    raise BadInputError(
        f"{variable}={folder}: Ray needs a folder that can be written and whose path has at most "
        f"{most} characters, for its sockets: set RAY_TMPDIR to one"
    )


def _open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(ENOUGH_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        soft = enough
    if 0 <= soft < LEAST_FILES:
        raise BadInputError(
            f"at most {soft} open files (ulimit -n): processes of Ray need {LEAST_FILES}"
        )
