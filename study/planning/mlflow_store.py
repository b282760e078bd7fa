"""Name the MLflow store that a study is mirrored to, and refuse a store that cannot be used."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from study.errors import BadInputError
from study.records import store

TRACKING = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")  # schemes of MLflow's URIs
# Tables of MLflow's stores with columns that hold the addresses of artifacts.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
MADE = "SELECT name FROM sqlite_master WHERE name = 'experiments'"
# Keys of an address's query that hold no secret.
HARMLESS = {
    "application_name",
    "charset",
    "connect_timeout",
    "driver",
    "encrypt",
    "mode",
    "ssl_ca",
    "sslmode",
    "sslrootcert",
    "timeout",
    "trustservercertificate",
    "uri",
}


def check_uri(uri: str) -> None:
    """Refuse a tracking URI that names no MLflow store, or that may hold a secret.

    Raises:
        BadInputError: one line.
    """
    if _may_hold_secret(uri):
        raise BadInputError(  # the message must not repeat it
            "--tracking-uri: a password or token there would be on record: give it in "
            "MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN, or in a database's own PGPASSWORD or "
            f"the like; of a query, {', '.join(sorted(HARMLESS))} are taken"
        )
    scheme, colon, rest = uri.partition("://")
    if not colon or scheme.partition("+")[0] not in TRACKING:
        kinds = ", ".join(f"{kind}://" for kind in TRACKING)
        raise BadInputError(f"--tracking-uri {uri!r}: begin with one of {kinds}")
    try:
        if scheme.startswith("sqlite"):
            file = Path(rest.removeprefix("/"))
            if not file.parent.is_dir():
                raise BadInputError(f"--tracking-uri {uri!r}: there is no folder {file.parent}")
            known, needed = bool(rest) and not file.is_dir(), "file, as in sqlite:///mlflow.db"
        else:
            parts = urlsplit(uri)
            known = bool(parts.hostname) and parts.port != 0
            needed = f"host, as in {scheme}://host:5000"
    except (OSError, ValueError) as error:  # the name is too long; the port is no number
        raise BadInputError(f"--tracking-uri {uri!r}: {error}") from None
    if not known:
        raise BadInputError(f"--tracking-uri {uri!r}: name a {needed}")


def _may_hold_secret(uri: str) -> bool:
    """Whether an address has a password, a user of a web server, or an unknown key in its query."""
    try:
        parts = urlsplit(uri)
        keys = {key.lower() for key, _ in parse_qsl(parts.query, True, separator="&")}
        known = keys <= HARMLESS and (bool(keys) or not parts.query)
        user = "@" in parts.netloc if parts.scheme.startswith("http") else parts.password
    except ValueError:  # it is no address
        known, user = "@" not in uri and "?" not in uri, None
    # A database's driver takes a password with a slash, which `urlsplit` does not.
    odd = re.search(r"://[^@/?#]*:[^@]*@|;\w*(pass|pwd)", uri, re.IGNORECASE)
    return not known or (not uri.startswith("sqlite") and bool(user or odd))


def default_uri(storage: Path) -> str:
    """The URI of the store that is used if none is named: SQLite in the storage folder.

    Raises:
        ValueError: the folder's path has a character that MLflow or SQLAlchemy reads as another.
    """
    if odd := sorted({*"?#%"} & {*str(storage.resolve())}):
        raise ValueError(
            f"--storage {storage}: MLflow cannot keep its database there, as the path has "
            f"{' and '.join(odd)}: name another folder, or a --tracking-uri"
        )
    return _address(storage)


def _address(storage: Path) -> str:
    return f"sqlite:///{storage.resolve()}/mlflow.db"


def follow(uri: str, storage: Path) -> None:
    """Let the MLflow store in a storage folder find its artifacts where the folder is now.

    MLflow keeps the whole address of each artifact. Where the storage was moved it would list none,
    and make the old folder again; a copy would write into the folder that it was copied from. A
    store that is elsewhere is left as it is.

    Raises:
        OSError: the store cannot be read or written.
    """
    path, artifacts = storage / "mlflow.db", storage.resolve() / "mlartifacts"
    if uri != _address(storage) or not (path.exists() and artifacts.is_dir()):
        return
    here = artifacts.as_uri()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database, database:
            if not database.execute(MADE).fetchone():
                return  # MLflow has not made its tables yet
            query = "SELECT name, artifact_location FROM experiments"
            known = [(storage / str(name), str(old)) for name, old in database.execute(query)]
            for old in {old for folder, old in known if (folder / "study.json").exists()} - {here}:
                for table, column in PLACES if old.startswith("file:") else ():
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from None


def store_uri(storage: Path) -> str:
    """The URI of the MLflow store in a storage folder, after `follow`.

    Raises:
        ValueError: there is no such store, it cannot be read, the storage is an object store, or
            its path is refused by `default_uri`.
    """
    if not (store.is_local(storage) and (storage / "mlflow.db").exists()):
        raise ValueError(f"no MLflow store {storage / 'mlflow.db'}: run a study, or give --storage")
    uri = default_uri(storage)
    try:
        follow(uri, storage)
    except OSError as error:
        raise ValueError(error) from None
    return uri
