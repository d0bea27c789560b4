# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Speaks HTTP to the API over its unix socket, as raw as a test needs it, and checks every answer
against the API's own description."""
import http.client
import json
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse

from jsonschema import Draft202012Validator, RefResolver

DEADLINE = 20
# Items of a list that are checked against their schema.
SAMPLE = 10


def connect(path):
    """Waits for a place in the server's queue: a socket with a timeout would get EAGAIN."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = connect(self.path)
        self.sock.settimeout(self.timeout)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def type(self):
        return self.headers.get("Content-Type", "").split(";")[0]

    def json(self):
        return json.loads(self.body)


class Description:
    """The OpenAPI document: which schema an answer of a path has."""

    def __init__(self, document):
        self.document = document
        self.resolver = RefResolver("", document)
        self.paths = []
        for pattern in document["paths"]:
            expression = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(pattern))
            self.paths.append((pattern.count("{"), pattern, re.compile(expression + "$")))
        self.paths.sort()

    def pattern(self, path):
        for _, pattern, expression in self.paths:
            if expression.match(path):
                return pattern
        return None

    def validate(self, schema, value):
        Draft202012Validator(schema, resolver=self.resolver).validate(value)

    def validate_named(self, name, value):
        self.validate({"$ref": "#/components/schemas/" + name}, value)

    def check(self, method, target, answer):
        pattern = self.pattern(target.split("?")[0])
        if answer.type == "application/problem+json":
            self.validate_named("Problem", answer.json())
            assert answer.json()["status"] == answer.status
            return
        assert pattern, "%s is not described" % target
        responses = self.document["paths"][pattern][method.lower()]["responses"]
        assert str(answer.status) in responses, (target, answer.status)
        content = responses[str(answer.status)]["content"]
        assert answer.type in content, (target, answer.type)
        if answer.type == "application/json":
            value = answer.json()
            # jsonschema takes a millisecond an item; long lists are of one kind.
            if len(value.get("items", [])) > SAMPLE:
                value["items"] = value["items"][:: len(value["items"]) // SAMPLE]
            self.validate(content[answer.type]["schema"], value)


class Api:
    """An API on a unix socket."""

    def __init__(self, path):
        self.path = path
        self.covered = set()
        self.description = None
        self.description = Description(self.get("/openapi/v3.json").json())

    def request(self, method, target, body=None, headers=None, port=None):
        if port is None:
            connection = Connection(self.path)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, target, body=body, headers=headers)
        answer = Answer(connection.getresponse())
        connection.close()
        if self.description and method in ("GET", "POST", "DELETE"):
            self.description.check(method, target, answer)
            if answer.status < 300:
                self.covered.add((method, self.description.pattern(target.split("?")[0])))
        return answer

    def get(self, target, **query):
        if query:
            pairs = [(k, v) for k, vs in query.items()
                     for v in (vs if isinstance(vs, list) else [vs])]
            target += "?" + urllib.parse.urlencode(pairs)
        return self.request("GET", target)

    def raw(self, data):
        """Sends bytes as they are; everything that comes back until the end."""
        s = connect(self.path)
        s.settimeout(DEADLINE)
        s.sendall(data)
        out = b""
        try:
            while chunk := s.recv(65536):
                out += chunk
        except ConnectionResetError:
            pass
        finally:
            s.close()
        return out

    def pages(self, target, **query):
        """Items of all pages."""
        items, cursor = [], None
        while True:
            page = self.get(target, **query, **({"continue": cursor} if cursor else {})).json()
            items += page["items"]
            cursor = page["metadata"].get("continue")
            if not cursor:
                return items


class Fixture(Api):
    def __init__(self, program, *args):
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-api-")
        path = self.folder.name + "/api.sock"
        self.process = subprocess.Popen(
            [program, "--socket", path, *args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ready", self.process.stderr.read()
        self.port, self.health_port = int(line[1]), int(line[2])
        super().__init__(path)

    def stop(self):
        """The exit status: a sanitizer's finding or a leak makes it non-zero."""
        _, errors = self.process.communicate(timeout=DEADLINE)
        self.folder.cleanup()
        if self.process.returncode != 0:
            print(errors)
        return self.process.returncode

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == "ok\n", (line, answer)


class Watch:
    def __init__(self, fixture, target):
        self.fixture = fixture
        self.connection = Connection(fixture.path)
        self.connection.request("GET", target)
        self.response = self.connection.getresponse()
        assert self.response.status == 200, (self.response.status, self.response.read())

    def next(self):
        line = self.response.readline()
        if not line:
            return None
        event = json.loads(line)
        self.fixture.description.validate_named("WatchEvent", event)
        return event

    def until_bookmark(self):
        events = []
        while (event := self.next())["type"] != "BOOKMARK":
            events.append(event)
        return events, event["object"]["metadata"]["resourceVersion"]

    def close(self):
        self.response.close()
        self.connection.close()


def wait_for(check, what):
    end = time.monotonic() + DEADLINE
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)
