"""A Hub on this machine that has one repository: what huggingface_hub asks the real one; and what was asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub.utils.sha import git_hash

from .hub_cache import COMMIT, REPOSITORY, hash_on_hub, is_large, names_of


class HubServer:
    """Serves a folder as a repository while it is open; ``/requests`` returns what was asked since the last time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, names_of(folder)
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> Any:
        """Return what the API says, or None where there is nothing."""
        if not path.startswith(f"/api/models/{REPOSITORY}"):
            return None
        if "/tree/" in path:
            return [self._entry(name) for name in self.names]
        siblings = [{"rfilename": name} for name in self.names]
        return {
            "id": REPOSITORY,
            "modelId": REPOSITORY,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "private": False,
        }

    def file(self, path: str) -> Path | None:
        """Return the file that ``/OWNER/NAME/resolve/REVISION/FILE`` means, or None where there is none."""
        parts = unquote(path).lstrip("/").split("/", 4)
        return self.folder / parts[4] if len(parts) == 5 and parts[4] in self.names else None

    def _entry(self, name: str) -> dict[str, Any]:
        return {
            "type": "file",
            "path": name,
            **stored(self.folder / name),
        }


def stored(file: Path) -> dict[str, Any]:
    """Return what the Hub says of how it keeps a file: of a large one git has a pointer only."""
    size, known = file.stat().st_size, hash_on_hub(file)
    if not is_large(file):
        return {"size": size, "oid": known}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{known}\nsize {size}\n".encode()
    return {"size": size, "oid": git_hash(pointer), "lfs": {"oid": known, "size": size, "pointerSize": len(pointer)}}


def _handler_of(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._respond(with_body=False)

        def do_GET(self) -> None:
            self._respond(with_body=True)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def _respond(self, *, with_body: bool) -> None:
            path = urlsplit(self.path).path
            if path == "/requests":
                asked, hub.asked = hub.asked, []
                return self._send(200, json.dumps(asked).encode(), {}, with_body)
            hub.asked.append(f"{self.command} {path}")
            known = {"X-Repo-Commit": COMMIT}
            if path.startswith(f"/{REPOSITORY}/resolve/"):
                file = hub.file(path)
                if file is None:
                    return self._send(404, b"", {**known, "X-Error-Code": "EntryNotFound"}, with_body)
                return self._send(200, file.read_bytes(), {**known, "ETag": f'"{hash_on_hub(file)}"'}, with_body)
            answer = hub.answer(path)
            if answer is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
            return self._send(200, json.dumps(answer).encode(), known, with_body)

        def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler
