"""The Hub: a run is pushed to a local stand-in of it and comes back, also from the cache alone; errors in one line."""

import base64
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from urllib.parse import unquote, urlsplit

import cagan
import pytest
import yaml
from cagan.hub import parsed
from helpers import REPOSITORY, refusal, same_tensors

pytest.importorskip("huggingface_hub")


class Hub(http.server.BaseHTTPRequestHandler):
    """What the Hub answers to a push and a load. `store` has repository -> revision -> file -> content."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body=b"", status=200, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status, code):
        self.answer({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.seen.append((self.command, self.path))
        path = unquote(urlsplit(self.path).path)
        store = self.server.store
        if self.headers.get("Authorization") != "Bearer good":
            return self.answer({"error": "this token may not write"}, 403)
        if path == "/api/repos/create":
            name = f"me/{json.loads(body)['name'].split('/')[-1]}"
            store.setdefault(name, {"main": {}})
            return self.answer({"url": f"{self.server.address}/{name}"})
        if path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---")[1])
            return self.answer({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(me/\w+)/branch/(\w+)", path):
            store[found[1]].setdefault(found[2], dict(store[found[1]]["main"]))
            return self.answer({})
        if found := re.fullmatch(r"/api/models/(me/\w+)/preupload/(\w+)", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith((".safetensors", ".png")) else "regular" for name in names}
            files = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]
            return self.answer({"files": files})
        if found := re.fullmatch(r"/(me/\w+)\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            for entry in objects:
                entry["actions"] = {"upload": {"href": f"{self.server.address}/lfs/{entry['oid']}"}}
            return self.answer({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(me/\w+)/commit/(\w+)", path):
            branch = store[found[1]][found[2]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    branch[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    branch[value["path"]] = self.server.large[value["oid"]]
            commit = hashlib.sha1(repr(sorted(branch.items())).encode()).hexdigest()
            store[found[1]][commit] = dict(branch)
            address = f"{self.server.address}/{found[1]}/commit/{commit}"
            return self.answer({"success": True, "commitOid": commit, "commitUrl": address})
        return self.fail(404, "EntryNotFound")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(body).hexdigest() == self.path.rsplit("/", 1)[-1]
        self.server.large[self.path.rsplit("/", 1)[-1]] = body
        self.answer()

    def do_GET(self):
        self.server.seen.append((self.command, self.path))
        found = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/([\w.]+)", unquote(urlsplit(self.path).path))
        branches = self.server.store.get(found[1]) if found else None
        if branches is None:
            return self.fail(404, "RepoNotFound")
        if found[2] not in branches:
            return self.fail(404, "RevisionNotFound")
        if found[3] not in branches[found[2]]:
            return self.fail(404, "EntryNotFound")
        files = branches[found[2]]
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        branches.setdefault(commit, dict(files))
        content = files[found[3]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(content, X_Repo_Commit=commit, ETag=etag, Accept_Ranges="bytes")

    do_HEAD = do_GET  # noqa: N815  # the base class's name


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.store, server.large, server.seen = {}, {}, []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def python(hub, tmp_path):
    """Runs a program that knows the stand-in alone, and returns what it printed."""

    def python(*lines, **environment):
        own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "good"}
        program = "import cagan, warnings\nwarnings.simplefilter('ignore')\n" + "\n".join(lines)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | own | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return python


def test_a_run_is_pushed_and_comes_back_also_without_a_network(hub, python, used):
    run, folder = cagan.Run(used), used.parent
    scores = run.evaluate(cagan.dolls(folder / "other", 4, seed=5, size=(64, 64)), progress=False)
    load = "swapper = cagan.Swapper.from_hub('me/dress', {})\nprint(swapper.step, swapper.path)"
    address, at_once, of_branch = python(
        f"run = cagan.Run({str(used)!r})",
        "print(run.push_to_hub('me/dress', licence='mit', which='newest', message='first'))",
        load.format("device='cpu'"),
        f"open({str(folder / 'loaded.safetensors')!r}, 'wb').write(swapper.snapshot())",
        f"import os; os.remove({str(used / 'evaluation.json')!r})",
        "run.push_to_hub('me/dress', revision='other')",
        load.format("revision='other'"),
    )
    branches = hub.store["me/dress"]
    files, commit = branches["main"], address.rsplit("/", 1)[1]
    assert branches[commit] == files
    assert (at_once.split()[0], of_branch.split()[0]) == ("4", "4")
    assert f"/snapshots/{commit}/model.safetensors" in at_once
    assert commit not in of_branch

    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert cagan.Config.from_json(files["config.json"].decode()) == run.config
    assert files["samples.png"] == run.samples[-1].read_bytes()
    assert files["model.safetensors"] == (folder / "loaded.safetensors").read_bytes()
    assert same_tensors(folder / "loaded.safetensors", run.snapshots[-1])
    _, head, card = files["README.md"].decode().split("---\n", 2)
    header = yaml.safe_load(head)
    assert (header["library_name"], header["pipeline_tag"], header["license"]) == ("cagan", "image-to-image", "mit")
    finite = {name: round(value, 4) for name, value in scores.items() if value == value}
    (model,) = header["model-index"]
    assert header["metrics"] == list(finite)
    assert {metric["type"]: metric["value"] for metric in model["results"][0]["metrics"]} == finite
    assert 'cagan.Swapper.from_hub("me/dress")' in card
    assert "](samples.png)" in card
    assert scores.verdict in card
    header = yaml.safe_load(branches["other"]["README.md"].decode().split("---\n")[1])
    assert not {"license", "metrics", "model-index"} & set(header)

    # From the cache alone: offline, on the command line too, and a commit with the Hub out of reach.
    assert [path for command, path in hub.seen if command == "GET" and path.endswith("config.json")]
    hub.seen.clear()
    picture, out = str(cagan.Pairs(folder / "other")[0].human_path), folder / "swap.png"
    words = ["cagan", "swap", "hf://me/dress", picture, picture, "--worn", picture, "--out", str(out)]
    main = ["import sys", "from cagan.cli import main", f"sys.argv = {words}", "main()"]
    (offline, said) = python(load.format(""), *main, HF_HUB_OFFLINE="1")
    assert (offline, said) == (at_once, str(out))
    assert out.is_file()
    assert python(load.format(f"revision={commit!r}"), HF_ENDPOINT="http://127.0.0.1:9") == [at_once]
    assert hub.seen == []


def test_the_guide_of_the_hub_runs_as_written(hub, python, used):
    guide = (REPOSITORY / "docs" / "guide" / "deploy.md").read_text()
    (block,) = [part for part in re.findall(r"^```py\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL) if "_hub" in part]
    (used.parent / "runs").mkdir()
    used.rename(used.parent / "runs" / "first")
    python(f"import os; os.chdir({str(used.parent)!r})", block)
    assert "license: cc-by-nc-4.0" in hub.store["me/dress"]["main"]["README.md"].decode()


def test_errors_of_the_hub_are_one_line(hub, python, used):
    hub.store["me/other"] = {"main": {"config.json": b'{"model_type": "bert"}'}}
    hub.store["me/half"] = {"main": {"config.json": cagan.Run(used).config.to_json().encode()}}
    run = f"cagan.Run({str(used)!r})"
    calls = {
        "cagan.Swapper.from_hub('me/none')": ("FileNotFoundError", "me/none: expected a repository"),
        "cagan.Swapper.from_hub('me/half', revision='old')": ("FileNotFoundError", "me/half at old: expected a branch"),
        "cagan.Swapper.from_hub('me/half')": ("FileNotFoundError", "me/half: expected config.json and model.safe"),
        "cagan.Swapper.from_hub('me/other')": ("ValueError", "me/other: expected a model of cagan, got another"),
        "cagan.Swapper.from_hub('a/b/c')": ("ValueError", "a/b/c: expected a repository as OWNER/MODEL"),
        f"{run}.push_to_hub('me/x', token='bad')": ("PermissionError", "this token may not write"),
        f"{run}.push_to_hub('me/x', which=3)": ("ValueError", "step 3"),
    }
    caught = "try:\n    {}\nexcept Exception as error:\n    print(type(error).__name__, str(error))"
    said = python(*map(caught.format, calls))
    assert len(said) == len(calls)
    for line, (kind, text) in zip(said, calls.values()):
        assert line.startswith(f"{kind} "), line
        assert text in line
    lost = "FileNotFoundError me/gone: expected an answer of the Hub or a copy in its cache, got neither"
    gone = [caught.format("cagan.Swapper.from_hub('me/gone')"), caught.format(f"{run}.push_to_hub('me/x')")]
    assert python(*gone, HF_HUB_OFFLINE="1") == [
        lost,
        "ConnectionError me/x: HF_HUB_OFFLINE is set, so that nothing is sent to the Hub",
    ]
    # The library waits longer before each further try.
    at_once = "import time; time.sleep = lambda _: None"
    out_of_reach = python(at_once, *gone, HF_ENDPOINT="http://127.0.0.1:9")
    assert out_of_reach[0] == lost
    assert out_of_reach[1].startswith("ConnectionError me/x: expected an answer of the Hub, got none: ")


def test_names_on_the_command_line(call, tmp_path):
    assert parsed("hf://me/dress@v1") == ("me/dress", "v1")
    for text in ("hf://me", "hf://me/dress/model.safetensors", "hf:///x", "hf://me/", "me/dress"):
        refusal(ValueError, lambda text=text: parsed(text), text, "hf://OWNER/MODEL")
    code, _, err = call("export", "hf://me", tmp_path / "a.safetensors")
    assert code == 2
    assert "hf://OWNER/MODEL" in err


def test_no_library_is_an_import_error_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refusal(ImportError, lambda: cagan.Swapper.from_hub("me/dress"), "huggingface_hub", "cagan[hub]")
