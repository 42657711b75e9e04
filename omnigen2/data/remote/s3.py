"""Buckets of S3 and of all that speak its language, through Amazon's own client."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from omnigen2.data.remote.store import BLOCK, INSTALL, Missing, Passing, Reply, Store, faulty, whole_size
from omnigen2.data.samples import DataError

LOGIN = (
    "log in (`aws configure`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); "
    "for a public bucket set AWS_SKIP_SIGNATURE=true"
)
BUSY = ("SlowDown", "Throttling", "RequestTimeout", "RequestTimeTooSkewed", "InternalError", "ServiceUnavailable")


class S3Store(Store):
    """A folder of a bucket. Credentials, region and endpoint are found as by the `aws` command.

    Args:
        url: As the user names it.
        bucket: Its name.
        folder: The common beginning of the keys, without slashes at its ends.
        idle_s: Seconds without a byte after which a connection counts as broken.

    Raises:
        DataError: If boto3 is missing, or its settings are wrong.
    """

    def __init__(self, url: str, bucket: str, folder: str, idle_s: float) -> None:
        try:
            from boto3.session import Session
            from botocore import UNSIGNED
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise DataError(f"{url} needs boto3", INSTALL) from error
        self.url, self.bucket, self.folder = url, bucket, folder
        public = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
        settings = Config(
            retries={"total_max_attempts": 1}, connect_timeout=min(idle_s, 20), read_timeout=idle_s,
            response_checksum_validation="when_required", **({"signature_version": UNSIGNED} if public else {}),
        )  # fmt: skip
        try:
            self._client: Any = Session().client("s3", config=settings)
        except (BotoCoreError, ValueError) as error:
            raise DataError(f"{url} cannot be read: {error}", "correct the settings of the `aws` command") from error

    @contextmanager
    @override
    def get(self, name: str, start: int = 0, etag: str = "") -> Generator[Reply]:
        key = f"{self.folder}/{name}".lstrip("/")
        part = {"Range": f"bytes={start}-", "IfMatch": etag} if start and etag else {}
        start = start if part else 0
        with self._told(name):
            found = self._client.get_object(Bucket=self.bucket, Key=key, **part)
        body = found["Body"]
        try:
            yield Reply(
                start, whole_size(start, found.get("ContentLength")), found.get("ETag", ""), self._blocks(body, name)
            )
        finally:
            body.close()

    def _blocks(self, body: Any, name: str) -> Iterator[bytes]:
        with self._told(name):
            yield from body.iter_chunks(BLOCK)

    @contextmanager
    def _told(self, name: str) -> Generator[None]:
        from botocore import exceptions as boto

        try:
            yield
        except boto.ClientError as error:
            raise self._refusal(error, name) from error
        except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
            raise DataError(f"{self.url}/{name} cannot be read: no AWS credentials were found", LOGIN) from error
        except (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError) as error:
            raise Passing(f"no connection to {_host(error)}", unreachable=True) from error
        except (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError) as error:
            raise Passing(f"the connection broke ({type(error).__name__})") from error
        except boto.BotoCoreError as error:
            raise DataError(f"{self.url}/{name} cannot be read: {error}", LOGIN) from error

    def _refusal(self, error: Any, name: str) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        reply = error.response.get("ResponseMetadata", {})
        status = int(reply.get("HTTPStatusCode", 0))
        passing = faulty(status, reply.get("HTTPHeaders", {}).get("retry-after"))
        if passing is not None or code.startswith(BUSY):
            return passing or Passing(f"HTTP {status} {code}")
        if code == "NoSuchBucket":
            return DataError(f"there is no bucket {self.bucket!r} ({self.url})", "check its name and AWS_ENDPOINT_URL")
        if status == 404:
            return Missing(f"there is no {self.url}/{name}", "check the folder's URL, and that all of it was copied")
        if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
            return Missing(
                f"{self.url}/{name} may not be read, or is not there (HTTP {status} {code})",
                f"check the URL, or {LOGIN}",
            )
        return DataError(f"{self.url}/{name} cannot be read (HTTP {status} {code})", "check the URL and the region")


def _host(error: Any) -> str:
    return urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", ""))).netloc or "the server"
