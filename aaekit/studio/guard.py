"""Who may ask the server what: a token, the page's own host and origin, and bodies of limited size."""

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

__all__ = ["MAX_BODY", "Guard", "cookie_name"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY = 16 * 2**20  # bytes of a request
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def cookie_name(port: int) -> str:
    """The name of the cookie of a server; browsers share cookies among the ports of a host."""
    return f"aae-studio-{port}"


class Guard:
    """A layer around the application that lets pass what its own page asks.

    Parameters
    ----------
    app : callable
        The application (ASGI).
    token : str
        Each request has it in its cookie or in the header Authorization (Bearer); the link of the page in its query.
    hosts : set of str
        Host names by which the server may be called, with the port. Other names lead here by a foreign page that was
        moved to this address (DNS rebinding).
    port : int
        For the name of the cookie.
    ancestors : str, default "'none'"
        Pages that may show the application in a frame, as in the header Content-Security-Policy.
    """

    app: App
    token: str
    hosts: set[str]
    cookie: str

    def __init__(self, app: App, token: str, hosts: set[str], port: int, ancestors: str = "'none'") -> None:
        self.app, self.token, self.hosts, self.cookie = app, token, hosts, cookie_name(port)
        policy = "content-security-policy"
        self._headers = HEADERS | {policy: HEADERS[policy] + ancestors}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        by_link = self._is_token(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = dict(self._headers)
                if by_link:
                    extra["set-cookie"] = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                names = {name.lower() for name, _ in message.get("headers", ())}
                pairs = [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in names]
                message["headers"] = [*message.get("headers", ()), *pairs]
            await send(message)

        if problem := self._problem(scope, headers, by_link):
            await _refuse(answer, *problem)
            return
        await self.app(scope, _limited(receive), answer)

    def _problem(self, scope: Mapping[str, Any], headers: Mapping[str, str], by_link: bool) -> tuple[int, str] | None:
        """Status and reason for which a request is refused."""
        if headers.get("host", "") not in self.hosts:
            return 421, "expected this machine's own address, got another host: open the link that aae studio printed"
        is_question = scope["method"] in ("GET", "HEAD")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            return 403, "expected the studio's own page, got another origin"
        by_header = self._is_token(headers.get("authorization", "").removeprefix("Bearer "))
        if not by_header and not is_question and origin is None:
            return 403, "expected an origin, got none"
        if not (by_header or (by_link and is_question) or self._is_token(self._in_cookie(headers))):
            return 403, "expected the token of this studio, got none or another: open the link that aae studio printed"
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,12}", length) or int(length) > MAX_BODY:
            return 413, f"expected at most {MAX_BODY >> 20} MiB, got more: send less"
        return None

    def _in_cookie(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())


def _limited(receive: Receive) -> Receive:
    """The same messages, until the body is too large."""
    n_bytes = 0

    async def limited() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > MAX_BODY:
            return {"type": "http.disconnect"}
        return message

    return limited


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = reason.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
