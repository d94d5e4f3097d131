"""HTTP client for servers that nobody vouches for: bodies are bounded after inflation, redirects stay on the server."""

import json
import os
from typing import Any

import openai

from qllm_jax.errors import UserError
from qllm_jax.llm.replies import brief
from qllm_jax.llm.types import NoAnswerError

MAX_BODY = 2**23  # bytes; a reply of 200,000 tokens has 1 MB
MAX_REDIRECTS = 3

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_KEY_LOG = "SSLKEYLOGFILE"
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_PROXY_VARIABLES = (*_PROXIES, *map(str.lower, _PROXIES))
_SCHEMES = ("http", "https", "socks5", "socks5h")
_SLOW_CODECS = ("punycode", "idna")  # of quadratic time


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Client of the openai package that raises `NoAnswerError` for a body that is too long, and for a redirect."""

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request and read the whole answer."""
        options |= {"stream": True, "follow_redirects": False}
        for _ in range(MAX_REDIRECTS + 1):
            response = await super().send(request, **options)
            body = _utf8(await _read(response), response.charset_encoding)
            if not response.has_redirect_location:
                dropped = (b"content-encoding", b"content-length", b"content-type", b"transfer-encoding")
                headers = [header for header in response.headers.raw if header[0].lower() not in dropped]
                return type(response)(response.status_code, headers=headers, content=body, request=request)
            request = _redirected(response)
        raise NoAnswerError(f"the server redirects more than {MAX_REDIRECTS} times", transient=False)


def make(timeout: openai.Timeout | None = None) -> BoundedClient:
    """Make a client. Raise `UserError` for a proxy or certificates of the environment that cannot be used."""
    for name in _PROXY_VARIABLES:
        if (proxy := os.environ.get(name)) and not proxy.strip():
            raise UserError(f"{name} is blank: set it to a proxy, or unset it")
    try:
        return BoundedClient(timeout=timeout)
    except Exception as error:  # of ssl, of proxies' URLs, of a package that is missing
        raise UserError(_environment(error)) from error


def _utf8(body: bytes, charset: str | None) -> bytes:
    """Encode a body in UTF-8. JSON is in UTF-8, -16 or -32, whatever a header says; what is not may be in `charset`."""
    for encoding in (json.detect_encoding(body), charset):
        if encoding and encoding.lower() not in _SLOW_CODECS:
            try:
                return body.decode(encoding).encode()
            except (LookupError, ValueError):  # no encoding of text, or of other text; a lone surrogate
                continue
    return body


async def _read(response: Any) -> bytes:
    chunks, size = [], 0
    try:
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise NoAnswerError(f"the answer is longer than {MAX_BODY // 2**20} MiB", transient=True)
    finally:
        await response.aclose()
    return b"".join(chunks)


def _redirected(response: Any) -> Any:
    """Request to which a server redirects. Raise `NoAnswerError` unless it is the same one, on the same server."""
    here, target = response.request.url, response.next_request
    if target is None:
        raise NoAnswerError("the server redirects to an address that is none", transient=False)
    there = target.url
    is_same = (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)
    is_upgrade = (here.scheme, there.scheme, there.host, here.port, there.port) == (
        "http", "https", here.host, None, None,
    )  # fmt: skip
    if response.status_code not in (307, 308) or not (is_same or is_upgrade):
        address = brief(str(there))
        raise NoAnswerError(f"the server redirects to {address}: if that is right, set llm.base_url", transient=False)
    return target


def _environment(error: Exception) -> str:
    """Sentence on the variable of the environment that a client could not use. It may hold a password."""
    if isinstance(error, OSError) and error.filename and error.filename == os.environ.get(_KEY_LOG):
        return f"{_KEY_LOG}={error.filename!r} cannot be written: correct it or unset it ({error.strerror})"
    for name in _CERTIFICATES:
        if isinstance(error, OSError) and (path := os.environ.get(name)):
            return f"{name}={path!r} holds no certificates: correct it or unset it ({brief(str(error))})"
    for name in _PROXY_VARIABLES:
        scheme = os.environ.get(name, "").partition("://")[0]
        if "://" in os.environ.get(name, "") and scheme not in _SCHEMES:
            return f"{name}={scheme}://... is no proxy that can be used: choose from {', '.join(_SCHEMES)}, or unset it"
        if isinstance(error, ImportError) and scheme.startswith("socks"):
            return f"{name}={scheme}://... needs a package: pip install 'httpx2[socks]'"
    names = [name for name in (*_PROXIES, "NO_PROXY") if {name, name.lower()} & set(os.environ)]
    return f"no connection can be set up with {', '.join(names) or 'this environment'}: {type(error).__name__}"
