"""S3 as fsspec sees it, with two differences: what fails is an OSError, what is listed is new."""

from __future__ import annotations

import errno
from typing import Any

from botocore.exceptions import BotoCoreError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem


class Store(S3FileSystem):  # type: ignore[misc]
    """s3fs: it translates a store's answers into OSErrors, but not that there was none."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Others write there, too.
        super().__init__(*arguments, **{"use_listings_cache": False} | options)

    async def _call_s3(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super()._call_s3(*arguments, **options)
        except BotoCoreError as error:  # no connection, no credentials
            raise OSError(errno.EIO, str(error)) from error

    call_s3 = sync_wrapper(_call_s3)  # which the class above has of its own
