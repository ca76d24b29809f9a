"""What the page of `cagan.app` shows, and what it does with a visitor's pictures."""

import functools
import html
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _cagan

if TYPE_CHECKING:
    from gradio import Blocks

__all__ = ["STYLE", "make_page", "make_theme"]

# A picture as the page sends it.
_Given = dict[str, Any] | None
_ROLES = ("human", "worn", "target")
# Pairs in a gallery, and pixels along a thumbnail's longer side.
_SHOWN = 200
_SIDE = 144
# Pixels along the longer side of a picture to look at, at least and at most, and of one in the grid.
_LOOK = (640, 1280)
_TILE = (320, 320)
# Seconds between two searches for old files, and the age in seconds at which a file is removed.
_FORGET = (60, 600)
# Seconds between two showings of a growing grid.
_TELL = 1.5
# Snapshots that stay loaded.
_KEPT = 3
# Colours of the parts that are laid over a photo.
_COLOURS = {"repainted": "#2f5d50", "worn article found": "#d8842f"}

STYLE = """
.gradio-container { max-width: 1500px !important; margin: 0 auto !important; }
#head { align-items: center; gap: .5rem 1rem; }
#head h1 { font-size: 1.25rem; font-weight: 600; margin: 0; }
#head p { margin: 0; opacity: .75; overflow-wrap: anywhere; font-size: .9rem; }
#snapshot { min-width: 240px; }
#board { align-items: flex-start; }
@media (min-width: 701px) { #board { min-width: min(1200px, 80vw); } }
.side { gap: .5rem !important; }
.why { display: none; }
.why:has(p) { display: block; }
.why p { margin: 0; padding: .45rem .7rem; border-radius: .4rem; border: 1px solid #a5502f; color: #a5502f;
  font-size: .9rem; overflow-wrap: anywhere; }
.dark .why p { color: #e39a78; border-color: #e39a78; }
.dark { --color-accent: #8cc5b1; }
.dark #tabs button.selected { color: #8cc5b1; }
#said p { margin: 0; min-height: 1.4rem; opacity: .8; font-size: .9rem; }
#human .image-frame img, #worn .image-frame img, #target .image-frame img, #swapped img, #mask img, #paint img,
#over img { width: 100%; height: 100%; object-fit: contain; }
#people .grid-container, #articles .grid-container { grid-template-columns: repeat(5, minmax(0, 1fr)) !important;
  gap: .3rem !important; padding: .3rem !important; }
#people .thumbnail-item, #articles .thumbnail-item { min-width: 0; }
#people .caption-label, #articles .caption-label, #grid .caption-label { font-size: .65rem;
  padding: 0 .25rem; left: auto; right: 0; bottom: 0; max-width: 100%; }
#grid .grid-wrap { max-height: none; padding-top: 2rem; }
#grid .grid-container { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) !important; }
@media (max-width: 700px) {
  .gradio-container, .gradio-container main { padding: .5rem !important; }
  #tabs .tab-container { flex-wrap: wrap; height: auto; }
  #tabs .tab-container button { padding: .3rem .45rem; font-size: .85rem; }
  #head, #board { flex-direction: column; align-items: stretch; }
  #head > *, #board > * { min-width: 0 !important; width: 100%; flex: none; }
  #board > * { max-width: 100%; }
  #swapped, #mask, #paint, #over { height: 30rem !important; }
  #grid .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)) !important; }
}
"""


def make_theme() -> Any:
    """Makes the page's theme: the colours of the other pages of the package, and fonts of the visitor's machine."""
    import gradio as gr

    fonts = ("system-ui", "DejaVu Sans", "sans-serif")
    theme = gr.themes.Base(
        primary_hue="emerald", neutral_hue="stone", font=fonts, font_mono=("ui-monospace", "monospace")
    )
    return theme.set(
        body_background_fill="#fbfaf8",
        body_background_fill_dark="#191817",
        block_background_fill="#ffffff",
        block_background_fill_dark="#22211f",
        button_primary_background_fill="#2f5d50",
        button_primary_background_fill_hover="#3b7263",
        button_primary_background_fill_dark="#3b7263",
        button_primary_text_color="#ffffff",
        block_radius="6px",
        color_accent="#2f5d50",
        color_accent_soft="#dfeae6",
        color_accent_soft_dark="#2f5d50",
    )


def make_page(swapper: _cagan.Swapper, pairs: _cagan.Pairs | None, device: str | None = None) -> "Blocks":
    """Builds the page. The device is for other snapshots of the run."""
    return _Page(swapper, pairs, device).build()


class _Snapshots:
    """The snapshots beside a model's, by name; a visitor never names a path."""

    def __init__(self, swapper: _cagan.Swapper, device: str | None) -> None:
        self._given, self.first, self._device = swapper, swapper.path.stem, device
        self._load = functools.lru_cache(maxsize=_KEPT)(_cagan.Swapper)

    def _files(self) -> dict[str, Path]:
        """The run's snapshots, the best and then the newest first; the given file alone outside a run."""
        folder = self._given.path.parent
        found = sorted(folder.glob("step_*.safetensors"), reverse=True) if folder.name == "snapshots" else []
        best = folder / "best.safetensors"
        files = ([best] if found and best.is_file() else []) + found
        return {self.first: self._given.path} | {path.stem: path for path in files}

    def names(self) -> list[tuple[str, str]]:
        """Labels and names."""
        named = sorted(self._files(), key=lambda name: (name == "best", name), reverse=True)
        return [(f"step {int(name[5:]):,}" if name[5:].isdigit() else name, name) for name in named]

    def load(self, name: str | None) -> _cagan.Swapper:
        """Loads a snapshot.

        Raises:
            KeyError: There is none of this name.
            ValueError: It is damaged.
            OSError: It cannot be read.
        """
        if name is None or name == self.first:
            return self._given
        return self._load(self._files()[name], self._device)


def _reason(error: Exception, *paths: str | None) -> str:
    """An error's words, with the files' names in place of their paths at the server."""
    text = str(error)
    for path in filter(None, paths):
        text = text.replace(path, Path(path).name)
    return text


def _look(picture: NDArray[np.uint8], sides: tuple[int, int] = _LOOK) -> Any:
    """A picture to look at: a small one is enlarged, since JPEG would blur its pixels, and a large one made smaller."""
    from PIL import Image

    look, longer = Image.fromarray(picture), max(picture.shape[:2])
    side = min(max(longer, sides[0]), sides[1])
    size = [max(1, round(length * side / longer)) for length in (look.width, look.height)]
    return look if side == longer else look.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def _halves(before: NDArray[np.uint8], made: _cagan.Swap) -> tuple[Any, Any]:
    return _look(before), _look(made.image)


def _laid_over(before: NDArray[np.uint8], made: _cagan.Swap) -> tuple[Any, list[tuple[Any, str]]]:
    """The photo with the parts that the model found and repainted."""
    parts = [(made.mask, "repainted")] + ([] if made.located is None else [(made.located, "worn article found")])
    return _look(before), [(np.asarray(_look(part)) / 255.0, label) for part, label in parts]


class _Page:
    """The page's parts, and the answers to a visitor's clicks."""

    def __init__(self, swapper: _cagan.Swapper, pairs: _cagan.Pairs | None, device: str | None) -> None:
        import gradio

        self.gr: Any = gradio
        self.swapper, self.models = swapper, _Snapshots(swapper, device)
        self.shown = [] if pairs is None else [pairs[k] for k in range(min(len(pairs), _SHOWN))]

    # Answers

    def refuse(self, text: str) -> Exception:
        """Makes an error for the visitor, which the terminal does not show."""
        error: Exception = self.gr.Error(text, print_exception=False)
        return error

    def chosen(self, name: str | None) -> _cagan.Swapper:
        """Loads the snapshot that the visitor chose."""
        try:
            return self.models.load(name)
        except (KeyError, ValueError, OSError) as error:
            raise self.refuse(f"snapshot: {error}") from error

    def missing(self, model: _cagan.Swapper, *paths: str | None) -> str | None:
        """Names the first picture that the model needs and has not got."""
        needed = ((role, path) for role, path in zip(_ROLES, paths) if role != "worn" or model.needs_worn)
        return next((role for role, path in needed if not path), None)

    def swap(self, human: _Given, worn: _Given, target: _Given, name: str | None) -> tuple[Any, ...]:
        """Swaps, and fills every tab."""
        model, paths = self.chosen(name), [_path(given) for given in (human, worn, target)]
        if (role := self.missing(model, *paths)) is not None:
            raise self.refuse(f"{role}: expected a picture, got none")
        begun = time.monotonic()
        try:
            made = model.swap(*paths)
            before = _cagan.read_picture(paths[0] or "")
        except (ValueError, OSError) as error:
            text = str(error)
            for role, path in zip(_ROLES, paths):
                text = text.replace(path, role) if path else text
            raise self.refuse(text) from error
        took, share = time.monotonic() - begun, (made.mask > 0).mean()
        height, width = made.mask.shape
        said = (
            f"<p>{width} x {height} pixels in {took:.2f} s by step {model.step:,}; {share:.0%} of them repainted.</p>"
        )
        return made.image, _halves(before, made), _laid_over(before, made), made.mask, made.paint, said

    def swap_if_complete(self, human: _Given, worn: _Given, target: _Given, name: str | None) -> Any:
        """Swaps as soon as nothing is missing."""
        if self.missing(self.chosen(name), *(_path(given) for given in (human, worn, target))) is not None:
            return tuple(self.gr.skip() for _ in self.results)
        return self.swap(human, worn, target, name)

    def everything(self, human: _Given, worn: _Given, name: str | None) -> Iterator[Any]:
        """Dresses a person in each article of the gallery. The grid grows while it works."""
        model, paths = self.chosen(name), [_path(given) for given in (human, worn)]
        if (role := self.missing(model, *paths, "shown")) is not None:
            raise self.refuse(f"{role}: expected a picture, got none")
        try:
            person, clothes = (path and _cagan.read_picture(path) for path in paths)
        except (ValueError, OSError) as error:
            raise self.refuse(_reason(error, *paths)) from error
        count = len(self.shown)
        worns = None if clothes is None else [clothes] * count
        stream = model.stream([person] * count, worns, [pair.article_source for pair in self.shown], on_error="return")
        done: list[tuple[Any, str]] = []
        told, before = time.monotonic(), 0
        for pair, made in zip(self.shown, stream):
            picture = _blank() if isinstance(made, Exception) else _look(made.image, _TILE)
            done.append((picture, pair.id))
            # A showing writes all pictures anew, so they become rarer with the number of pictures.
            if time.monotonic() - told > _TELL and len(done) > 1.3 * before:
                told, before = time.monotonic(), len(done)
                yield self.gr.Gallery(done, visible=True, label=f"{len(done)} of {count} articles")
        yield self.gr.Gallery(done, visible=True, label=f"This person in {count} articles: pick one to look at it")

    # Parts

    def build(self) -> "Blocks":
        """Puts the parts together."""
        gr = self.gr
        page: Blocks
        with _quiet_blocks(title="cagan", analytics_enabled=False, delete_cache=_FORGET) as page:
            with gr.Row(elem_id="head"):
                height, width = self.swapper.config.image_size
                about = (
                    f"<h1>cagan</h1><p>{html.escape(str(self.swapper.path))}, networks of {width} x {height} pixels</p>"
                )
                gr.HTML(about, padding=False, min_width=200)
                names = self.models.names()
                self.snapshot = gr.Dropdown(
                    names, value=self.models.first, label="snapshot", elem_id="snapshot", filterable=False, scale=0
                )
            with gr.Row(elem_id="board"):
                with gr.Column(elem_classes="side", min_width=250):
                    human, why_human = self._input("human", "the person", 300)
                    people = self._gallery("people", [pair.human_source for pair in self.shown])
                    need = "" if self.swapper.needs_worn else " (or nothing)"
                    worn, why_worn = self._input("worn", f"worn now{need}", 200)
                with gr.Column(elem_classes="side", min_width=250):
                    target, why_target = self._input("target", "the article to put on", 300)
                    articles = self._gallery("articles", [pair.article_source for pair in self.shown])
                    go = gr.Button("swap", variant="primary", elem_id="go")
                    with gr.Row(visible=bool(self.shown)):
                        every = gr.Button(f"in all {len(self.shown)} articles", elem_id="every", scale=3, min_width=60)
                        stop = gr.Button("stop", elem_id="stop", min_width=60)
                with gr.Column(elem_id="made", min_width=320, scale=2):
                    self.results = self._results()
            grid = gr.Gallery(
                visible=False, elem_id="grid", columns=6, height="auto", object_fit="contain", allow_preview=False,
                interactive=False, format="jpeg", buttons=[],
            )  # fmt: skip
            self.given = {"human": human, "worn": worn, "target": target}
            self.why = {"human": why_human, "worn": why_worn, "target": why_target}
            # Whether the worn article came with a picked person: it is not that of the next photo.
            self.picked = gr.State(False)
            page.load(lambda: gr.Dropdown(self.models.names()), None, self.snapshot, api_visibility="private")
            self._connect(go, every, stop, grid, people, articles)
        return page

    def _picture(self, name: str, label: str, **options: Any) -> Any:
        return self.gr.Image(label=label, elem_id=name, type="filepath", image_mode=None, format="png", **options)

    def _input(self, name: str, label: str, height: int) -> tuple[Any, Any]:
        """A picture to give, and the place of the reason for which it is refused."""
        given = self._picture(name, label, sources=["upload", "clipboard"], height=height)
        return given, self.gr.HTML("", elem_id=f"why-{name}", elem_classes="why", padding=False)

    def _results(self) -> list[Any]:
        """The tabs: the result is the first, and the first to be looked at."""
        gr, height = self.gr, 620
        options = {"interactive": False, "height": height, "buttons": ["download", "fullscreen"]}
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("result", id="result"):
                image = self._picture("swapped", "result", **options)
            with gr.Tab("slide", id="halves"):
                halves = gr.ImageSlider(
                    label="before and after", elem_id="halves", format="jpeg", interactive=False, max_height=height,
                    buttons=["fullscreen"],
                )  # fmt: skip
            with gr.Tab("overlay", id="over"):
                over = gr.AnnotatedImage(
                    label="what is repainted", elem_id="over", color_map=_COLOURS, height=height, format="jpeg"
                )
            with gr.Tab("mask", id="mask-tab"):
                mask = self._picture("mask", "mask", **options)
            with gr.Tab("paint", id="paint-tab"):
                paint = self._picture("paint", "paint", **options)
        begin = "Pick a person and an article" if self.shown else "Upload a person and an article"
        said = gr.HTML(f"<p>{begin}: the swap follows.</p>", elem_id="said", padding=False)
        return [image, halves, over, mask, paint, said]

    def _gallery(self, name: str, pictures: list[Any]) -> Any:
        """Thumbnails to pick from."""
        from PIL import Image

        found = _cagan.thumbnails(pictures, _SIDE) if pictures else []
        shown = [(Image.open(io.BytesIO(data)) if data else _blank(), pair.id) for data, pair in zip(found, self.shown)]
        return self.gr.Gallery(
            shown, label=name, show_label=False, buttons=[], elem_id=name, visible=bool(pictures),
            columns=5, height=250, object_fit="contain", allow_preview=False, interactive=False, format="jpeg",
        )  # fmt: skip

    # Events

    def _connect(self, go: Any, every: Any, stop: Any, grid: Any, people: Any, articles: Any) -> None:
        gr = self.gr
        inputs = [*self.given.values(), self.snapshot]
        # Pictures arrive as they were uploaded: the core decodes them, and its errors tell what was wrong.
        raw: dict[str, Any] = {"preprocess": False}
        private: dict[str, Any] = {"api_visibility": "private", **raw}
        # Answered by the request itself: on a busy machine an event that joins the queue while the stream of an earlier
        # one closes is lost.
        at_once = {"queue": False, **private}

        def then_swap(event: Any) -> None:
            event.success(self.swap_if_complete, inputs, self.results, trigger_mode="always_last", **at_once)

        def person(event: Any) -> tuple[Any, ...]:
            pair = self.shown[event.index]
            return pair.human, pair.article, True, "", ""

        def article(event: Any) -> tuple[Any, ...]:
            return self.shown[event.index].article, ""

        # Gradio passes the event to the parameter of this type.
        person.__annotations__["event"] = article.__annotations__["event"] = gr.SelectData
        go.click(self.swap, inputs, self.results, api_name="swap", **raw)
        self.snapshot.input(self.swap_if_complete, inputs, self.results, **at_once)
        for role in _ROLES:
            then_swap(self._checked(role))
        put = [self.given["human"], self.given["worn"], self.picked, self.why["human"], self.why["worn"]]
        then_swap(people.select(person, None, put, **at_once))
        for gallery in (articles, grid):
            then_swap(gallery.select(article, None, [self.given["target"], self.why["target"]], **at_once))
        running = every.click(
            self.everything, [self.given["human"], self.given["worn"], self.snapshot], grid, **private
        )
        stop.click(None, None, None, cancels=[running], **private)

    def _checked(self, role: str) -> Any:
        """Checks an upload at once: a file that is no picture leaves its place with the reason below it."""
        gr, image, why, worn = self.gr, self.given[role], self.why[role], self.given["worn"]
        options = {"api_visibility": "private", "preprocess": False, "queue": False}

        def check(given: _Given, picked: bool) -> tuple[Any, ...]:
            path = _path(given)
            try:
                if path:
                    _cagan.read_picture(path)
            except (ValueError, OSError) as error:
                return None, f'<p role="alert">{html.escape(_reason(error, path))}</p>', picked
            return gr.skip(), "", picked and role == "target"

        def check_person(given: _Given, picked: bool) -> tuple[Any, ...]:
            return *check(given, picked), None if picked else gr.skip()

        if role == "human":
            return image.upload(check_person, [image, self.picked], [image, why, self.picked, worn], **options)
        return image.upload(check, [image, self.picked], [image, why, self.picked], **options)


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (_SIDE, _SIDE), "white")


def _path(payload: dict[str, Any] | None) -> str | None:
    """The path of a picture that a visitor gave. Gradio checked that it is an upload, and the core decodes it."""
    path: str | None = payload.get("path") if payload else None
    return path


def _quiet_blocks(**options: Any) -> "Blocks":
    """Makes a page on which a request that does not fit is the asker's mistake, and no line in the terminal."""
    import gradio

    class Quiet(gradio.Blocks):
        async def preprocess_data(self, *arguments: Any, **named: Any) -> Any:
            try:
                return await super().preprocess_data(*arguments, **named)
            except gradio.Error as error:
                error.print_exception = False
                raise
            except Exception as error:
                text = "a picture that was sent is no longer here, or the request does not fit this page"
                raise gradio.Error(text, print_exception=False) from error

    return Quiet(**options)
