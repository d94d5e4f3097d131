"""Any server that speaks OpenAI's chat completions: POST {base_url}/chat/completions, through the openai package.

The portable call and nothing else: one request for one sample, a system and a user message, no streaming. Retries are
`qllm_jax.llm.client`'s, so that each is counted and recorded.
"""

import asyncio
import email.utils
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, validate_call

from qllm_jax.config import Positive
from qllm_jax.errors import UserError
from qllm_jax.llm import replies
from qllm_jax.llm.types import Llm, NoAnswerError, Price, Reply, Request

CONNECT_S = 15.0  # to open a connection; an answer may take `timeout_s`
NO_KEY = "EMPTY"  # local servers take any key, and the openai package wants one
SHORT_KEY, WHOLE_KEY = 8, 20  # characters; from which on a key is removed from errors, and from replies
ENDPOINT = "/chat/completions"
OF_REQUEST = (400, 413, 422)  # HTTP statuses of a request that is too long, or that a filter of content refuses
SECRET_HEADERS = ("authorization", "api-key", "x-api-key")
RESERVED = ("model", "messages", "stream", "n", "timeout")  # arguments of the call that `params` cannot set

HEADERS = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")  # variables that the package sends

Retries = Annotated[int, Field(strict=True, ge=0)]
NonNegative = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]


@validate_call(config=ConfigDict(strict=True))
def make(
    *,
    model: str,
    base_url: str,
    api_key_env: str | None,
    timeout_s: Positive,
    retries: Retries,
    backoff_s: NonNegative,
    params: dict[str, Any],
    usd_per_1m_input: NonNegative | None,
    usd_per_1m_output: NonNegative | None,
) -> Llm:
    """Make the model `model` at `base_url`; the key is in the environment variable `api_key_env`, None for no key.

    `params` go into the request as they are, without those that are None. `timeout_s` bounds a whole request. Raise
    `UserError` for a key, an address or an environment with which no request can be made.
    """
    params = {name: value for name, value in params.items() if value is not None}
    _check(base_url, params)
    server = _Server(model, base_url, _key(api_key_env), api_key_env)
    _check_environment(server)

    def ask(request: Request, folder: Path, seconds: float | None) -> Reply:
        del folder
        limit = timeout_s if seconds is None else min(timeout_s, seconds)
        try:
            return _parse(_run(_post(request, server, limit, params)), server)
        except NoAnswerError as failure:
            # A new error: the old one, and what it was raised from, may hold the key.
            kept = {name: getattr(failure, name) for name in ("transient", "wait_s", "usage", "of_request")}
            raise NoAnswerError(_scrub(failure.problem, server), **kept) from None

    price = None
    if usd_per_1m_input is not None and usd_per_1m_output is not None:
        price = Price(usd_per_1m_input, usd_per_1m_output)
    return Llm(model, {"provider": "openai", **params}, ask, retries, backoff_s, price)


def _run(body: Coroutine[Any, Any, str]) -> str:
    """`asyncio.run`, in a thread of its own where this one has a running event loop, as that of a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(body)
    thread = ThreadPoolExecutor(1)
    try:
        return thread.submit(asyncio.run, body).result()
    finally:
        thread.shutdown(wait=False)  # Ctrl-C does not wait for the answer


class _Server(NamedTuple):
    model: str
    base_url: str
    key: str
    key_variable: str | None


def _check(base_url: str, params: Mapping[str, Any]) -> None:
    try:
        parts = urlsplit(base_url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, is_url = None, False
    if parts is None or not is_url or not base_url.isprintable() or " " in base_url:
        raise UserError(f"llm.base_url must be of the form https://host/v1, got {replies.brief(repr(base_url))}")
    if "?" in base_url or "#" in base_url:
        raise UserError("llm.base_url must hold no '?' and no '#': parameters go into llm.params.extra_query")
    if base_url.rstrip("/").endswith(ENDPOINT):
        raise UserError(f"llm.base_url must end before {ENDPOINT}, which is added to it")
    if parts.password or parts.username:
        raise UserError("llm.base_url must not hold a user or a password: it is written into the transcript")
    for where, given in (("llm.params", params), ("llm.params.extra_body", params.get("extra_body"))):
        for name in given if isinstance(given, Mapping) else ():
            if name in RESERVED:
                raise UserError(f"{where} cannot set {name!r}: {', '.join(RESERVED)} are reserved")
    headers = params.get("extra_headers")
    for name in headers if isinstance(headers, Mapping) else ():
        if str(name).lower() in SECRET_HEADERS:
            problem = "it would be written into the transcript"
            raise UserError(f"llm.params.extra_headers cannot hold {name!r}: {problem}; set llm.api_key_env")


def _check_environment(server: _Server) -> None:
    """Raise `UserError` for an address, a proxy or certificates with which no request can be made."""
    import openai

    from qllm_jax.llm import http

    client = http.make()
    try:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key=server.key, http_client=client)
    except Exception as error:  # of the URL: its class is of a package below openai
        problem = f"got {replies.brief(repr(server.base_url))}: {replies.brief(str(error))}"
        raise UserError(f"llm.base_url must be of the form https://host/v1, {problem}") from error
    for name, value in client.default_headers.items():
        if isinstance(value, str) and not (re.fullmatch(r"[!-~]+", name) and re.fullmatch(r"[ -~]*", value)):
            problem = f"the header {replies.brief(name)!r} holds a line break or a letter that no header has"
            raise UserError(f"{problem}: correct {', '.join(HEADERS)}")


def _key(variable: str | None) -> str:
    if variable is None:
        return NO_KEY
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        # It may be the key itself: it is not repeated.
        raise UserError("llm.api_key_env must be the name of an environment variable, not a key")
    if not (key := os.environ.get(variable, "").strip()):
        raise UserError(f"llm needs a key: set the environment variable {variable} to it")
    if not re.fullmatch(r"[!-~]+", key):  # HTTP headers hold no other
        raise UserError(f"the key in {variable} holds a space, a line break or a letter that no key has: copy it again")
    return key


def _scrub(text: str, server: _Server) -> str:
    """Remove the key. A short one is no secret, and may be a part of any word."""
    return text if len(server.key) < SHORT_KEY else text.replace(server.key, f"<{server.key_variable}>")


def _parse(body: str, server: _Server) -> Reply:
    is_whole = len(server.key) >= WHOLE_KEY
    try:
        reply = replies.parse(_scrub(body, server) if is_whole else body, server.model)
    except NoAnswerError:  # which quotes the body, and may cut a key in two
        return replies.parse(_scrub(body, server), server.model)
    if not is_whole:
        return reply
    texts = {name: _scrub(text, server) for name, text in reply._asdict().items() if isinstance(text, str)}
    return reply._replace(**texts)  # once more: in JSON a key can be written in other ways


async def _post(request: Request, server: _Server, limit: float, params: dict[str, Any]) -> str:
    """Post the request and return the body of the answer. Raise `NoAnswerError` if there is none."""
    import openai

    from qllm_jax.llm import http

    def brief(text: object) -> str:
        return replies.brief(_scrub(str(text), server))  # in this order: a key that is cut in two is not found

    messages = [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]
    timeout = openai.Timeout(limit, connect=min(CONNECT_S, limit))
    options: Any = {"base_url": server.base_url, "api_key": server.key, "timeout": timeout, "max_retries": 0}
    try:
        # The client's own timeout is for silence, and a server under load may send blank lines (DeepSeek's does).
        async with asyncio.timeout(limit):
            async with openai.AsyncOpenAI(**options, http_client=http.make(timeout)) as client:
                create: Any = client.chat.completions.with_raw_response.create
                answer = await create(model=server.model, messages=messages, **params)
                return answer.http_response.content.decode(errors="replace")
    except (TimeoutError, openai.APITimeoutError):
        raise NoAnswerError(f"no answer within {limit:g} s", transient=True) from None
    except openai.APIConnectionError as error:
        if isinstance(error.__cause__, NoAnswerError):  # of our HTTP client
            raise error.__cause__ from None
        cause = brief(error.__cause__ or error) or type(error.__cause__ or error).__name__
        raise NoAnswerError(f"no connection to {server.base_url}, or it was lost: {cause}", transient=True) from None
    except openai.APIStatusError as error:
        raise _status(error, brief) from None
    except openai.OpenAIError as error:
        raise NoAnswerError(brief(error), transient=False) from None
    except TypeError as error:  # the package's own check of names
        problem = f"llm.params: {brief(error)}; other names go into llm.params.extra_body"
        raise NoAnswerError(problem, transient=False) from None
    except ValueError as error:  # of what no request can hold, such as a number that is not finite
        raise NoAnswerError(f"the request cannot be written: {brief(error)}", transient=False) from None


def _status(error: Any, brief: Callable[[object], str]) -> NoAnswerError:
    """Return the error for an HTTP status other than 200."""
    code, body = error.status_code, error.body
    message = body.get("message") if isinstance(body, dict) else None
    status = f"HTTP {code}: {brief(message if isinstance(message, str) else error.response.text)}"
    reasons = {
        401: "the server refuses the key",
        402: "the account is out of credit",
        403: "the server refuses the key",
        404: "the server has no such model or address (llm.model, llm.base_url)",
    }
    if code == 429 and error.code == "insufficient_quota":  # OpenAI: no credit, which a retry does not change
        return NoAnswerError(f"the account is out of credit ({status})", transient=False)
    transient = code in (408, 409, 425, 429) or code >= 500
    otherwise = "the server is busy or broken" if transient else "the server refuses the request"
    wait_s = _retry_after(error.response.headers) if transient else None
    problem = f"{reasons.get(code, otherwise)} ({status})"
    return NoAnswerError(problem, transient=transient, wait_s=wait_s, of_request=code in OF_REQUEST)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse the wait that the server asks for, in seconds. None if its headers name none, or one that is over."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            return float(text) * scale or None
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(moment.timestamp() - time.time(), 0.0) or None
    except (ValueError, TypeError, OverflowError, OSError, IndexError):  # of a year or zone that cannot be
        return None
