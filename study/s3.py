"""S3 as fsspec sees it, but every failure is an OSError, and none passes for an empty folder."""

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
    """What is no answer on an object is the store's failure: no connection, no credentials, 503."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except (OSError, BotoCoreError, ResponseParserError, ClientError) as error:
        raise OSError(errno.EIO, str(error)) from error


class Store(S3FileSystem):  # type: ignore[misc]
    retries = 2  # beside botocore's own: who waits for a store cannot be interrupted

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Others write there, too; one request reads an object, so that it is there as a whole.
        own = {"use_listings_cache": False, "max_concurrency": 1}
        super().__init__(*arguments, **own | options)

    async def _call_s3(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._call_s3(*arguments, **options)

    call_s3 = sync_wrapper(_call_s3)  # which the class above has of its own

    async def _cat_file(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._cat_file(*arguments, **options)

    async def _lsdir(self, *arguments: Any, **options: Any) -> Any:
        with _failing():
            return await super()._lsdir(*arguments, **options)

    async def _walk(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        """What a glob rests on: it leaves out folders that cannot be listed."""

        def tell(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        async for found in super()._walk(*arguments, **{**options, "on_error": tell}):
            yield found
