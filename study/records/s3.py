"""fsspec's file system for S3, with stricter errors.

Every failure of the store is an OSError, and no failure looks like an empty folder.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import ClientError
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Turn every failure of the store into an OSError: no connection, no credentials, HTTP 503.

    A missing or existing object is not a failure of the store: its error passes unchanged.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except (OSError, BotoCoreError, ResponseParserError, ClientError) as error:
        raise OSError(errno.EIO, str(error)) from error


class Store(S3FileSystem):  # type: ignore[misc]
    # These come on top of botocore's own retries. There are few of them, because a process that
    # waits for the store cannot be interrupted.
    retries = 2

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # No cache of listings, because other processes write to the store, too. One request reads
        # a whole object, so that all its bytes are of the same version.
        own = {"use_listings_cache": False, "max_concurrency": 1}
        super().__init__(*arguments, **own | options)

    async def _call_s3(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._call_s3(*arguments, **options)

    call_s3 = sync_wrapper(_call_s3)  # the base class's calls its own _call_s3

    async def _cat_file(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._cat_file(*arguments, **options)

    async def _lsdir(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._lsdir(*arguments, **options)

    async def _walk(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        """Walk a folder, as `glob` does, and raise if a folder cannot be listed.

        The base class leaves such folders out.
        """

        def tell(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        async for found in super()._walk(*arguments, **{**options, "on_error": tell}):
            yield found
