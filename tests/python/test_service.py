"""The web service: swaps over HTTP, gathered; limits and mistakes as JSON; a cache by content; the command."""

import asyncio
import io
import signal
import subprocess
import threading

import cagan
import numpy as np
import pytest
from cagan import service
from helpers import Server, command, refusal
from PIL import Image

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette")


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


@pytest.fixture
def files(pairs):
    return {"human": png(pairs[0].human), "worn": png(pairs[0].article), "target": png(pairs[1].article)}


def asked(app, *requests, together=False):
    """Sends requests to an application: the arguments of each `httpx.AsyncClient.request`."""

    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            if together:
                return await asyncio.gather(*(client.request(**request) for request in requests))
            return [await client.request(**request) for request in requests]

    return asyncio.run(ask())


def swap(files, **data):
    return {"method": "POST", "url": "/swap", "files": files, "data": data}


def test_a_form_becomes_a_swap(swapper, pairs, files):
    app = cagan.asgi(swapper)
    expected = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    forms = [{}, {"format": "png"}, {"format": "png", "part": "mask"}, {"format": "jpg"}]
    answers = asked(app, *(swap(files, **form) for form in forms))
    assert [answer.status_code for answer in answers] == [200] * 4
    types = [answer.headers["content-type"] for answer in answers]
    assert types == ["image/webp", "image/png", "image/png", "image/jpeg"]
    # Lossless, but for the JPEG.
    for answer, array in zip(answers, (expected.image, expected.image, expected.mask)):
        assert np.array_equal(pixels(answer.content), array)
    assert pixels(answers[3].content).shape == expected.image.shape
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_is_served_and_that_it_lives(swapper, files):
    app = cagan.asgi(swapper, max_batch=3, wait_ms=5, max_bytes=1000_000, max_pixels=5000)
    before, _, health, metadata = asked(
        app,
        {"method": "GET", "url": "/healthz"},
        swap(files),
        {"method": "GET", "url": "/healthz"},
        {"method": "GET", "url": "/metadata"},
    )
    assert before.json() == {"status": "ok", "waiting": 0, "served": 0}
    assert health.json() == {"status": "ok", "waiting": 0, "served": 1}
    about = metadata.json()
    assert about["cache"].items() >= {"entries": 4, "hits": 0}.items()
    assert about["cache"]["bytes"] > 3 * 64 * 64 * 3
    assert {
        name: about[name] for name in ("step", "needs_worn", "max_batch", "wait_ms", "max_bytes", "max_pixels")
    } == {
        "step": swapper.step,
        "needs_worn": True,
        "max_batch": 3,
        "wait_ms": 5,
        "max_bytes": 1000_000,
        "max_pixels": 5000,
    }
    assert about["image_size"] == [64, 64]
    assert str(swapper.path.parent) not in metadata.text


def test_requests_that_come_together_are_swapped_together(swapper, pairs, monkeypatch):
    sizes, whole = [], service._Service._swapped
    begun, go_on = threading.Event(), threading.Event()

    def counted(self, rows):
        # The first waits until all others have come, however slow the machine is.
        begun.set()
        assert go_on.wait(60)
        sizes.append(len(rows))
        return whole(self, rows)

    monkeypatch.setattr(service._Service, "_swapped", counted)
    app = cagan.asgi(swapper, max_batch=4, wait_ms=1)
    targets = [pair.article for pair in pairs]
    requests = [
        swap({"human": png(pairs[k].human), "worn": png(pairs[k].article), "target": png(targets[k - 1])}, format="png")
        for k in range(8)
    ]

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            tasks = [asyncio.create_task(client.request(**requests[0]))]
            while not begun.is_set():
                await asyncio.sleep(0.001)
            tasks += [asyncio.create_task(client.request(**request)) for request in requests[1:]]
            while (await client.get("/healthz")).json()["waiting"] < 7:
                await asyncio.sleep(0.001)
            go_on.set()
            return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert sizes == [1, 4, 3]
    for k, answer in enumerate(answers):
        expected = swapper.swap(pairs[k].human, pairs[k].article, targets[k - 1])
        assert np.array_equal(pixels(answer.content), expected.image), "each gets its own swap"


def test_with_and_without_the_worn_article(pairs, files):
    dolls = cagan.Swapper("dolls", "cpu")
    app = cagan.asgi(dolls, wait_ms=200)
    some = {name: content for name, content in files.items() if name != "worn"}
    known, unknown, region = asked(
        app, swap(files, format="png"), swap(some, format="png"), swap(files, part="located"), together=True
    )
    pictures = pairs[0].human, pairs[0].article, pairs[1].article
    assert np.array_equal(pixels(known.content), dolls.swap(*pictures).image)
    assert np.array_equal(pixels(unknown.content), dolls.swap(pictures[0], target=pictures[2]).image)
    assert region.status_code == 200


def test_mistakes_of_the_sender_are_told_as_json(swapper, files):
    app = cagan.asgi(swapper, max_bytes=200_000, max_pixels=64 * 64)
    large = png(np.zeros((65, 64, 3), np.uint8))
    cases = [
        ({"method": "GET", "url": "/swap"}, 405, "Method Not Allowed"),
        ({"method": "GET", "url": "/nothing"}, 404, "Not Found"),
        (
            {"method": "POST", "url": "/swap", "json": {}},
            415,
            "content-type: expected multipart/form-data, got application/json",
        ),
        (swap({"human": files["human"], "target": files["target"]}), 400, "worn: expected a file, got none"),
        (swap(files | {"hat": files["human"]}), 400, "the form: Too many files"),
        (swap({"hat": files["human"]}), 400, "hat: expected the files human, worn, target, got another"),
        (swap({"worn": files["worn"]}, human="x.jpg"), 400, "human: expected a file, got a text"),
        (swap(files, size="9"), 400, "size: no such field"),
        (swap(files, format="gif"), 400, "format: expected webp, png, jpg, got gif"),
        (swap(files, part="hat"), 400, "part: expected image, mask, paint, located, got hat"),
        (swap(files, part="located"), 422, "part: expected"),
        (swap(files | {"worn": b"no picture"}), 422, "worn: cannot be decoded"),
        (swap(files | {"target": b""}), 422, "target: cannot be decoded"),
        (swap(files | {"human": large}), 413, "human: expected a picture of at most 4096 pixels, got 65 x 64"),
        (swap(files | {"human": b"x" * 200_001}), 413, "the request: expected at most 200000 bytes, got more"),
    ]
    cut = {"content": b"--x\r\nContent-Dis", "headers": {"content-type": "multipart/form-data; boundary=x"}}
    cases.append(({"method": "POST", "url": "/swap", **cut}, 400, "human: expected a file, got none"))
    answers = asked(app, *(request for request, _, _ in cases))
    for answer, (request, status, text) in zip(answers, cases):
        assert answer.status_code == status, (request, answer.text)
        assert text in answer.json()["error"]
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="human"; filename="a"\r\n\r\n'
        while True:
            yield b"x" * 65536

    streamed = {"content": endless(), "headers": {"content-type": "multipart/form-data; boundary=x"}}
    # Without a length the bytes are counted as they come.
    (answer,) = asked(app, {"method": "POST", "url": "/swap", **streamed})
    assert answer.status_code == 413
    (answer,) = asked(app, swap(files))
    assert answer.status_code == 200


def test_a_failure_says_nothing_of_the_machine(swapper, files, monkeypatch):
    def fail(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(service._Service, "_swapped", fail)
    app = cagan.asgi(swapper)
    (answer,) = asked(app, swap(files))
    assert (answer.status_code, answer.json()) == (500, {"error": "the swap failed"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    monkeypatch.undo()
    (answer,) = asked(app, swap(files))
    assert answer.status_code == 200


def test_too_many_are_told_to_come_again_and_one_alone_never(swapper, files, monkeypatch):
    monkeypatch.setattr(service, "_IN_WORK", 1)
    app = cagan.asgi(swapper)
    answers = asked(app, *[swap(files)] * 4, together=True)
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503, 503]
    assert {answer.headers.get("retry-after") for answer in answers} == {None, "1"}
    # What was in work is free again.
    assert [answer.status_code for answer in asked(app, swap(files), swap(files | {"human": b""}), swap(files))] == [
        200,
        422,
        200,
    ]


def test_the_cache_keeps_the_pictures_used_last_within_its_limit():
    cache = service._Cache(3 * 300)
    pictures = [np.full((10, 10, 3), k, np.uint8) for k in range(5)]
    for k in range(3):
        cache.put(b"%d" % k, pictures[k])
    assert cache.get(b"0") is pictures[0]
    cache.put(b"3", pictures[3])
    assert cache.get(b"1") is None
    assert cache.get(b"0") is pictures[0]
    assert cache.state() == {"entries": 3, "bytes": 900, "hits": 2}
    cache.put(b"large", np.zeros((20, 20, 3), np.uint8))
    assert cache.get(b"large") is None
    assert cache.state()["entries"] == 3
    nothing = service._Cache(0)
    nothing.put(b"0", pictures[0])
    assert nothing.state() == {"entries": 0, "bytes": 0, "hits": 0}


def test_a_picture_that_comes_again_is_decoded_once(swapper, files, monkeypatch):
    decoded, whole = [], service._size_of
    monkeypatch.setattr(service, "_size_of", lambda content: decoded.append(content) or whole(content))
    app = cagan.asgi(swapper)
    other = files | {"target": files["worn"]}
    first, again, _, about = asked(app, swap(files), swap(files), swap(other), {"method": "GET", "url": "/metadata"})
    assert first.content == again.content
    assert len(decoded) == 3
    # The person is looked at once, for any number of targets; twice the target was there, once as a worn article.
    assert (about.json()["cache"]["entries"], about.json()["cache"]["hits"]) == (4, 4)


def test_each_gets_the_look_of_its_own_person(pairs):
    dolls = cagan.Swapper("dolls", "cpu")
    app = cagan.asgi(dolls, wait_ms=200)
    rows = [(0, 0, 2), (0, 0, 3), (1, 1, 2), (0, 1, 2), (0, None, 2), (0, 0, 4)]
    forms = []
    for person, worn, target in rows:
        form = {"human": png(pairs[person].human), "target": png(pairs[target].article)}
        forms.append(swap(form | ({} if worn is None else {"worn": png(pairs[worn].article)}), format="png"))
    answers = [*asked(app, *forms, together=True), *asked(app, *forms)]
    for answer, (person, worn, target) in zip(answers, rows * 2):
        known = None if worn is None else pairs[worn].article
        assert np.array_equal(
            pixels(answer.content), dolls.swap(pairs[person].human, known, pairs[target].article).image
        )


def test_limits_are_checked(swapper):
    for name, value, rule in (
        ("max_batch", 0, "1 or more"),
        ("wait_ms", -1, "0 or more"),
        ("max_pixels", 0, "1 or more"),
    ):
        refusal(ValueError, lambda name=name, value=value: cagan.asgi(swapper, **{name: value}), name, rule, value)
    refusal(ValueError, lambda: cagan.serve(swapper, port=70000), "port: expected 0 to 65535, got 70000")
    refusal(FileNotFoundError, lambda: cagan.asgi("nowhere"), "nowhere")


def test_it_mounts_into_another_application(swapper, files):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/try", cagan.asgi(swapper))])
    (answer,) = asked(outer, swap(files) | {"url": "/try/swap"})
    assert answer.status_code == 200


# The command


def test_the_command_serves_this_machine_and_ends_in_order(run, pairs, files):
    server = Server(command("serve", run.path, "--port", "0", "--device", "cpu"), browser=True)
    try:
        with httpx.Client(base_url=server.address) as client:
            assert client.get("/healthz").json()["status"] == "ok"
            answer = client.post("/swap", files=files, data={"format": "png"})
            assert answer.status_code == 200
            assert np.array_equal(
                pixels(answer.content), run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article).image
            )
            assert "server" not in answer.headers
            # Another name of this machine, or another page, is a stranger.
            for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
                refused = client.get("/metadata", headers=headers)
                assert (refused.status_code, list(refused.json())) == (403, ["error"])
            assert client.get("/metadata", headers={"Origin": server.address.rstrip("/")}).status_code == 200
            port = server.address.rstrip("/").rsplit(":", 1)[1]
            taken = command("serve", run.path, "--port", port)
            done = subprocess.run(taken, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
    finally:
        code, out, err = server.stop(signal.SIGTERM)
    assert (code, out, err) == (143, "", "stopped\n")
