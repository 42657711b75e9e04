"""Folders of web servers, of Google's buckets and of datasets on Hugging Face: each file is one URL."""

import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from typing_extensions import override

from omnigen2.data.remote.store import INSTALL, Missing, Passing, Reply, Store, faulty, whole_size
from omnigen2.data.samples import DataError

ALLOW_HTTP = "OMNIGEN2_ALLOW_HTTP"
GOOGLE = "https://storage.googleapis.com"
GOOGLE_LOGIN = "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"


class WebStore(Store):
    """A folder whose files are got by HTTP.

    Args:
        url: As the user names it.
        base: Where its files are got.
        login: What to do if the server gives nothing.
        headers: Asked for before each request, such as those with a token.
        auth: User name and password by host.
        idle_s: Seconds without a byte after which a connection counts as broken.
    """

    def __init__(
        self,
        url: str,
        base: str,
        login: str,
        headers: Callable[[], Mapping[str, str]] = dict,
        auth: httpx.Auth | None = None,
        idle_s: float = 60.0,
    ) -> None:
        self.url, self._base, self._login, self._headers = url, base, login, headers
        self._client = httpx.Client(
            follow_redirects=True, auth=auth, timeout=httpx.Timeout(idle_s, connect=min(idle_s, 20)),
            event_hooks={"request": [_check_secret]},
        )  # fmt: skip

    @contextmanager
    @override
    def get(self, name: str, start: int = 0, etag: str = "") -> Generator[Reply]:
        headers = {**self._headers(), "Accept-Encoding": "identity"}
        if start and etag:
            headers |= {"Range": f"bytes={start}-", "If-Range": etag}
        with self._told(), self._client.stream("GET", f"{self._base}/{quote(name)}", headers=headers) as reply:
            if reply.status_code not in (200, 206):
                raise self._refusal(reply, name)
            etag = reply.headers.get("etag", "")
            start = start if reply.status_code == 206 else 0
            size = whole_size(start, reply.headers.get("content-length"))
            yield Reply(start, size, "" if etag.startswith("W/") else etag, self._blocks(reply))

    def _blocks(self, reply: httpx.Response) -> Iterator[bytes]:
        with self._told():
            yield from reply.iter_raw()

    @contextmanager
    def _told(self) -> Generator[None]:
        host = urlsplit(self._base).netloc
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Passing(f"no connection to {host} ({error})", unreachable=True) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Passing(f"the connection to {host} broke ({type(error).__name__})") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DataError(f"{self.url} cannot be read: {error}", "check the URL") from error

    def _refusal(self, reply: httpx.Response, name: str) -> Exception:
        status, code = reply.status_code, reply.headers.get("x-error-code", "")
        if (passing := faulty(status, reply.headers.get("retry-after"))) is not None:
            return passing
        if status in (404, 410) and code not in ("RepoNotFound", "RevisionNotFound"):
            return Missing(f"there is no {self.url}/{name}", "check the folder's URL, and that all of it was copied")
        if status in (401, 403, 404):
            return Missing(f"{self.url}/{name} may not be read (HTTP {status} {code})".replace(" )", ")"), self._login)
        return DataError(f"{self.url}/{name} cannot be read (HTTP {status})", "check the URL")


def web_store(url: str, idle_s: float) -> WebStore:
    """The store of a URL of `https`, `gs` or `hf`.

    Raises:
        DataError: If the URL is incomplete, or a library is missing.
    """
    parts = urlsplit(url)
    path = parts.path.strip("/")
    match parts.scheme.lower():
        case "gs":
            base = (os.environ.get("STORAGE_EMULATOR_HOST") or GOOGLE).rstrip("/")
            base = base if "://" in base else f"http://{base}"
            login = f"check the URL, or {GOOGLE_LOGIN}"
            return WebStore(url, f"{base}/{parts.netloc}/{quote(path)}", login, _GoogleToken(url), None, idle_s)
        case "hf":
            base, headers, login = _hub(url, parts.netloc, path)
            return WebStore(url, base, login, headers, None, idle_s)
        case _:
            netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
            auth = httpx.NetRCAuth(str(netrc)) if netrc.is_file() else None
            login = "check the URL and your rights; user names and passwords are read from ~/.netrc"
            return WebStore(url, url, login, dict, auth, idle_s)


def _hub(url: str, kind: str, path: str) -> tuple[str, Callable[[], Mapping[str, str]], str]:
    from huggingface_hub import get_token, hf_hub_url

    def headers() -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}

    owner, _, rest = path.partition("/")
    named, _, folder = rest.partition("/")
    name, _, revision = named.partition("@")
    if kind != "datasets" or not owner or not name:
        raise DataError(f"{url} names no dataset", "expected hf://datasets/OWNER/NAME/FOLDER (or NAME@REVISION)")
    endpoint = os.environ.get("HF_ENDPOINT")
    base = hf_hub_url(
        f"{owner}/{name}", folder or "x", repo_type="dataset", revision=revision or None, endpoint=endpoint
    )
    login = (
        f"check the URL; if https://huggingface.co/datasets/{owner}/{name} is private or gated, accept its terms there "
        "and log in with `hf auth login` or HF_TOKEN"
    )
    return base if folder else base.removesuffix("/x"), headers, login


class _GoogleToken:
    """The header with a token of whoever is logged in; none where nobody is, for public buckets."""

    def __init__(self, url: str) -> None:
        try:
            import google.auth
            from google.auth.exceptions import DefaultCredentialsError
        except ImportError as error:
            raise DataError(f"{url} needs google-auth", INSTALL) from error
        self._url, self._lock = url, threading.Lock()
        self._credentials = None
        if not os.environ.get("STORAGE_EMULATOR_HOST"):
            try:
                scope = "https://www.googleapis.com/auth/devstorage.read_only"
                self._credentials, _ = google.auth.default(scopes=[scope])
            except DefaultCredentialsError:
                pass

    def __call__(self) -> Mapping[str, str]:
        if self._credentials is None:
            return {}
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        try:
            with self._lock:
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
        except TransportError as error:
            raise Passing("no connection to Google's login", unreachable=True) from error
        except GoogleAuthError as error:
            raise DataError(f"{self._url} cannot be read: the Google login has expired", GOOGLE_LOGIN) from error
        return {"Authorization": f"Bearer {self._credentials.token}"}


def _check_secret(request: httpx.Request) -> None:
    """Refuse a connection that everybody on its way can read and change.

    Raises:
        DataError: If it is one.
    """
    if request.url.scheme != "https" and not _loopback(request.url.host) and os.environ.get(ALLOW_HTTP) != "1":
        raise DataError(
            f"http://{request.url.host} is not encrypted", f"use https, or set {ALLOW_HTTP}=1 in a network you trust"
        )


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
