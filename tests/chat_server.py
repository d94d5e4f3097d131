"""A server on loopback that speaks OpenAI's chat completions, and misbehaves on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

CREATED = 1_780_272_000  # 2026-06-01, in every answer: files do not depend on the day of the test


class Answer(NamedTuple):
    """Response of the server to one request."""

    body: str | bytes
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    how: str = "whole"  # or "drop" (no answer), "cut" (half of the body), "stall" (nothing), "drip" (blank lines)


class Server(NamedTuple):
    url: str
    requests: list[dict[str, Any]]  # bodies, as they came in
    headers: list[dict[str, str]]

    @property
    def questions(self) -> list[str]:
        """The user's messages."""
        return [request["messages"][1]["content"] for request in self.requests]


def completion(text: Any, finish: str | None = "stop", usage: Any = (100, 20), **message: Any) -> Answer:
    """A well-formed answer; `message` adds fields to its message."""
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": "loopback-1",
        "choices": [{"index": 0, "finish_reason": finish,
                     "message": {"role": "assistant", "content": text, **message}}],
    }  # fmt: skip
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(json.dumps(body))


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    body = json.dumps({"error": {"message": message, "type": "server_error", "code": code}})
    return Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer]) -> Iterator[Server]:
    """Serve `answer(request, number of requests before it)`."""
    requests: list[dict[str, Any]] = []
    headers: list[dict[str, str]] = []
    closing, turn = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                requests.append(request)
                headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = answer(request, len(requests) - 1) if self.path == "/v1/chat/completions" else error(404, "?")
            _send(self, reply, closing)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}/v1", requests, headers)
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _send(handler: BaseHTTPRequestHandler, answer: Answer, closing: threading.Event) -> None:
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    handler.close_connection = True
    if answer.how == "drop":
        return
    if answer.how == "stall":
        closing.wait(60)
        return
    handler.send_response(answer.status)
    content = {"Content-Type": "application/json", **answer.headers}
    if answer.how != "drip":  # without a length the body lasts until the connection is closed
        content["Content-Length"] = str(len(body))
    for name, value in content.items():
        handler.send_header(name, value)
    handler.end_headers()
    try:
        while answer.how == "drip" and not closing.wait(0.02):
            handler.wfile.write(b"\n")
        handler.wfile.write(body[: len(body) // 2] if answer.how == "cut" else body)
    except OSError:
        pass  # the client has gone
