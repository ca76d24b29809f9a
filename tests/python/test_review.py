"""The review page: access, answers, decisions on disk before the answer, and the page in a browser."""

import contextlib
import csv
import http.client
import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cagan
import pytest
from cagan.curation.decisions import KEYS, ConflictError, Review
from helpers import (
    HOSTILE,
    Server,
    assert_admits_its_user_alone,
    assert_hands_the_address_over_unseen,
    command,
)
from PIL import Image


@pytest.fixture
def folder(pairs_dir, tmp_path):
    """The dolls, one of them a TIFF that no browser shows, one with a name that a page must escape."""
    copy = shutil.copytree(pairs_dir, tmp_path / "dolls")
    (copy / "pairs.csv").unlink(missing_ok=True)
    for path in copy.glob("human/00001.*"):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    for path in [*copy.glob("*/00002.*")]:
        path.rename(path.with_name(f"{HOSTILE}{path.suffix}"))
    return copy


def rows(folder):
    with (folder / "pairs.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def cells(folder, name):
    row = rows(folder)[name]
    return row["exclude"], row["reason"], row["reviewed"]


class ReviewServer(Server):
    """`cagan review` in a process of its own."""

    def __init__(self, folder, *arguments):
        super().__init__(command("review", folder, *arguments))

    def ask(self, path, body=None, host=None, base=None):
        """Returns status, headers and bytes."""
        url = (base or self.address) + path
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def decide(self, name, decision):
        return self.ask("decide", {"id": name, "decision": decision})


@pytest.fixture
def server(folder):
    started = ReviewServer(folder)
    yield started
    started.kill()


def test_a_program_reads_address_and_counts(folder):
    server = ReviewServer(folder, "--json")
    begun = json.loads(server.address)
    assert begun["address"].endswith(f"/{begun['token']}/")
    server.address = begun["address"]
    assert server.decide("00001", "from_behind")[0] == 200
    code, out, _ = server.stop()
    listing = str(folder / "pairs.csv")
    counts = {"pairs": len(list((folder / "human").iterdir())), "reviewed": 1, "excluded": 1, "csv": listing}
    assert (code, json.loads(out)) == (0, counts)


# The list under review


def test_decisions_and_undo(folder):
    review = Review(folder)
    assert not (folder / "pairs.csv").exists(), "looking writes nothing"
    for name, decision in (("00000", "keep"), ("00001", "from_behind"), (HOSTILE, "other")):
        review.decide(name, decision)
    assert cells(folder, "00000") == ("", "", "1")
    assert cells(folder, "00001") == ("1", "from_behind", "1")
    assert cells(folder, HOSTILE) == ("1", "other", "1")
    review.decide("00001", "bottoms_only")
    assert cells(folder, "00001") == ("1", "bottoms_only", "1")
    for name, expected in (
        ("00001", ("1", "from_behind", "1")),
        (HOSTILE, ("", "", "")),
        ("00001", ("", "", "")),
        ("00000", ("", "", "")),
    ):
        assert review.undo()["id"] == name
        assert cells(folder, name) == expected
    with pytest.raises(ConflictError, match="nothing to undo"):
        review.undo()
    with pytest.raises(ValueError, match="decision: expected one of keep, bottoms_only"):
        review.decide("00000", "ugly")
    with pytest.raises(ConflictError, match=r"no longer in pairs\.csv"):
        review.decide("nobody", "keep")


def test_decisions_survive_curate(folder):
    review = Review(folder)
    review.decide("00003", "extra_garment")
    review.decide("00004", "keep")
    cagan.curate(folder, progress=False, min_side=500)
    assert cells(folder, "00003") == ("1", "extra_garment", "1")
    assert cells(folder, "00004") == ("", "", "1"), "what was kept by hand is not judged again"
    assert cells(folder, "00005") == ("1", "tiny", "")
    review.decide("00005", "keep")
    assert cells(folder, "00005") == ("", "", "1")
    assert cells(folder, "00006") == ("1", "tiny", ""), "what curate wrote meanwhile is taken over"


def test_a_change_by_another_program_is_not_undone(folder):
    review = Review(folder)
    review.decide("00000", "other")
    other = cagan._cagan.Listing(folder)
    other.set("00000", {"reason": "duplicate"})
    other.write()
    with pytest.raises(ConflictError, match="changed by another program"):
        review.undo()
    assert cells(folder, "00000") == ("1", "duplicate", "1")


def test_a_full_disk_decides_nothing(folder):
    review = Review(folder)
    review.decide("00000", "keep")
    before = (folder / "pairs.csv").read_bytes()

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            review.decide("00001", "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (folder / "pairs.csv").read_bytes() == before
    assert not any(row["excluded"] for row in review.state()["rows"])
    assert review.undo()["id"] == "00000"


def test_decisions_at_once_are_all_kept(folder):
    review = Review(folder)
    names = [row["id"] for row in review.state()["rows"]]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: review.decide(name, "other"), names))
    assert all(row["exclude"] == row["reviewed"] == "1" for row in rows(folder).values())
    assert len(rows(folder)) == len(names) == 8


# The server


def test_only_the_token_gets_in(server):
    base, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/", server.address).groups()
    assert server.ask("")[0] == 200
    for path in ("/", f"/{token[:-1]}/", f"/{token}x/", "/state", "/favicon.ico", "/%C3%A9/"):
        assert server.ask(path, base=base)[0] == 403, path
    assert server.ask("/state", {"id": "00000"}, base=base)[0] == 403
    # Another address of this machine.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(base.split(":")[2])), timeout=5)


def test_strangers_are_refused(server, rebound):
    assert_admits_its_user_alone(server.address, rebound)


def test_the_browser_gets_the_address_unseen(folder, tmp_path):
    assert_hands_the_address_over_unseen(tmp_path, command("review", folder))


def test_two_reviews_of_a_folder_lose_no_decision(folder):
    """Two programs decide in turn, quickly and on all pairs; each decision joins the list on disk."""
    servers = [ReviewServer(folder), ReviewServer(folder)]
    names = sorted(row["id"] for row in Review(folder).state()["rows"])
    with ThreadPoolExecutor(8) as pool:
        decided = list(pool.map(lambda k: servers[k % 2].decide(names[k], "other")[0], range(len(names))))
    assert decided == [200] * 8
    assert all(row["reason"] == "other" for row in rows(folder).values())
    assert servers[0].ask("undo", {})[0] == servers[1].ask("undo", {})[0] == 200
    assert sum(row["reason"] == "other" for row in rows(folder).values()) == 6
    for server in servers:
        server.stop()


def test_a_large_file_that_begins_like_a_picture_is_not_sent(server, folder):
    with (folder / "human" / "big.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(600 << 20)
    (folder / "pairs.csv").write_text("id,human,article\nbig,human/big.png,article/00000.png\n")
    assert server.decide("big", "keep")[0] == 200
    assert server.ask("picture/human?id=big")[0] == 404
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1])
    assert peak < 1 << 20, "KiB"


def test_large_requests_are_refused(server):
    assert server.ask("decide", {"id": "x" * (1 << 17), "decision": "keep"})[0] == 413


def test_another_name_for_this_machine_is_rejected(server):
    port = server.address.split(":")[2].split("/")[0]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example"):
        assert server.ask("state", host=host)[0] == 403, host
    assert server.ask("state", host=f"localhost:{port}")[0] == 200


def test_answers_are_sealed(server):
    _, headers, page = server.ask("")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")
    assert headers["Cache-Control"] == "no-store"
    assert b"http" not in page, "nothing is fetched from elsewhere"


def test_pictures_come_from_the_list_alone(server, folder):
    (folder / "secret.txt").write_text("secret")
    status, headers, content = server.ask("picture/human?id=00000")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert content == next(folder.glob("human/00000.*")).read_bytes()
    status, headers, content = server.ask("picture/human?id=00001")
    assert (status, headers["Content-Type"], content[:4]) == (200, "image/png", b"\x89PNG"), "a TIFF is converted"
    for path in (
        "picture/human?id=secret.txt",
        "picture/human?id=../pairs.csv",
        "picture/human",
        "picture/secret?id=00000",
        "picture/../secret.txt",
        "../secret.txt",
        "picture/human/../../secret.txt?id=00000",
        "picture/human/00000.png",
    ):
        status, _, content = server.ask(path)
        assert status in (403, 404), path
        assert b"secret" not in content
    # A list may name any file; only pictures are shown.
    (folder / "pairs.csv").write_text("id,human,article\na,secret.txt,../../../../../etc/passwd\nb,,human\n")
    for path in ("human?id=a", "article?id=a", "human?id=b", "article?id=b"):
        assert server.ask(f"picture/{path}")[0] == 404


def test_a_decision_is_on_disk_before_its_answer(server, folder):
    for name, decision in (("00000", "keep"), ("00001", "duplicate"), ("00003", "bottoms_only")):
        status, _, answer = server.decide(name, decision)
        assert status == 200
        assert json.loads(answer)["row"]["reviewed"]
        assert cells(folder, name)[2] == "1"
    status, _, answer = server.ask("undo", {})
    assert (status, json.loads(answer)["row"]["id"]) == (200, "00003")
    assert cells(folder, "00003") == ("", "", "")
    assert [json.loads(server.ask("state")[2])[k] for k in ("undo",)] == [2]


def test_bad_requests_are_answered_with_the_reason(server, folder):
    for body, status, text in (
        ({"id": "00000", "decision": "ugly"}, 400, "decision: expected one of"),
        ({"id": "nobody", "decision": "keep"}, 409, "no longer in pairs.csv"),
        ([], 400, ""),
    ):
        got, _, answer = server.ask("decide", body)
        assert got == status
        assert text in answer.decode()
    assert server.ask("undo", {})[0] == 409
    assert server.ask("decide")[0] == 405
    (folder / "pairs.csv").write_text("id,human\n")
    status, _, answer = server.decide("00000", "keep")
    assert status == 400
    assert "line 1: expected the columns" in json.loads(answer)["error"]


def ask_in_vain(server):
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.decide("00001", "other")


def test_a_killed_server_loses_nothing(folder):
    server = ReviewServer(folder)
    server.decide("00000", "from_behind")
    # A request and a kill at once: the list is the old one or the new one, never a part.
    racing = threading.Thread(target=ask_in_vain, args=(server,))
    racing.start()
    server.stop(signal.SIGKILL)
    racing.join()
    assert len(rows(folder)) == 8
    assert cells(folder, "00000") == ("1", "from_behind", "1")
    assert cells(folder, "00001") in (("", "", ""), ("1", "other", "1"))
    again = ReviewServer(folder)
    state = json.loads(again.ask("state")[2])["rows"]
    assert {row["id"]: row["reasons"] for row in state}["00000"] == ["from_behind"]
    assert again.stop()[0] == 0


def test_ctrl_c_ends_it_with_a_summary(server, folder):
    server.decide("00000", "keep")
    server.decide("00001", "other")
    code, out, err = server.stop()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"2 of 8 pairs reviewed, 1 left out: {folder / 'pairs.csv'}"


def test_a_port_may_be_chosen(folder):
    server = ReviewServer(folder)
    port = server.address.split(":")[2].split("/")[0]
    server.stop()
    server = ReviewServer(folder, "--port", port)
    assert server.address.startswith(f"http://127.0.0.1:{port}/")
    server.stop()
    with pytest.raises(ValueError, match="port: expected 0 to 65535, got 70000"):
        cagan.review(folder, port=70000)


def test_without_a_web_server_it_says_what_to_install(folder):
    program = "import sys; sys.modules['starlette.applications'] = None; from cagan.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "review", folder], capture_output=True, text=True, timeout=60)
    expected = "error: starlette and uvicorn: expected for cagan.review, found none; pip install 'cagan[review]'\n"
    assert (done.returncode, done.stderr) == (1, expected)


# The page in a browser


@pytest.fixture
def page(browser):
    """A page that collects errors and opened dialogs in `complaints`."""
    opened = browser.new_page(viewport={"width": 1200, "height": 850})
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    opened.complaints = complaints
    yield opened
    opened.close()


def shown(page):
    return page.inner_text("#id"), page.inner_text("#state"), page.inner_text("#count")


def until(page, script):
    """Waits until a script is true. The page's policy forbids evaluating text inside it."""
    for _ in range(200):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{script} stays false; the status is {page.inner_text('#status')!r}")


def status(page, text):
    until(page, f"document.getElementById('status').textContent.includes({json.dumps(text)})")


def press(page, key, text):
    page.keyboard.press(key)
    status(page, text)


def test_the_keys(page, server, folder):
    page.goto(server.address)
    until(page, "document.getElementById('human').naturalWidth > 0")
    assert shown(page)[0] == HOSTILE, "sorted by name, and shown as text"
    press(page, "ArrowRight", "")
    assert shown(page) == ("00000", "", "0 of 8 decided, 0 left out")
    press(page, "k", "00000: kept")
    press(page, "b", "00001: left out, bottoms only")
    press(page, "Space", "00003: kept")
    press(page, "f", "00004: left out, from behind")
    press(page, "e", "00005: left out, extra garment")
    press(page, "d", "00006: left out, duplicate")
    assert shown(page) == ("00007", "", "6 of 8 decided, 4 left out")
    assert page.evaluate("document.getElementById('progress').value") == 6
    press(page, "o", "00007: left out, other. No more pairs of this kind below.")
    words = [cells(folder, f"0000{k}")[1] for k in (0, 1, 3, 4, 5, 6, 7)]
    assert words == ["", "bottoms_only", "", "from_behind", "extra_garment", "duplicate", "other"]
    press(page, "u", "00007: undone")
    press(page, "u", "00006: undone")
    assert shown(page) == ("00006", "", "5 of 8 decided, 3 left out")
    assert cells(folder, "00006") == ("", "", "")
    # The server keeps the undo list, so it outlives the page.
    page.reload()
    page.wait_for_selector("#undo:enabled")
    assert shown(page)[0] == HOSTILE, "the first that is undecided"
    press(page, "u", "00005: undone")
    press(page, "ArrowLeft", "")
    assert shown(page)[0] == HOSTILE
    press(page, "ArrowLeft", "No more pairs of this kind above.")
    press(page, "Control+k", "above")
    assert cells(folder, HOSTILE) == ("", "", ""), "a browser's own shortcut decides nothing"
    assert page.complaints == []


def test_the_buttons_and_the_filter(page, server, folder):
    cagan.curate(folder, progress=False, min_side=500)
    # The list comes late: until it is there the filter waits.
    held = []
    page.route("**/state", lambda route: held.append(route))
    page.goto(server.address)
    assert page.is_disabled("#filter")
    held[0].continue_()
    page.select_option("#filter", "found")
    assert shown(page)[1] == "left out: tiny (not reviewed)"
    page.click("text=keep")
    status(page, "kept")
    assert cells(folder, HOSTILE) == ("", "", "1")
    page.select_option("#filter", "reviewed")
    assert shown(page) == (HOSTILE, "kept", "8 of 8 decided, 7 left out")
    assert page.get_attribute("[data-decision=keep]", "class") == "set"
    page.click("#undo")
    status(page, "undone")
    assert cells(folder, HOSTILE) == ("1", "tiny", "")
    assert page.complaints == []


def test_the_page_shows_that_a_decision_is_not_saved(page, folder):
    server = ReviewServer(folder)
    page.goto(server.address)
    until(page, "document.getElementById('id').textContent")
    server.stop(signal.SIGKILL)
    press(page, "o", "The server does not answer: this was not saved.")
    assert "0 of 8 decided" in shown(page)[2]


def test_a_duplicate_stands_beside_the_pair_that_stays(page, server, folder):
    # A mirrored copy of a photo with another article, and a pair that shares only its article.
    Image.open(folder / "human" / "00003.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "human/zz.png")
    for name, article in (("zz", "00004"), ("yy", "00003")):
        shutil.copy(folder / "article" / f"{article}.png", folder / "article" / f"{name}.png")
    shutil.copy(folder / "human" / "00006.png", folder / "human" / "yy.png")
    cagan.curate(folder, progress=False)
    found = {name: row["group"] for name, row in rows(folder).items() if "duplicate" in row["reason"]}
    assert set(found) == {"zz", "yy"}
    page.goto(server.address)
    page.select_option("#filter", "found")
    for name, stays in (("yy", "00006"), ("zz", "00003")):
        until(page, f"document.getElementById('name-partner').textContent.startsWith('{stays} stays')")
        assert shown(page)[0] == name
        assert "duplicate" in shown(page)[1]
        until(page, "document.getElementById('partner').naturalWidth > 0")
        assert page.is_visible("#stays")
        page.keyboard.press("ArrowRight")
    # Another reason has no other picture, and the report lies one click away.
    page.keyboard.press("f")
    status(page, "left out, from behind")
    until(page, "document.getElementById('stays').hidden")
    with page.context.expect_page() as opened:
        page.click("text=report")
    report = opened.value
    report.wait_for_selector("#reason-duplicate")
    assert len(report.query_selector_all("#reason-duplicate tbody tr")) == 2
    report.click("#reason-duplicate th.id button")
    assert report.get_attribute("#reason-duplicate th.id", "aria-sort") == "ascending"
    report.close()
    assert page.complaints == []


def test_a_question_mark_shows_the_keys(page, server, folder):
    page.goto(server.address)
    until(page, "document.getElementById('id').textContent")
    assert not page.is_visible("#keys")
    assert page.locator("text=report").count() == 0, "before the first curate there is none"
    page.keyboard.press("?")
    words = page.inner_text("#keys")
    assert all(word.replace("_", " ") in words for word in (*KEYS.values(), "undo", "space"))
    # Keys decide nothing behind the list.
    page.keyboard.press("k")
    page.keyboard.press("?")
    assert not page.is_visible("#keys")
    page.click("#help")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    assert shown(page)[2].startswith("0 of 8 decided")
    assert not (folder / "pairs.csv").exists()
    assert page.complaints == []


def test_the_report_cannot_reach_the_server(server, folder):
    assert server.ask("report")[0] == 404
    (folder / "curation.html").write_text("<script>fetch('undo', {method: 'POST'})</script>")
    status, headers, _ = server.ask("report")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert server.ask("partner?id=nobody")[0] == 404
    assert json.loads(server.ask("partner?id=00000")[2]) is None


def test_the_report_in_a_browser(page, folder):
    shutil.copy(next(folder.glob("human/00000.*")), folder / "human" / "zz.png")
    shutil.copy(next(folder.glob("article/00003.*")), folder / "article" / "zz.png")
    cagan.curate(folder, progress=False, min_side=65)
    page.goto((folder / "curation.html").as_uri())
    ids = "[...document.querySelectorAll('#reason-tiny tbody tr')].map(row => row.cells[1].textContent)"
    first = page.evaluate(ids)
    assert first[0] == HOSTILE
    assert len(first) == 9
    page.click("#reason-tiny th.id button")
    assert page.evaluate(ids) == sorted(first, key=lambda name: (name[0].isalnum(), name))
    page.click("#reason-tiny th.id button")
    assert page.evaluate(ids)[0] == "zz"
    until(page, "[...document.images].every(picture => picture.complete && picture.naturalWidth > 0)")
    assert page.evaluate("document.images.length") >= 18
    assert page.complaints == []


def test_every_key_is_on_the_page(server):
    page = server.ask("")[2].decode()
    assert len(KEYS) == 6
    for key, word in KEYS.items():
        assert f'data-decision="{word}"' in page
        assert f"<kbd>{key}</kbd>" in page
    assert set(KEYS.values()) - {"keep"} <= set(cagan._cagan.curation_reasons())
    assert Path(cagan.__file__).with_name("templates").is_dir()
