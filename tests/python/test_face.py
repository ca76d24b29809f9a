"""The Python face: configs, pairs, swaps, and that all of it is documented, stubbed and works as its examples say."""

import ast
import copy
import doctest
import inspect
import io
import json
import math
import pickle
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cagan
import numpy as np
import pytest
from conftest import read_tensors, write_tensors
from PIL import Image, ImageOps

REPOSITORY = Path(__file__).parents[2]
STUB = Path(cagan.__file__).with_name("_cagan.pyi")
CORE = [name for name in cagan.__all__ if hasattr(cagan._cagan, name)]

CONFIGS = [
    cagan.Config(),
    cagan.Config("vasily"),
    cagan.Config("smoke"),
    cagan.Config("smoke", image_size=96, flip=False, device="cpu", steps=3, learning_rate=1e-3),
    cagan.Config("paper", generator_copies="none", discriminator_copies=True, image_size=(64, 48)),
    cagan.Config("paper", learning_rate=0.0011685527672736639, adam_epsilon=1e-30),
]


@pytest.fixture(scope="module")
def swapper(run):
    return cagan.Swapper(run.path)


# Config


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_a_config_comes_back_from_everywhere(config):
    assert eval(repr(config), {"Config": cagan.Config}) == config
    for again in (
        cagan.Config.from_json(config.to_json()),
        cagan.Config(config.preset, **{k: v for k, v in config.to_dict().items() if k != "preset"}),
        pickle.loads(pickle.dumps(config)),
        copy.copy(config),
        copy.deepcopy(config),
        config.replace(),
    ):
        assert again == config
        assert hash(again) == hash(config)
        assert repr(again) == repr(config)


def test_numbers_come_back_to_the_last_bit():
    draw = random.Random(0)
    for _ in range(500):
        number = 10 ** draw.uniform(-6, 0)
        config = cagan.Config(learning_rate=number)
        assert config.learning_rate == number
        assert cagan.Config.from_json(config.to_json()) == config
        assert config.replace(seed=1).learning_rate == number


def test_every_setting_is_an_attribute_and_stands_in_the_text():
    settings = [setting["name"] for setting in cagan._cagan.settings()]
    assert len(settings) > 20
    for config in CONFIGS:
        values, sources = config.to_dict(), config.sources()
        assert list(values) == ["preset", *settings]
        assert list(sources) == settings
        lines = str(config).splitlines()
        assert lines[0] == f"preset {config.preset}"
        assert len(lines) == 1 + len(settings)
        for name, line in zip(settings, lines[1:]):
            value = getattr(config, name)
            assert (list(value) if isinstance(value, tuple) else value) == values[name]
            shown = re.fullmatch(r"(\S+) +(\S+) +(\S.*)", line)
            assert shown, line
            assert (shown[1], shown[3]) == (name, sources[name])
            assert json.loads(shown[2]) == values[name]
            assert re.match(r"\[(A|P|A, P|we)\]|yours; the preset has ", sources[name])
        assert json.loads(config.to_json()) == values


def test_an_override_is_called_yours():
    config = cagan.Config("smoke", width=24, seed=0)
    yours = {name: source for name, source in config.sources().items() if source.startswith("yours")}
    assert yours == {"width": "yours; the preset has 16"}
    assert repr(config) == 'Config("smoke", width=24)'


def test_configs_are_values():
    config = cagan.Config("smoke")
    assert config == cagan.Config("smoke", width=16) != cagan.Config("smoke", width=24)
    assert config != "smoke"
    assert len({config, cagan.Config("smoke"), config.replace(seed=1)}) == 2
    assert config.replace(seed=1).seed == 1
    assert config.seed == 0
    with pytest.raises(AttributeError):
        config.seed = 3


def test_numbers_of_numpy_are_numbers():
    config = cagan.Config("smoke", batch_size=np.int64(2), learning_rate=np.float64(0.5), image_size=np.int32(96))
    assert (config.batch_size, config.learning_rate, config.image_size) == (2, 0.5, (96, 96))
    assert cagan.Config("smoke", flip=np.bool_(False)).flip is False


# Pairs


def test_pairs_are_a_sequence(pairs, pairs_dir):
    ids = [f"{k:05}" for k in range(8)]
    assert pairs.ids == ids
    assert len(pairs) == 8
    assert pairs.folder == pairs_dir
    assert [pair.id for pair in pairs] == ids
    assert pairs[0] == pairs["00000"] == pairs[-8] != pairs[1]
    assert pairs[-1].id == "00007"
    assert pairs[2] in pairs
    assert pairs[2].human_path == pairs_dir / "human" / "00002.png"
    assert pairs[2].article_path == pairs_dir / "article" / "00002.png"
    assert repr(pairs[2]) == 'Pair("00002")'
    assert repr(pairs) == f'Pairs("{pairs_dir}", 8 pairs)'
    for index in (8, -9, 2**40):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 8 pairs"):
            pairs[index]
    with pytest.raises(KeyError, match="unknown id `00011`"):
        pairs["00011"]
    with pytest.raises(TypeError):
        pairs[1.5]


def test_a_split_parts_the_pairs(pairs):
    rest, share = pairs.split(0.25)
    assert (len(rest), len(share)) == (6, 2)
    assert sorted(rest.ids + share.ids) == pairs.ids
    assert rest.ids == sorted(rest.ids)
    assert pairs.split(0.25)[1].ids == pairs.split(0.25, seed=0)[1].ids == share.ids
    assert len({tuple(pairs.split(0.25, seed=seed)[1].ids) for seed in range(9)}) > 3
    for wrong in (0, 1, -0.5, 0.01, 0.99, math.nan):
        with pytest.raises(ValueError, match="share: expected between 0 and 1"):
            pairs.split(wrong)


def test_pictures_are_what_pillow_decodes(pairs):
    for pair in pairs:
        for array, path in ((pair.human, pair.human_path), (pair.article, pair.article_path)):
            assert array.dtype == np.uint8
            with Image.open(path) as picture:
                assert np.array_equal(array, np.asarray(picture.convert("RGB")))
    pair = pairs[0]
    pair.human[:] = 0
    assert pair.human.any(), "each asking decodes anew"


def decoded(path):
    """The picture as an element of a set."""
    (path.parent / "pairs.csv").write_text(f"id,human,article\na,{path.name},{path.name}\n")
    return cagan.Pairs(path.parent)[0].human


def random_picture(height=24, width=40, channels=3):
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # In blocks, so that JPEG keeps them.
    blocks = np.kron(random_picture(3, 5) // 128 * 200, np.ones((16, 16, 1), np.uint8))
    path = tmp_path / f"a.{ending}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    Image.fromarray(blocks).save(path, exif=exif, **options.get(ending, {}))
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert expected.shape == ((48, 80, 3) if orientation < 5 else (80, 48, 3))
    got = decoded(path)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= (2 if ending == "jpg" else 0)


def on_white(rgba):
    rgb, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    return ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def test_transparency_lies_on_white(tmp_path):
    rgba = random_picture(channels=4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png"), on_white(rgba))
    grey = random_picture(channels=2)
    Image.fromarray(grey, "LA").save(tmp_path / "b.png")
    assert np.array_equal(decoded(tmp_path / "b.png"), on_white(grey[..., [0, 0, 0, 1]]))


def test_grey_and_palettes_are_widened(tmp_path):
    grey = random_picture(channels=1)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(decoded(tmp_path / "grey.png"), np.stack([grey] * 3, -1))
    Image.fromarray(grey > 99).save(tmp_path / "bits.png")
    assert np.array_equal(decoded(tmp_path / "bits.png"), np.stack([(grey > 99) * np.uint8(255)] * 3, -1))
    palette = Image.fromarray(random_picture()).quantize(17)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(decoded(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    wide = np.random.default_rng(4).integers(0, 1 << 16, (24, 40), dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert np.array_equal(decoded(tmp_path / "wide.png"), np.stack([np.rint(wide / 257).astype(np.uint8)] * 3, -1))


def test_an_ending_may_lie(tmp_path):
    picture = random_picture()
    Image.fromarray(picture).save(tmp_path / "a.jpg", format="png")
    assert np.array_equal(decoded(tmp_path / "a.jpg"), picture)


# Swapper


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("image", "mask", "paint"))


def test_a_swapper_knows_what_it_is(swapper, run):
    assert swapper.config == run.config
    assert (swapper.path, swapper.step) == (run.snapshots[-1], 4)
    assert repr(swapper) == f'Swapper("{swapper.path}", step 4)'
    assert cagan.Swapper(str(run.snapshots[-1]), device="cpu").step == 4


def test_paths_arrays_and_pil_pictures_give_the_same_swap(swapper, pairs):
    person, other = pairs[0], pairs[1]
    paths = (person.human_path, person.article_path, other.article_path)
    expected = swapper.swap(*paths)
    arrays = (person.human, person.article, other.article)
    for given in (
        tuple(map(str, paths)),
        arrays,
        tuple(Image.fromarray(array) for array in arrays),
        (paths[0], arrays[1], Image.fromarray(arrays[2])),
        tuple(np.asfortranarray(array) for array in arrays),
        tuple(np.pad(array, ((3, 4), (5, 6), (0, 0)))[3:-4, 5:-6] for array in arrays),
    ):
        assert same(swapper.swap(*given), expected)
    assert same(swapper.swap(human=paths[0], worn=paths[1], target=paths[2]), expected)
    (alone,) = swapper.swap(paths[0], paths[1], [paths[2]])
    assert same(alone, expected)
    three = swapper.swap(paths[0], paths[1], [paths[2], arrays[1], arrays[2]])
    assert [same(swap, expected) for swap in three] == [True, False, True]
    assert swapper.swap([], arrays[1], arrays[2]) == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "I;16"])
def test_a_pil_picture_means_what_its_file_means(swapper, pairs, tmp_path, mode):
    """Transparency lies on white and 16 bits become 8, whether Pillow or the core opened the file."""
    if mode == "I;16":
        picture = Image.fromarray(np.random.default_rng(4).integers(0, 1 << 16, (64, 64), dtype=np.uint16))
    elif mode in ("RGBA", "LA"):
        picture = Image.fromarray(random_picture(64, 64, len(mode) if mode == "LA" else 4), mode)
    else:
        picture = Image.fromarray(random_picture(64, 64)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    articles = (pairs[0].article, pairs[1].article)
    with Image.open(path) as opened:
        assert opened.mode == mode
        assert same(swapper.swap(opened, *articles), swapper.swap(path, *articles))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (63, 65), (101, 37), (64, 64), (257, 190)])
def test_a_swap_has_the_photos_own_size(swapper, pairs, size):
    photo = np.asarray(Image.fromarray(pairs[0].human).resize(size[::-1]))
    swap = swapper.swap(photo, pairs[0].article, np.zeros((7, 300, 3), np.uint8))
    assert (swap.image.shape, swap.mask.shape, swap.paint.shape) == ((*size, 3), size, (*size, 3))
    assert {array.dtype for array in (swap.image, swap.mask, swap.paint)} == {np.dtype(np.uint8)}
    assert repr(swap) == f"Swap({size[0]} x {size[1]})"
    assert np.array_equal(swap.image, blended(photo, swap))


def blended(photo, swap):
    """mask * paint + (1 - mask) * photo, rounded."""
    mask = swap.mask[..., None].astype(int)
    return ((mask * swap.paint + (255 - mask) * photo.astype(int) + 127) // 255).astype(np.uint8)


def with_mask(run, path, bias, gain=1.0):
    """The run's generator with another last layer for the mask, which is the last of four channels."""
    entries, arrays = read_tensors(run.snapshots[-1])
    (name,) = [name for name in arrays if name.startswith("up.3.") and name.endswith("bias")]
    assert arrays[name].shape == (4,)
    weight = arrays[name.replace("bias", "weight")]
    assert weight.shape[1] == 4
    arrays[name][3] = bias
    weight[:, 3] *= gain
    write_tensors(path, entries, arrays)
    return cagan.Swapper(path)


@pytest.mark.parametrize(("size", "cut"), [((64, 64), 0), ((75, 121), 23)])
def test_the_mask_decides_between_photo_and_paint(run, pairs, tmp_path, size, cut):
    photo = random_picture(*size)
    # The networks see the middle square.
    inside = np.zeros(size, dtype=bool)
    inside[:, cut : size[1] - cut] = True
    arguments = (photo, pairs[0].article, pairs[1].article)
    nothing = with_mask(run, tmp_path / "nothing.safetensors", -1e4).swap(*arguments)
    assert not nothing.mask.any()
    assert np.array_equal(nothing.image, photo)
    assert not np.array_equal(nothing.paint, photo)
    everything = with_mask(run, tmp_path / "everything.safetensors", 1e4).swap(*arguments)
    assert np.array_equal(everything.mask == 255, inside)
    assert np.array_equal(everything.mask == 0, ~inside)
    assert np.array_equal(everything.image, everything.paint)
    assert np.array_equal(everything.image[~inside], photo[~inside])
    assert np.array_equal(everything.paint, nothing.paint)

    mixed = with_mask(run, tmp_path / "mixed.safetensors", 0, gain=1e5).swap(*arguments)
    kept, repainted = mixed.mask == 0, mixed.mask == 255
    assert min(kept.sum(), repainted.sum()) > 50
    assert np.array_equal(mixed.image[kept], photo[kept])
    assert np.array_equal(mixed.image[repainted], mixed.paint[repainted])
    assert np.array_equal(mixed.image, blended(photo, mixed))


def test_many_at_once_are_one_by_one(swapper, pairs):
    count = 70
    sizes = [(60 + 3 * (k % 5), 50 + 7 * (k % 3)) for k in range(count)]
    photos = [np.asarray(Image.fromarray(pairs[k % 8].human).resize(size)) for k, size in enumerate(sizes)]
    worn = [pairs[k % 8].article_path for k in range(count)]
    targets = [pairs[(k + 1 + k % 7) % 8].article for k in range(count)]
    swaps = swapper.swap(photos, worn, targets)
    assert len(swaps) == count
    for swap, *arguments in zip(swaps, photos, worn, targets):
        assert same(swap, swapper.swap(*arguments))


def test_threads_may_share_a_swapper(swapper, pairs):
    jobs = [(pairs[a].human, pairs[a].article, pairs[b].article) for a in range(4) for b in range(4, 8)]
    serial = [swapper.swap(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda job: swapper.swap(*job), jobs))
    assert all(map(same, serial, parallel))
    assert not same(serial[0], serial[1])


def test_a_swap_is_saved_and_shown(swapper, pairs, tmp_path):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    swap.save(tmp_path / "alone.png")
    swap.save(str(tmp_path / "a.png"), mask=tmp_path / "m.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "alone.png", "m.png"]
    for given, mode, expected in (
        (tmp_path / "a.png", "RGB", swap.image),
        (tmp_path / "alone.png", "RGB", swap.image),
        (tmp_path / "m.png", "L", swap.mask),
    ):
        with Image.open(given) as picture:
            assert (picture.format, picture.mode) == ("PNG", mode)
            assert np.array_equal(np.asarray(picture), expected)


# Dolls


def test_dolls_come_from_their_seed(tmp_path):
    sets = {
        name: cagan.dolls(tmp_path / name, count=count, seed=seed, size=(48, 32))
        for name, count, seed in (("a", 3, 7), ("b", 5, 7), ("c", 3, 8), ("d", 3, None), ("e", 3, 0))
    }
    assert [len(pairs) for pairs in sets.values()] == [3, 5, 3, 3, 3]
    assert sets["a"][0].human.shape == sets["a"][0].article.shape == (48, 32, 3)

    def pictures(name):
        return [pair.human.tobytes() + pair.article.tobytes() for pair in sets[name]][:3]

    assert pictures("a") == pictures("b")
    assert pictures("d") == pictures("e")
    assert not set(pictures("a")) & set(pictures("c"))
    assert len(set(pictures("a"))) == 3
    assert cagan.dolls(tmp_path / "f", count=1)[0].human.shape == (128, 96, 3)


# The names


def test_every_name_is_there_and_documented():
    assert len(set(cagan.__all__)) == len(cagan.__all__) >= 11
    assert cagan.__all__ == sorted(cagan.__all__)
    for name in cagan.__all__:
        assert inspect.getdoc(getattr(cagan, name)), name
    assert cagan.__doc__
    assert cagan.__version__ == cagan.info()["cagan"]


def test_the_package_lists_its_public_names_alone():
    program = "import cagan; print(*(name for name in dir(cagan) if not name.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == sorted([*cagan.__all__, "evaluation", "plots", "torch_module"]), done.stderr
    assert {"__all__", "__doc__", "__version__"} <= set(dir(cagan))
    assert not hasattr(cagan, "trian")


def test_an_init_file_defines_nothing():
    paths = sorted(Path(cagan.__file__).parent.rglob("__init__.py"))
    assert len(paths) >= 3
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.With)
    for path in paths:
        assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, defined)], path


def imports():
    """The package's modules, and for each the modules that it imports, in functions too."""
    root = Path(cagan.__file__).parent
    files = {path.relative_to(root).with_suffix("").parts: path for path in root.rglob("*.py")}
    modules = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in files.items()}
    found = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module[:-1]
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) + 1 - node.level]
                base += tuple(node.module.split(".")) if node.module else ()
                names |= {(*base, alias.name) if (*base, alias.name) in modules else base for alias in node.names}
        # A module inside a package imports its siblings, not the package.
        names |= {name[:1] for name in names if name[:1] != module[:1]}
        found[module] = names - {(), module}
    return found


def test_modules_import_each_other_in_no_circle():
    graph = imports()
    assert len(graph) > 20
    assert ("evaluation", "scores") in graph["exporting",]
    # A run draws itself in a notebook, and imports the plots then.
    graph["runs",].remove(("plots",))
    while leaves := [module for module, names in graph.items() if not names & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph


def documented():
    """Everything public of the package, and its documentation."""
    for name in cagan.__all__:
        thing = getattr(cagan, name)
        yield name, thing
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    yield f"{name}.{member}", value


def test_methods_are_documented_and_signatures_are_no_text():
    looked = 0
    for name, thing in documented():
        text = getattr(thing, "__doc__", None)
        if callable(thing):
            assert text, name
            assert str(inspect.signature(thing))
            looked += 1
        # PyO3 writes the signature; a second one would stand in `help` as text.
        assert "\n--\n" not in (text or ""), name
    assert looked > 20


def test_the_stub_has_every_name():
    tree = ast.parse(STUB.read_text())
    stubbed = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    (exported,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    assert sorted(stubbed) == sorted(exported)
    assert set(CORE) <= set(stubbed)
    assert sorted(stubbed) == sorted(name for name in vars(cagan._cagan) if not name.startswith("_"))
    # The rest is Python, typed where it stands.
    python = {"Curation", "Run", "Scores", "app", "curate", "evaluate", "export", "info", "review", "runs", "train"}
    assert set(cagan.__all__) - set(CORE) == python
    classes = [name for name in CORE if inspect.isclass(getattr(cagan, name))]
    assert len(classes) >= 6
    for name in classes:
        members = {m for m in vars(getattr(cagan, name)) if not m.startswith("_")}
        members |= {
            m
            for m in ("__len__", "__getitem__", "_repr_png_", "_repr_html_", "_restored")
            if m in vars(getattr(cagan, name))
        }
        mine = {node.name for node in stubbed[name].body if isinstance(node, ast.FunctionDef)}
        assert members <= mine, name
        assert {m for m in mine if not m.startswith("__")} <= members, name


# The examples


def test_every_example_in_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    for name, thing in documented():
        text = inspect.getdoc(thing) or ""
        test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
        if test.examples:
            report = io.StringIO()
            result = doctest.DocTestRunner(verbose=False).run(test, out=report.write)
            assert result.failed == 0, report.getvalue()
            ran.append(name)
    assert len(ran) >= 4
    assert {"Config", "train"} <= set(ran)


def readme_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_runs_as_written(tmp_path):
    blocks = readme_blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert blocks, "the README shows some Python"
    # In a process of its own, in order, as a reader would in one notebook.
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_blocks_are_found_where_they_stand():
    text = "```python\na = 1\n```\n\n```sh\nls\n```\n```python\nb = 2\nc = 3\n```\n"
    assert readme_blocks(text) == ["a = 1\n", "b = 2\nc = 3\n"]
