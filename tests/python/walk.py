"""A walk through all bindings: each class, method, attribute and function of `cagan._cagan`, on tiny pictures."""

import hashlib
import shutil
from pathlib import Path

import cagan
import numpy as np
from cagan import _cagan
from helpers import contents

# Small networks that take every way through the core: plain and fused layers, noise, an average, spectral norms.
PAPER = {
    "image_size": 32,
    "width": 16,
    "batch_size": 2,
    "discriminator_noise": 0.1,
    "discriminator_spectral_norm": True,
    "reverse": "detached",
    "reverse_noise": 0.1,
    "augment_colour": True,
    "augment_translation": True,
    "augment_cutout": True,
    "r1_weight": 1,
    "r1_every": 2,
    "perceptual_weight": 1,
    "ema_images": 20,
    "threads": 1,
    "device": "cpu",
}
KISEKAE = {"image_size": 32, "width": 32, "batch_size": 2, "place_after": 2, "judge_after": 2, "perceptual_weight": 1}
FORMS = {
    "paper": ("paper", PAPER),
    "vasily bf16": ("vasily", {"image_size": 64, "width": 16, "batch_size": 2, "precision": "bf16", "ema_images": 20}),
    "kisekae": ("kisekae", KISEKAE | {"schedule_start": 2, "schedule_end": 20, "discriminator_spectral_norm": True}),
    "kisekae streaming": ("kisekae", KISEKAE | {"precision": "bf16", "loader": "streaming", "loader_workers": 1}),
}

# A run that writes every kind of file.
RUN = {"steps": 2, "log_every": 1, "monitor_every": 2, "sample_humans": 1, "sample_articles": 1}


def config(form, **settings):
    """Returns one of the small configs."""
    preset, small = FORMS[form]
    return cagan.Config(preset, **small | {"threads": 1, "device": "cpu"} | settings)


def frozen(value):
    """Returns a value that equals that of an equal result, bit for bit."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: frozen(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(entry) for entry in value]
    if isinstance(value, _cagan.Swap):
        return [frozen(getattr(value, name)) for name in ("image", "mask", "paint", "located", "flow")]
    if isinstance(value, _cagan.Pair):
        return [value.id, value.human_path, value.article_path, value.group, value.split]
    if isinstance(value, _cagan.Pairs):
        return [value.ids, value.extra_articles, value.splits, value.excluded, value.skipped]
    if isinstance(value, _cagan.Config):
        return value.to_json()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value


def files(folder):
    """Returns the files of a run without times."""
    found = {}
    for name, data in contents(folder).items():
        if name.endswith(".jsonl"):
            data = b"\n".join(line.split(b',"time')[0].split(b', "time')[0] for line in data.splitlines())
        found[name] = frozen(data)
    return found


class Walk:
    """Tiny objects of all classes, made once, and a call of every binding.

    Args:
        folder: A folder to work in.
        pairs_dir: A folder of pairs.
    """

    def __init__(self, folder, pairs_dir):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.data = shutil.copytree(pairs_dir, self.folder / "data")
        listing = _cagan.Listing(self.data)
        listing.curate({}, lambda *_: None)
        listing.write()
        self.pairs = _cagan.Pairs(self.data)
        self.runs = {}
        for form in ("paper", "kisekae"):
            self.runs[form] = self.folder / form
            _cagan.run(self.pairs, self.runs[form], config(form, **RUN), None, lambda *_: None)
        self.count = 0

    def new_folder(self):
        """Returns the path of a folder that does not exist."""
        self.count += 1
        return self.folder / f"new{self.count}"

    def pictures(self, form, count=2):
        """Returns arrays of pictures of a form's size, the same at every call."""
        h, w = config(form).image_size
        draw = np.random.default_rng(0)
        return [draw.uniform(-1, 1, (count, 3, h, w)).astype(np.float32) for _ in range(3)]

    def trainer_calls(self, trainer, form):
        """Calls of a trainer, by name: those that change it last."""
        human, worn, target = self.pictures(form)
        named = {"generator": None, "discriminator": None}
        return {
            "Trainer.swap": lambda: trainer.swap(human, worn, target),
            "Trainer.score": lambda: trainer.score(human, worn),
            "Trainer.triplet": lambda: trainer.triplet(3),
            "Trainer.noise": lambda: trainer.noise(3),
            "Trainer.draws": lambda: trainer.draws(3),
            "Trainer.perceptual": trainer.perceptual,
            "Trainer.vectors": trainer.vectors,
            "Trainer.state": lambda: {network: trainer.state(network) for network in named},
            "Trainer.gradients": lambda: {network: trainer.gradients(network) for network in named},
            "Trainer.tensors": lambda: {
                network: {name: tensor.numpy() for name, tensor in trainer.tensors(network, "gradient").items()}
                for network in named
            },
            "Trainer.changed": lambda: trainer.changed("generator"),
            "Trainer.load_state": lambda: trainer.load_state("generator", trainer.state("generator")),
            "Trainer.run": lambda: trainer.run(1),
        }

    def loader_calls(self, loader):
        """Calls of a loader, by name."""
        return {"Loader.__iter__": lambda: [tensor.numpy() for batch in loader for tensor in batch]}

    def swapper_calls(self, swapper):
        """Calls of a swapper, by name."""
        one, other = self.pairs[0], self.pairs[1]
        lists = [pair.human for pair in (one, other)], [pair.article for pair in (one, other)]
        return {
            "Swapper.swap": lambda: swapper.swap(one.human, one.article, other.article),
            "Swapper.look": lambda: swapper.look(one).nbytes,
            "Swapper.swap, a look": lambda: swapper.swap(swapper.look(one), [other.article] * 2),
            "Look._restored": lambda: self.look(swapper) == swapper.look(one),
            "Look.__copy__": lambda: swapper.look(one).__copy__().nbytes,
            "Look.__deepcopy__": lambda: swapper.look(one).__deepcopy__({}).nbytes,
            "Swapper._restored": lambda: swapper.__reduce__()[0](*swapper.__reduce__()[1]).step,
            "Swapper.__copy__": lambda: swapper.__copy__().step,
            "Swapper.__deepcopy__": lambda: swapper.__deepcopy__({}).step,
            "Swapper.snapshot": swapper.snapshot,
            "Swapper.stream": lambda: list(swapper.stream(*lists, [other.article] * 2)),
            "SwapStream.__iter__": lambda: list(iter(swapper.stream(*lists, [other.article] * 2))),
            "SwapStream.__next__": lambda: next(swapper.stream(*lists, [other.article] * 2)),
            "Swapper.swap, a list": lambda: swapper.swap(*lists, other.article_path),
        }

    def look(self, swapper):
        """Makes a look and makes it again of its parts."""
        kind, parts = swapper.look(self.pairs[0]).__reduce__()
        return kind(*parts)

    def train(self, form, **settings):
        """Trains for two steps, goes on for one, and returns all files."""
        folder, seen = self.new_folder(), []
        made = config(form, **RUN | settings)
        _cagan.run(self.pairs, folder, made, None, lambda event, _: seen.append(event))
        _cagan.run(self.pairs, folder, made.replace(steps=3), "must", lambda event, _: seen.append(event))
        return [seen, files(folder)]

    def other_calls(self):
        """Calls that compute no tensor, by name."""
        one = self.pairs[0]
        listing = _cagan.Listing(self.data)
        swap = _cagan.Swap(one.human, np.zeros(one.human.shape[:2], np.uint8), one.human)
        flow = np.zeros((4, 3, 2), np.float32)
        small = config("paper")

        def save():
            path = self.new_folder().with_suffix(".png")
            swap.save(path, mask=path.with_suffix(".mask.png"))
            return [path.read_bytes(), path.with_suffix(".mask.png").read_bytes()]

        def other_kind():
            """A dataset of another kind fails: the library that has one need not be here."""
            try:
                return _cagan.Pairs.from_dataset([one.human]).ids
            except (AttributeError, TypeError) as error:
                return str(error)

        def no_part():
            """A part that is not there fails: a viewer would open for one that is."""
            try:
                return swap.show("no part")
            except ValueError as error:
                return str(error)

        def no_repository():
            """A name that is none of a repository asks nobody."""
            try:
                return _cagan.Swapper.from_hub("a/b/c").step
            except (ImportError, ValueError) as error:
                return type(error).__name__

        def dolls():
            made = _cagan.dolls(self.new_folder(), 2, 1, 64, 1)
            return [made.ids, [pair.human for pair in made]]

        def written():
            path = self.new_folder()
            _cagan.write_atomically(path, b"text")
            return path.read_bytes()

        (checkpoint, *_) = (self.runs["paper"] / "checkpoints").iterdir()
        return {
            "Config.__new__": lambda: _cagan.Config("paper"),
            "Config.from_json": lambda: _cagan.Config.from_json(small.to_json()),
            "Config.to_json": small.to_json,
            "Config.to_dict": small.to_dict,
            "Config.replace": lambda: small.replace(steps=3),
            "Config.sources": small.sources,
            "Config.total_steps": lambda: small.total_steps(8),
            "Config._repr_html_": small._repr_html_,
            "Config.resolved": lambda: small.resolved(8).to_dict(),
            "Config.stages": lambda: small.stages(8),
            "Listing.__new__": lambda: _cagan.Listing(self.data).rows,
            "Listing.files_of": lambda: listing.files_of(one.id),
            "Listing.row": lambda: listing.row(one.id),
            "Listing.decision": lambda: listing.decision(one.id),
            "Listing.set": lambda: listing.set(one.id, {"group": ""}),
            "Listing.curate": lambda: listing.curate({}, lambda *_: None),
            "Listing.is_stale": listing.is_stale,
            "Listing.write": listing.write,
            "Pair.__new__": lambda: _cagan.Pair("a", one.human_path, one.article_path),
            "Pair._repr_png_": one._repr_png_,
            "Pairs.__iter__": lambda: [pair.id for pair in self.pairs],
            "Pairs.__reversed__": lambda: [pair.id for pair in reversed(self.pairs)],
            "Pairs.index": lambda: self.pairs.index(one),
            "Pairs.count": lambda: self.pairs.count(one),
            "Pairs.__new__": lambda: _cagan.Pairs(self.data, on_error="skip"),
            "Pairs.of_split": lambda: [_cagan.Pairs(self.data).splits, self.split_pairs().of_split("test")],
            "Pairs.split": lambda: self.pairs.split(0.5),
            "Pairs.__add__": lambda: self.pairs[:2] + self.pairs[2:],
            "Pairs.__radd__": lambda: [type(self.pairs[:2].__radd__(self.pairs[2:])).__name__],
            "Pairs.from_rows": lambda: _cagan.Pairs.from_rows([(one.human, one.article, "a", None, None)]),
            "Pairs.from_frame": lambda: _cagan.Pairs.from_frame({"human": [one.human], "article": [one.article]}),
            "Pairs.from_dataset": other_kind,
            "Pairs.filter": lambda: self.pairs.filter(lambda pair: pair.id != one.id),
            "Pairs.to_frame": lambda: self.pairs.to_frame().to_csv(),
            "Pairs._restored": lambda: self.pairs.__reduce__()[0](*self.pairs.__reduce__()[1]),
            "Pairs._repr_png_": self.pairs._repr_png_,
            "Swap.__new__": lambda: _cagan.Swap(one.human, swap.mask, one.human, swap.mask, flow),
            "Swap.encoded": swap.encoded,
            "Swap.save": save,
            "Swap._repr_png_": swap._repr_png_,
            "Swap.show": no_part,
            "Swap.to_tensor": lambda: swap.to_tensor("mask").numpy(),
            "Swapper.from_hub": no_repository,
            "Swap.to_pil": lambda: swap.to_pil("mask").tobytes(),
            "Swap.before_after": lambda: swap.before_after(one).tobytes(),
            "chosen": lambda: _cagan.chosen(self.runs["paper"]).name,
            "curation_options": _cagan.curation_options,
            "curation_reasons": _cagan.curation_reasons,
            "dolls": dolls,
            "presets": _cagan.presets,
            "read_header": lambda: _cagan.read_header(checkpoint),
            "read_picture": lambda: _cagan.read_picture(one.human_path),
            "settings": _cagan.settings,
            "system": _cagan.system,
            "thumbnails": lambda: _cagan.thumbnails([one.human_path], 20),
            "to_png": lambda: _cagan.to_png(one.human_path),
            "write_atomically": written,
        }

    def split_pairs(self):
        """Returns the pairs with a list that names two splits."""
        folder = self.folder / "split"
        if not folder.exists():
            shutil.copytree(self.data, folder)
            rows = ["id,human,article,split"]
            for k, pair in enumerate(self.pairs):
                rows.append(f"{pair.id},{pair.human_path},{pair.article_path},{'test' if k % 2 else 'train'}")
            (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
        return _cagan.Pairs(folder)

    def attributes(self):
        """Reads every attribute of an object of each class, by name."""
        trainer = _cagan.Trainer(self.pairs, config("paper"))
        one = self.pairs[0]
        mask = np.zeros(one.human.shape[:2], np.uint8)
        swap = _cagan.Swap(one.human, mask, one.human, mask, np.zeros((4, 3, 2), np.float32))
        things = (trainer, self.pairs, one, swap, trainer.config, _cagan.Listing(self.data))
        swapper, loader = _cagan.Swapper(self.runs["kisekae"]), _cagan.Loader(self.pairs, config("paper"))
        things = (*things, swapper, swapper.look(one), loader)
        return {
            f"{type(thing).__name__}.{name}": getattr(thing, name)
            for thing in things
            for name in attributes(type(thing))
        }

    def __call__(self):
        """Calls everything once. Returns the results by name."""
        found = {}
        for form in FORMS:
            trainer = _cagan.Trainer(self.pairs, config(form))
            found[f"Trainer.__new__, {form}"] = trainer.state("generator")
            # Twice: the third step has all losses.
            for turn in range(3):
                for name, call in self.trainer_calls(trainer, form).items():
                    found[f"{name}, {form}, {turn}"] = call()
            found[f"run, {form}"] = self.train(form)
            loader = _cagan.Loader(self.pairs, config(form, steps=2))
            found[f"Loader.__new__, {form}"] = repr(loader)
            found |= {f"{name}, {form}": call() for name, call in self.loader_calls(loader).items()}
        for form, path in self.runs.items():
            swapper = _cagan.Swapper(path)
            found[f"Swapper.__new__, {form}"] = swapper.step
            found |= {f"{name}, {form}": call() for name, call in self.swapper_calls(swapper).items()}
        found |= {name: call() for name, call in self.other_calls().items()}
        return {name: frozen(value) for name, value in (found | self.attributes()).items()}


def attributes(kind):
    """Lists the attributes of a class that are no methods."""
    return [name for name, entry in vars(kind).items() if type(entry).__name__ in ("getset_descriptor", "property")]


def bindings():
    """Lists all names that a walk must call: `function`, `Class.method`, `Class.attribute`."""
    # Python's own, which every class has.
    own = {"__doc__", "__module__", "__hash__", "__repr__", "__len__", "__contains__", "__getitem__", "__reduce__"}
    own |= {"__str__", "__annotations__"} | {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")}
    found = []
    for name, thing in vars(_cagan).items():
        if isinstance(thing, type):
            found += [f"{name}.{member}" for member in vars(thing) if member not in own]
        elif callable(thing):
            found.append(name)
    return found
