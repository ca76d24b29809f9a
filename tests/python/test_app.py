"""The app in a real browser: swaps as `Swapper.swap` does, no file kept, no other machine asked."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cagan
import numpy as np
import pytest
from helpers import (
    Server,
    assert_admits_its_user_alone,
    assert_hands_the_address_over_unseen,
    read_png,
    read_tensors,
    refusal,
    status,
    write_tensors,
)
from PIL import Image

# Runs the command and prints every address of another machine that it asks for.
PROGRAM = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = arguments[1] if event == "socket.connect" else arguments[:1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1", None):
            print("ASKED", event, address, file=sys.stderr, flush=True)

sys.addaudithook(watch)
from cagan.cli import main
main()
"""


class App(Server):
    """`cagan app` with its temporary files in a folder of its own."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        command = [sys.executable, "-c", PROGRAM, "app", *map(str, arguments)]
        super().__init__(command, env={**os.environ, "TMPDIR": str(folder)})


@pytest.fixture(scope="module")
def server(run, pairs_dir, tmp_path_factory):
    started = App(tmp_path_factory.mktemp("app"), run.path, "--pairs", pairs_dir)
    yield started
    started.kill()


@pytest.fixture
def page(browser, server):
    """The page, which must not ask for anything elsewhere."""
    opened = browser.new_page(viewport={"width": 1300, "height": 1000})
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(server.address)
    opened.wait_for_selector("#go")
    yield opened
    opened.close()
    assert errors == []
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []


def upload(page, name, path):
    page.set_input_files(f"#{name} input[type=file]", str(path))
    page.wait_for_selector(f"#{name} img")


TABS = {"halves": "slide", "over": "overlay", "mask": "mask", "paint": "paint"}


def shown(page, name):
    """The pixels behind a picture on the page."""
    if name in TABS:
        page.get_by_role("tab", name=TABS[name], exact=True).click()
    page.wait_for_selector(f"#{name} img", timeout=60_000)
    with urllib.request.urlopen(page.get_attribute(f"#{name} img", "src"), timeout=30) as answer:
        content = answer.read()
    return read_png(content)


def test_an_upload_is_swapped_to_the_byte(page, server, run, pairs, tmp_path):
    # A photo larger than the networks' input, with an EXIF orientation, with a name that would be broken HTML.
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "<b>&.jpg"
    Image.fromarray(pairs[0].human).resize((300, 200)).save(photo, exif=exif, quality=90)
    paths = (photo, pairs[0].article_path, pairs[1].article_path)
    for name, path in zip(("human", "worn", "target"), paths):
        upload(page, name, path)
    page.click("#go")
    swap = run.swapper().swap(*paths)
    assert swap.image.shape == (300, 200, 3)
    assert np.array_equal(shown(page, "swapped"), swap.image)
    assert np.array_equal(shown(page, "mask"), swap.mask)
    assert np.array_equal(shown(page, "paint"), swap.paint)
    # The button downloads the same picture.
    page.get_by_role("tab", name="result").click()
    with page.expect_download() as download:
        page.click("#swapped [aria-label=Download], #swapped a[download]")
    with Image.open(download.value.path()) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), swap.image)
    assert any(server.folder.rglob("*.jpg")), "uploads lie in the server's own folder"


def pick(page, gallery, number, *names):
    """Picks from a gallery and waits for the inputs that follow."""
    page.wait_for_selector(f"#{gallery} button img")
    page.locator(f"#{gallery} button:has(img)").nth(number).click()
    for name in names:
        page.wait_for_selector(f"#{name} img")


def eventually(page, condition):
    """Waits until a condition holds."""
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{page.inner_text('body')}")


def test_a_picked_pair_is_swapped_at_once(page, run, pairs):
    pick(page, "people", 2, "human", "worn")
    assert np.array_equal(shown(page, "human"), pairs[2].human)
    assert page.locator("#swapped img").count() == 0
    pick(page, "articles", 5, "target")
    swapper = run.swapper()
    swap = swapper.swap(pairs[2].human, pairs[2].article, pairs[5].article)
    assert np.array_equal(shown(page, "swapped"), swap.image)
    # The next pick swaps anew.
    pick(page, "articles", 6)
    swap = swapper.swap(pairs[2].human, pairs[2].article, pairs[6].article)
    eventually(page, lambda: np.array_equal(shown(page, "swapped"), swap.image))
    assert "64 x 64 pixels in" in page.inner_text("#said")
    assert f"{(swap.mask > 0).mean():.0%} of them repainted" in page.inner_text("#said")
    # An upload of another person takes the picked person's article away, and waits for one.
    page.set_input_files("#human input[type=file]", str(pairs[3].human_path))
    page.wait_for_selector("#worn img", state="detached")


def test_before_and_after_and_the_mask_on_the_photo(page, run, pairs):
    pick(page, "people", 1, "human", "worn")
    pick(page, "articles", 4, "target")
    swap = run.swapper().swap(pairs[1].human, pairs[1].article, pairs[4].article)
    shown(page, "swapped")
    page.get_by_role("tab", name="slide").click()
    page.wait_for_selector("#halves img")
    halves = [page.locator("#halves img").nth(k).get_attribute("src") for k in range(2)]
    for url, picture in zip(halves, (pairs[1].human, swap.image)):
        with urllib.request.urlopen(url, timeout=30) as answer, Image.open(answer) as look:
            # A small picture is enlarged.
            assert look.size == (640, 640)
            error = np.asarray(look.convert("RGB").resize((64, 64), Image.Resampling.BOX)).astype(int) - picture
        assert np.abs(error).mean() < 4
    page.get_by_role("tab", name="overlay").click()
    page.wait_for_selector("#over img")
    labels = page.inner_text("#over").splitlines()
    assert "repainted" in labels
    assert "worn article found" not in labels, "the smoke preset finds none"
    laid = page.locator("#over img").nth(1).get_attribute("src")
    with urllib.request.urlopen(laid, timeout=30) as answer, Image.open(answer) as mask:
        alpha = np.asarray(mask.resize((64, 64), Image.Resampling.BOX))[:, :, 3].astype(float)
    assert np.corrcoef(alpha.ravel(), swap.mask.ravel())[0, 1] > 0.95


def test_one_person_in_all_articles(page, run, pairs):
    pick(page, "people", 1, "human", "worn")
    page.click("#every")
    page.wait_for_selector("text=This person in 8 articles")
    page.wait_for_selector("#grid button img")
    tiles = page.locator("#grid button:has(img)")
    assert tiles.count() == len(pairs) == 8
    swapper = run.swapper()
    swap = swapper.swap(pairs[1].human, pairs[1].article, pairs[6].article)
    with urllib.request.urlopen(tiles.nth(6).locator("img").get_attribute("src"), timeout=30) as answer:
        tile = Image.open(answer).convert("RGB").resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(tile).astype(int) - swap.image).mean() < 4
    # A tile that is picked is swapped at the photo's size.
    tiles.nth(6).click()
    assert np.array_equal(shown(page, "target"), pairs[6].article)
    assert np.array_equal(shown(page, "swapped"), swap.image)


def test_the_page_fits_a_phone(browser, server):
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(server.address)
    phone.wait_for_selector("#people button img")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    # One below the other, the result last.
    boxes = [phone.locator(f"#{name}").bounding_box() for name in ("snapshot", "human", "people", "target", "swapped")]
    assert all(box["width"] > 300 for box in boxes)
    assert all(above["y"] + above["height"] <= below["y"] for above, below in zip(boxes, boxes[1:]))
    phone.close()


def test_a_snapshot_is_chosen(browser, used, pairs_dir, pairs, tmp_path):
    first = used / "snapshots" / "step_00000002.safetensors"
    entries, arrays = read_tensors(cagan.Run(used).snapshots[-1])
    write_tensors(first, entries, {name: array * 0.5 for name, array in arrays.items()})
    server = App(tmp_path, used, "--pairs", pairs_dir)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.goto(server.address)
    pick(page, "people", 1, "human", "worn")
    pick(page, "articles", 4, "target")
    newest, other = (
        cagan.Swapper(path).swap(pairs[1].human, pairs[1].article, pairs[4].article).image for path in (used, first)
    )
    assert not np.array_equal(newest, other)
    assert np.array_equal(shown(page, "swapped"), newest)
    page.click("#snapshot input")
    choices = page.locator("#snapshot [role=option]").all_inner_texts()
    assert [choice.strip("✓ \n") for choice in choices] == ["step 4", "step 2"]
    page.locator("#snapshot [role=option]").nth(1).click()
    eventually(page, lambda: np.array_equal(shown(page, "swapped"), other))
    # A visitor may send any name.
    answer = called(server, [sent(server, pairs[k].human_path.read_bytes()) for k in range(3)], "../../config")
    assert "event: error" in answer
    first.write_bytes(first.read_bytes()[:999])
    page.close()
    _, _, err = server.stop()
    assert err == ""


def test_errors_are_shown_on_the_page(page, pairs, tmp_path):
    upload(page, "human", pairs[0].human_path)

    def told():
        # On a busy machine a click can come before an upload is done.
        page.click("#go")
        page.wait_for_timeout(500)
        return "worn: expected a picture, got none" in page.inner_text("body")

    eventually(page, told)
    broken = tmp_path / "broken.png"
    broken.write_bytes(pairs[0].human_path.read_bytes()[:200])
    text = tmp_path / "letter.jpg"
    text.write_text("Dear shop, this is <b>no</b> picture.\n" * 9)
    for role, path, reason in (
        ("worn", broken, "broken.png: .*cannot be decoded"),
        ("target", text, "letter.jpg: cannot be decoded: it is a text that begins with .Dear shop, this is <b>no"),
        ("human", text, "letter.jpg: cannot be decoded: it is a text"),
    ):
        page.set_input_files(f"#{role} input[type=file]", str(path))
        page.wait_for_selector(f"#why-{role} [role=alert]")
        assert re.match(reason, page.inner_text(f"#why-{role}")), page.inner_text(f"#why-{role}")
        page.wait_for_selector(f"#{role} img", state="detached")
    # The reason goes with the next picture.
    upload(page, "target", pairs[1].article_path)
    page.wait_for_selector("#why-target [role=alert]", state="detached")
    assert "cagan-app" not in page.inner_text("body"), "no path of the server's"


def test_large_uploads_fail(server):
    boundary, size = "xx", (32 << 20) + 1000
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'.encode()
    body = head + bytes(size) + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        f"{server.address}gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as error:
        assert error.code == 413


def test_files_of_the_machine_are_not_served(server, run):
    for path in ("/etc/passwd", run.path / "config.json"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.address}gradio_api/file={path}", timeout=30)
        with caught.value as error:
            assert error.code in (403, 404)


def test_strangers_are_refused(server, rebound):
    assert_admits_its_user_alone(server.address, rebound)
    # Gradio's own addresses lie below the token too.
    base, token = server.address.rstrip("/").rsplit("/", 1)
    for path in ("config", "gradio_api/info", "gradio_api/startup-events", "gradio_api/upload", "docs", "openapi.json"):
        assert status(f"{base}/{path}") == 403, path
    for path in (
        "../config",
        "..%2Fconfig",
        f"../{token}x/config",
        "gradio_api/file=../../../../etc/passwd",
        "static/..%2f..%2fapp.py",
    ):
        assert status(f"{server.address}{path}") in (403, 404), path


def test_the_browser_gets_the_address_unseen(run, tmp_path):
    assert_hands_the_address_over_unseen(tmp_path, [sys.executable, "-c", PROGRAM, "app", str(run.path)])


def test_a_port_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refusal(OSError, lambda: cagan.app(run, port=port, browser=False), f"127.0.0.1:{port}", "in use")


def ask(server, path, body=None, **headers):
    request = urllib.request.Request(server.address + path, body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def sent(server, content):
    """Uploads a file and returns its path at the server."""
    head = b'--xx\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=xx"}
    return json.loads(ask(server, "gradio_api/upload", head + content + b"\r\n--xx--\r\n", **kind))[0]


def called(server, files, snapshot="step_00000004"):
    """Calls the page's endpoint with uploaded files and returns the last event."""
    data = [*({"path": file, "meta": {"_type": "gradio.FileData"}} for file in files), snapshot]
    body = json.dumps({"data": data}).encode()
    event = json.loads(ask(server, "gradio_api/call/swap", body, **{"Content-Type": "application/json"}))["event_id"]
    return ask(server, f"gradio_api/call/swap/{event}").decode()


def test_endpoints_and_uploads(server, pairs, run):
    named = json.loads(ask(server, "gradio_api/info"))["named_endpoints"]
    assert list(named) == ["/swap"]
    articles = [sent(server, pair.article_path.read_bytes()) for pair in (pairs[0], pairs[1])]
    for content, part in (
        (b"a letter", "human: cannot be decoded"),
        (b"", "human:"),
        (b"\xff\xd8\xff" + bytes(99), "human:"),
    ):
        answer = called(server, [sent(server, content), *articles])
        assert part in answer
        assert "cagan-app" not in answer, "no path of the server's"
    # A path that was never uploaded, though a stranger may know it.
    answer = called(server, [str(run.snapshots[-1]), *articles])
    assert "event: error" in answer
    assert "safetensors" not in answer


def test_a_visitors_mistakes_leave_no_trace_in_the_terminal(run, pairs, tmp_path):
    server = App(tmp_path, run.path)
    articles = [sent(server, pair.article_path.read_bytes()) for pair in (pairs[0], pairs[1])]
    for files in (
        [sent(server, b"a letter"), *articles],
        [str(run.snapshots[-1]), *articles],
        ["/nowhere", *articles],
        [None, *articles],
        articles,
        [],
    ):
        assert "event: error" in called(server, files), files
    post = {"Content-Type": "application/json"}
    for body in (b'{"data": 1}', b'{"data": [[], {}, 1, 2]}', b"no json", b"{}"):
        status(f"{server.address}gradio_api/call/swap", body, **post)
        status(f"{server.address}gradio_api/queue/join", body, **post)
    answer = called(server, [sent(server, pairs[0].human_path.read_bytes()), *articles])
    assert "event: complete" in answer
    _, out, err = server.stop()
    assert "Traceback" not in out
    assert err == ""


def test_twenty_at_once(server, pairs, run):
    names = [sent(server, pairs[k].human_path.read_bytes()) for k in range(4)]
    articles = [sent(server, pair.article_path.read_bytes()) for pair in (pairs[0], pairs[1])]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda k: called(server, [names[k % 4], *articles]), range(20)))
    swapper = run.swapper()
    for k, answer in enumerate(answers):
        assert "event: complete" in answer
        found = json.loads(answer.split("data: ")[-1])
        expected = swapper.swap(pairs[k % 4].human_path, pairs[0].article_path, pairs[1].article_path)
        with urllib.request.urlopen(found[0]["url"], timeout=60) as picture:
            assert np.array_equal(read_png(picture.read()), expected.image)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_no_file_stays_and_no_address_is_asked(run, tmp_path, how):
    server = App(tmp_path, run.path)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", server.address)
    assert any(tmp_path.iterdir())
    with urllib.request.urlopen(server.address, timeout=30) as answer:
        policy = answer.headers["Content-Security-Policy"]
        config = json.loads(urllib.request.urlopen(f"{server.address}config", timeout=30).read())
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
    assert config["analytics_enabled"] is False
    code, _, err = server.stop(how)
    assert code == (0 if how == signal.SIGINT else 128 + how)
    assert "ASKED" not in err
    assert not any(tmp_path.iterdir()), "nothing is kept"


def test_an_app_needs_no_stream_for_errors(run):
    arguments = [sys.executable, "-m", "cagan", "app", run.path, "--json"]
    server = Server(["sh", "-c", 'exec "$@" <&- 2>&-', "sh", *arguments])
    begun = json.loads(server.address)
    assert begun["address"].endswith(f"/{begun['token']}/")
    assert status(begun["address"]) == 200
    assert server.stop()[0] == 0


def test_mistakes(run, tmp_path):
    refusal(ValueError, lambda: cagan.app(run, port=70000), "port: expected 0 to 65535, got 70000")
    refusal(FileNotFoundError, lambda: cagan.app(tmp_path / "none"), tmp_path / "none")
    refusal(FileNotFoundError, lambda: cagan.app(run, tmp_path / "none"), tmp_path / "none")
    program = "import sys; sys.modules['gradio'] = None; from cagan.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "app", run.path], capture_output=True, text=True, timeout=60)
    expected = "error: gradio: expected for cagan.app, found none; pip install 'cagan[app]'\n"
    assert (done.returncode, done.stderr) == (1, expected)
